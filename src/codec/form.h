/*
 * form.h - the forms in which a matrix can be stored, as one table.
 *
 * A form is a row of the table: its id, the width of its codes, the rows of weights that it fits,
 * what takes its place where it does not fit, and its codec, which knows how weights become bytes.
 * Everything that names, prices, measures, chooses, writes or reads forms looks them up here or
 * iterates over them, so that a new form is a row, and a new kind of form a codec and its rows.
 *
 * A coded row of weights consists of one to RAM_MAX_PLANES runs of bytes (planes), which a format
 * may keep in tensors of their own: affine codes have weight (the codes), scales and biases.
 */
#ifndef RAM_CODEC_FORM_H
#define RAM_CODEC_FORM_H

#include "codec/float.h"
#include "kern/kern.h"

enum {
    RAM_N_FORMS = 19,
    RAM_MAX_BITS = 16,
    RAM_MAX_PLANES = 3,
    RAM_FORM_TEXT = 64 /* bytes of a list of widths or groups */
};

struct ram_codec;
struct ram_gptq;

struct ram_form {
    const char *id;    /* "4g64", "16": in records and options */
    const char *label; /* "4-bit g64", "16-bit": of a uniform width, in reports */
    int bits;          /* of a code; 16: weights are stored as they are */
    int group;         /* weights that share a scale; 0: none do */
    uint64_t block;    /* the length of a row must be a multiple of it */
    /* What takes its place in rows of another length; NULL: nothing needs to. */
    const struct ram_form *fallback;
    const struct ram_codec *codec;
    /* The squared error that the encoders search and gptq leave, divided by that of rounding to
     * nearest. search: measured on normal weights (bench_codec_search). gptq: the median over the
     * layers of tiny-qwen3. 0: not known. */
    double search_gain, gptq_gain;
};

/* By increasing bits and then by decreasing size; the last one is RAM_FORM_16. */
extern const struct ram_form ram_forms[RAM_N_FORMS];

/* Weights as they are, without codes. */
#define RAM_FORM_16 (&ram_forms[RAM_N_FORMS - 1])

/* A form as one matrix has it. The types of scales and profiles that are 0 are those of BF16
 * weights and of the GPU, with which everything is measured. */
struct ram_storage {
    const struct ram_form *form; /* NULL: none, where a matrix may have no form of its own */
    enum ram_scale_type scale_type;
    enum ram_profile profile;
};

struct ram_codec {
    size_t n_planes;
    const char *planes[RAM_MAX_PLANES]; /* what they are called, as tensors of a module too */
    /* Bytes of one plane of a row of cols weights, which the form fits; scale_size: bytes of a
     * weight, and thus of a scale, that is not coded. */
    uint64_t (*row_size)(const struct ram_form *form, size_t plane, uint64_t cols,
                         size_t scale_size);
    /* Encodes n rows of w [n, cols] by rounding to nearest, and decodes them. planes: of all rows,
     * one after the other, not necessarily aligned. encode returns the sum of squared errors of
     * what a reader will see. NULL for floats, which are read and written as floats. */
    double (*encode)(const struct ram_storage *as, const float *w, size_t n, size_t cols,
                     uint8_t *const planes[RAM_MAX_PLANES]);
    void (*decode)(const struct ram_storage *as, const uint8_t *const planes[RAM_MAX_PLANES],
                   size_t n, size_t cols, float *w);
    /* The same as encode with scales that are searched for; and with what is known of the inputs
     * (codec/gptq.h, whose `form` the codec sets). */
    double (*search)(const struct ram_storage *as, const float *w, size_t n, size_t cols,
                     uint8_t *const planes[RAM_MAX_PLANES]);
    int (*gptq)(const struct ram_storage *as, const struct ram_gptq *how, const float *w, size_t n,
                size_t cols, uint8_t *const planes[RAM_MAX_PLANES], double *squared_error,
                struct ram_err *err);
    /* Adds to sums what encode would return for the rows, for every form of the codec that fits. */
    void (*errors)(enum ram_scale_type type, const float *w, size_t n, size_t cols,
                   double sums[RAM_N_FORMS]);
};

/* NULL if there is no such form. _of: by the width of a code and the size of a group; of several
 * forms that have both, the first. */
const struct ram_form *ram_form_find(const char *id);
const struct ram_form *ram_form_of(int64_t bits, int64_t group);

/* Whether bits and group say which form it is; where they do not, records have the id, too. */
bool ram_form_is_plain(const struct ram_form *form);

/* Its place in the table. */
size_t ram_form_index(const struct ram_form *form);

/* The form that rows of cols weights really get: this one, a fallback, or at last RAM_FORM_16. */
const struct ram_form *ram_form_fit(const struct ram_form *form, uint64_t cols);

/* The price: bytes of a matrix that is to be stored in this form, or what takes its place. size:
 * bytes of a weight that is not coded. The number of weights has been checked. */
uint64_t ram_form_bytes(const struct ram_form *form, uint64_t rows, uint64_t cols, size_t size);

/* The least width of a code that is more than bits; 0: there is none. From ram_form_next_bits(0) on
 * these are all widths that the table has. */
int ram_form_next_bits(int bits);

/* "2, 3, 4, 5, 6 or 8" and "32, 64 or 128": what coded forms have, for messages; return text. */
const char *ram_form_bits_text(char text[RAM_FORM_TEXT]);
const char *ram_form_groups_text(char text[RAM_FORM_TEXT]);

/* Adds to sums [RAM_N_FORMS] the squared error of every coded form that fits rows of cols weights,
 * over n rows of w: exactly what encoding would return. */
void ram_form_errors(enum ram_scale_type type, const float *w, size_t n, size_t cols,
                     double sums[RAM_N_FORMS]);

/* The same as ram_codec says, for a storage with codes. row_size: of one plane. */
size_t ram_storage_row_size(const struct ram_storage *as, size_t plane, size_t cols);
double ram_storage_encode(const struct ram_storage *as, const float *w, size_t n, size_t cols,
                          uint8_t *const planes[RAM_MAX_PLANES]);
void ram_storage_decode(const struct ram_storage *as, const uint8_t *const planes[RAM_MAX_PLANES],
                        size_t n, size_t cols, float *w);

/* Memory for the planes of n rows, which free(planes[0]) releases. Those that the codec does not
 * have become NULL. */
int ram_storage_alloc(const struct ram_storage *as, size_t n, size_t cols,
                      uint8_t *planes[RAM_MAX_PLANES], struct ram_err *err);

/* "gpu", "cpu", and a line for a person: the rounding rules of storages; NULL behind the last. */
const char *ram_profile_at(size_t i, const char **what);
const char *ram_profile_name(enum ram_profile profile);

/* How scales are stored. */
enum ram_float ram_scale_float(enum ram_scale_type type);

#endif
