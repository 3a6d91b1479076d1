/*
 * ckpt.h - a checkpoint as a set of named tensors over mapped files.
 *
 * Everything about a tensor was checked when the checkpoint was opened: its bytes lie inside its
 * file, do not overlap others, and their number is what dtype and shape say. Views and names are
 * borrowed and live as long as the checkpoint.
 */
#ifndef RAM_CKPT_CKPT_H
#define RAM_CKPT_CKPT_H

#include "base/file.h"
#include "base/json.h"
#include "base/lookup.h"
#include "base/mem.h"
#include "base/notes.h"
#include "codec/form.h"

enum {
    RAM_CKPT_MAX_DIMS = 8,
    RAM_CKPT_MAX_TENSORS = 1 << 21, /* the largest published checkpoints hold about 150,000 */
    RAM_CKPT_MAX_FILES = 10000,
    RAM_CKPT_MAX_CONFIG = 16 << 20 /* bytes of config.json */
};

/* Order of the safetensors specification: increasing alignment. */
enum ram_dtype {
    RAM_BOOL,
    RAM_F4,
    RAM_F6_E2M3,
    RAM_F6_E3M2,
    RAM_U8,
    RAM_I8,
    RAM_F8_E5M2,
    RAM_F8_E4M3,
    RAM_F8_E8M0,
    RAM_F8_E4M3FNUZ,
    RAM_F8_E5M2FNUZ,
    RAM_I16,
    RAM_U16,
    RAM_F16,
    RAM_BF16,
    RAM_I32,
    RAM_U32,
    RAM_F32,
    RAM_C64,
    RAM_F64,
    RAM_I64,
    RAM_U64,
    RAM_N_DTYPES
};

struct ram_dtype_info {
    const char *name; /* "BF16" */
    int bits;
    bool is_weight; /* a floating type that we can widen to f32: F16 BF16 F32 F64 F8_E4M3 F8_E5M2 */
};
extern const struct ram_dtype_info ram_dtypes[RAM_N_DTYPES];

/* The type of scales of weights that are stored as dtype. False, with *out unchanged: matrices of
 * this type are not coded. */
bool ram_dtype_scales(enum ram_dtype dtype, enum ram_scale_type *out);

/* "[2, 3, 4]", for messages; returns text. */
enum { RAM_SHAPE_TEXT = RAM_CKPT_MAX_DIMS * 22 + 3 };
const char *ram_shape_text(const uint64_t *shape, int n_dims, char text[RAM_SHAPE_TEXT]);

struct ram_tensor {
    const char *name; /* first: ram_names finds tensors by it */
    enum ram_dtype dtype;
    int n_dims;
    uint64_t shape[RAM_CKPT_MAX_DIMS];
    size_t n;      /* elements */
    size_t size;   /* bytes */
    size_t offset; /* of its first byte in its file */
    unsigned file;
    const uint8_t *data; /* not necessarily aligned */
    /* FP8: the tensor that holds its scales, or NULL, and the block that one scale covers: the
     * value of element (i, j) of a matrix is its code x scale (i / block[0], j / block[1]). A scale
     * of one element is for all matrices of a stack. */
    const struct ram_tensor *scale;
    uint64_t scale_block[2];
};

/* How the weights are coded, and whether they can be read (coding.h). */
struct ram_coding {
    const char *name;    /* "FP8 (...)", "MLX affine", "GPTQ", ...; NULL: plain floats */
    bool coded;          /* codes of forms that we have: read, but not converted again */
    int bits;            /* of a foreign code; 0: not known */
    const char *problem; /* why they cannot be read: one sentence; NULL: they can */
    int status;          /* of that problem: RAM_EUNSUPPORTED or RAM_EFORMAT */
};

struct ram_ckpt_file {
    char *name; /* without the directory */
    struct ram_map map;
    char header_sha256[65]; /* of the JSON header with its padding, without the 8 size bytes */
};

struct ram_ckpt {
    char *dir;      /* resolved */
    char *name;     /* what a person calls it: last part of the directory, or org/name */
    json_t *config; /* config.json */
    struct ram_ckpt_file *files;
    size_t n_files;
    struct ram_tensor *tensors; /* natural order of names: layers.2 before layers.10 */
    size_t n_tensors;
    struct ram_names names;
    struct ram_coding coding;
    const char *wrapper;    /* stood before the names of all modules: "language_model."; or NULL */
    struct ram_notes notes; /* such as files that were passed over; see ram_ckpt_note */
    struct ram_arena arena;
};

/* NULL if there is none. */
const struct ram_tensor *ram_ckpt_find(const struct ram_ckpt *ckpt, const char *name);

/* ram_ckpt_open with every name as it is stored: usually some spellings get the names of the model
 * alone (prefix.h). */
int ram_ckpt_open_as_named(struct ram_ckpt **out, const char *model, struct ram_err *err);

/*
 * Puts tensors that were read (or made up, by a test) in order, refuses duplicate names, finds out
 * how weights are coded and ties FP8 tensors to their scales. config and dir are set, tensors are
 * from malloc. ram_ckpt_open calls it.
 */
int ram_ckpt_seal(struct ram_ckpt *ckpt, struct ram_err *err);

/* Refuses a checkpoint whose weights cannot be read, by the name of their coding. Whatever computes
 * with weights asks this before it looks at a shape. */
int ram_ckpt_check_coding(const struct ram_ckpt *ckpt, struct ram_err *err);

/* Order of names for people: byte by byte, but runs of digits as numbers. */
int ram_ckpt_name_order(const char *a, const char *b);

/*
 * A strided window on one tensor, read as a row-major matrix: element (i, j) is element
 * first + i * row_stride + j * col_stride of the tensor. This is how a checkpoint's tensor is
 * cut (fused experts), split (kv_b_proj) or transposed (embed_q) without a copy.
 */
struct ram_view {
    const struct ram_tensor *tensor;
    size_t first;
    size_t rows, cols;
    size_t row_stride, col_stride;
    float add; /* to every element that is read */
};

/* The whole tensor as [product of leading dimensions, last dimension]. */
struct ram_view ram_view_whole(const struct ram_tensor *tensor);

/*
 * Rows [row, row + n) of a view, widened to f32, to out [n, cols]. FP8 with block scales gives
 * the floats it means (code x scale of its block). Floating types only (is_weight).
 * Values are not inspected.
 */
int ram_view_read(const struct ram_view *view, size_t row, size_t n, float *out,
                  struct ram_err *err);

/* Lets go of the resident pages of those rows (a contiguous view; otherwise of the tensor). */
void ram_view_forget(const struct ram_ckpt *ckpt, const struct ram_view *view, size_t row,
                     size_t n);

#endif
