/* form.c - see form.h. A new form is a row of the table. */
#include "codec/form.h"

#include "base/mem.h"
#include "codec/affine.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static uint64_t float_row(const struct ram_form *form, size_t plane, uint64_t cols,
                          size_t scale_size)
{
    (void)form;
    (void)plane;
    return cols * scale_size;
}

static const struct ram_codec float_codec = {
    .n_planes = 1, .planes = {"weight"}, .row_size = float_row};

static const struct ram_codec *const codecs[] = {&ram_affine_codec};

/* The three forms of a width of MLX affine, which begin at `first` in the table, and their gains.
 */
#define AFFINE(width, size, next, search, gptq)                                                    \
    {                                                                                              \
        .id = #width "g" #size, .label = #width "-bit g" #size, .bits = (width), .group = (size),  \
        .block = (size), .fallback = (next), .codec = &ram_affine_codec, .search_gain = (search),  \
        .gptq_gain = (gptq)                                                                        \
    }
#define WIDTH(first, width, s32, s64, s128, q32, q64, q128)                                        \
    AFFINE(width, 32, RAM_FORM_16, s32, q32), AFFINE(width, 64, &ram_forms[first], s64, q64),      \
        AFFINE(width, 128, &ram_forms[(first) + 1], s128, q128)

const struct ram_form ram_forms[] = {
    WIDTH(0, 2, .667, .653, .608, .239, .251, .232),
    WIDTH(3, 3, .706, .739, .730, .233, .256, .257),
    WIDTH(6, 4, .727, .787, .813, .237, .266, .279),
    WIDTH(9, 5, .710, .790, .848, .231, .269, .290),
    WIDTH(12, 6, .683, .777, .841, .230, .266, .283),
    WIDTH(15, 8, .434, .512, .581, .145, .170, .185),
    {.id = "16", .label = "16-bit", .bits = 16, .block = 1, .codec = &float_codec},
};
_Static_assert(sizeof ram_forms / sizeof *ram_forms == RAM_N_FORMS, "RAM_N_FORMS counts the table");

const struct ram_form *ram_form_find(const char *id)
{
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        if (!strcmp(ram_forms[i].id, id))
            return &ram_forms[i];
    return NULL;
}

const struct ram_form *ram_form_of(int64_t bits, int64_t group)
{
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        if (ram_forms[i].bits == bits && ram_forms[i].group == group)
            return &ram_forms[i];
    return NULL;
}

bool ram_form_is_plain(const struct ram_form *form)
{
    return ram_form_of(form->bits, form->group) == form;
}

size_t ram_form_index(const struct ram_form *form)
{
    assert(form >= ram_forms && form < ram_forms + RAM_N_FORMS);
    return (size_t)(form - ram_forms);
}

const struct ram_form *ram_form_fit(const struct ram_form *form, uint64_t cols)
{
    while (form->fallback && (!cols || cols % form->block))
        form = form->fallback;
    return form;
}

uint64_t ram_form_bytes(const struct ram_form *form, uint64_t rows, uint64_t cols, size_t size)
{
    const struct ram_form *const fit = ram_form_fit(form, cols);
    uint64_t row = 0;

    for (size_t k = 0; k < fit->codec->n_planes; k++)
        row += fit->codec->row_size(fit, k, cols, size);
    return rows * row;
}

int ram_form_next_bits(int bits)
{
    int next = 0;

    for (size_t i = 0; i < RAM_N_FORMS; i++)
        if (ram_forms[i].bits > bits && (!next || ram_forms[i].bits < next))
            next = ram_forms[i].bits;
    return next;
}

/* ---- lists for messages --------------------------------------------------------------------- */

/* The least width or group of a coded form that is more than `than`; 0: there is none. */
static int next_number(bool groups, int than)
{
    int next = 0;

    for (size_t i = 0; i < RAM_N_FORMS; i++) {
        const int number = groups ? ram_forms[i].group : ram_forms[i].bits;
        if (&ram_forms[i] != RAM_FORM_16 && number > than && (!next || number < next))
            next = number;
    }
    return next;
}

static const char *numbers_text(bool groups, char text[RAM_FORM_TEXT])
{
    size_t at = 0;

    for (int now = next_number(groups, 0), next; now && at < RAM_FORM_TEXT; now = next) {
        next = next_number(groups, now);
        const char *const separator = !at ? "" : next ? ", " : " or ";
        at += (size_t)snprintf(text + at, RAM_FORM_TEXT - at, "%s%d", separator, now);
    }
    return text;
}

const char *ram_form_bits_text(char text[RAM_FORM_TEXT])
{
    return numbers_text(false, text);
}

const char *ram_form_groups_text(char text[RAM_FORM_TEXT])
{
    return numbers_text(true, text);
}

/* ---- weights -------------------------------------------------------------------------------- */

void ram_form_errors(enum ram_scale_type type, const float *w, size_t n, size_t cols,
                     double sums[RAM_N_FORMS])
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        codecs[i]->errors(type, w, n, cols, sums);
}

enum ram_float ram_scale_float(enum ram_scale_type type)
{
    static const enum ram_float types[] = {[RAM_SCALE_BF16] = RAM_FLOAT_BF16,
                                           [RAM_SCALE_F16] = RAM_FLOAT_F16,
                                           [RAM_SCALE_F32] = RAM_FLOAT_F32};
    return types[type];
}

size_t ram_storage_row_size(const struct ram_storage *as, size_t plane, size_t cols)
{
    const size_t scale_size = ram_float_size(ram_scale_float(as->scale_type));

    assert(as->form && plane < as->form->codec->n_planes);
    return (size_t)as->form->codec->row_size(as->form, plane, cols, scale_size);
}

int ram_storage_alloc(const struct ram_storage *as, size_t n, size_t cols,
                      uint8_t *planes[RAM_MAX_PLANES], struct ram_err *err)
{
    const size_t n_planes = as->form->codec->n_planes;
    size_t size = 0;

    for (size_t k = 0; k < n_planes; k++)
        size += n * ram_storage_row_size(as, k, cols);
    uint8_t *at = ram_calloc(size, 1, err);
    for (size_t k = 0; k < RAM_MAX_PLANES; k++) {
        planes[k] = at && k < n_planes ? at : NULL;
        at += planes[k] ? n * ram_storage_row_size(as, k, cols) : 0;
    }
    return planes[0] ? RAM_OK : RAM_ENOMEM;
}

double ram_storage_encode(const struct ram_storage *as, const float *w, size_t n, size_t cols,
                          uint8_t *const planes[RAM_MAX_PLANES])
{
    assert(as->form && as->form->codec->encode);
    assert(cols % as->form->block == 0);
    return as->form->codec->encode(as, w, n, cols, planes);
}

void ram_storage_decode(const struct ram_storage *as, const uint8_t *const planes[RAM_MAX_PLANES],
                        size_t n, size_t cols, float *w)
{
    assert(as->form && as->form->codec->decode);
    assert(cols % as->form->block == 0);
    as->form->codec->decode(as, planes, n, cols, w);
}
