/* weight.c - see weight.h. */
#include "ckpt/weight.h"

#include "ckpt/fp8.h"
#include "codec/affine.h"
#include "codec/float.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 1024, DEFAULT_GROUP = 64, DEFAULT_BITS = 4 };

static const struct ram_tensor *find(const struct ram_ckpt *ckpt, const char *module,
                                     const char *suffix)
{
    char name[MAX_NAME];

    const int n = snprintf(name, sizeof name, "%s.%s", module, suffix);
    return n < (int)sizeof name ? ram_ckpt_find(ckpt, name) : NULL;
}

/* ---- MLX affine -------------------------------------------------------------------------- */

/* The block that MLX writes: "quantization", and a copy named "quantization_config". */
static const json_t *quantization_of(const json_t *config)
{
    static const char *const keys[] = {"quantization", "quantization_config"};
    const json_t *const places[] = {config, json_object_get(config, "text_config")};

    for (size_t p = 0; p < 2; p++)
        for (size_t k = 0; k < 2; k++) {
            const json_t *block = json_object_get(places[p], keys[k]);
            if (json_is_object(block) && json_object_get(block, "bits"))
                return block;
        }
    return NULL;
}

/* The form of a module: that of its own entry, else the default of the whole checkpoint. */
static int read_settings(const struct ram_form **form, const struct ram_ckpt *ckpt,
                         const json_t *block, const char *module, struct ram_err *err)
{
    const char *const where = ckpt->dir;
    char stored[MAX_NAME];

    snprintf(stored, sizeof stored, "%s%s", ckpt->wrapper ? ckpt->wrapper : "", module);
    const json_t *own = json_object_get(block, stored);
    const json_t *from = json_is_object(own) ? own : block;
    uint64_t bits = DEFAULT_BITS, group = DEFAULT_GROUP;

    const json_t *mode = json_object_get(from, "mode");
    if (mode && strcmp(json_is_string(mode) ? json_string_value(mode) : "", "affine"))
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "%s: %s is quantised in mode '%s'; only 'affine' is "
                        "read",
                        where, module, json_is_string(mode) ? json_string_value(mode) : "?");
    if (json_object_get(from, "bits") && ram_json_get_uint(from, "bits", 8, &bits, where, err))
        return err->status;
    if (json_object_get(from, "group_size") &&
        ram_json_get_uint(from, "group_size", 128, &group, where, err))
        return err->status;
    *form = ram_form_of((int64_t)bits, (int64_t)group);
    if (!*form)
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "%s: %s: %" PRIu64 " bits in groups of %" PRIu64
                        " is not an MLX affine format",
                        where, module, bits, group);
    return RAM_OK;
}

/* codes [..., cols * bits / 32], scales and biases [..., cols / group] belong together. */
static int check_shapes(struct ram_weight *w, const char *where, struct ram_err *err)
{
    const struct ram_tensor *codes = w->planes[0], *scales = w->planes[1], *biases = w->planes[2];
    const int n_dims = codes->n_dims, last = n_dims - 1;
    const struct ram_form *form = w->as.form;
    const uint64_t bits = (uint64_t)form->bits, group = (uint64_t)form->group;
    char a[RAM_SHAPE_TEXT], b[RAM_SHAPE_TEXT];
    bool good = n_dims == 2 || n_dims == 3;

    for (int i = 0; good && i < last; i++)
        good = codes->shape[i] == scales->shape[i];
    good = good && scales->n_dims == n_dims && scales->shape[last] <= SIZE_MAX / group / bits &&
           scales->shape[last] * group * bits == codes->shape[last] * 32;
    if (!good)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: '%s' %s and '%s' %s do not fit %d bits in groups of %d", where,
                        codes->name, ram_shape_text(codes->shape, codes->n_dims, a), scales->name,
                        ram_shape_text(scales->shape, scales->n_dims, b), form->bits, form->group);
    good = biases->n_dims == n_dims && biases->dtype == scales->dtype;
    for (int i = 0; good && i < n_dims; i++)
        good = biases->shape[i] == scales->shape[i];
    if (!good)
        return ram_fail(err, RAM_EFORMAT, "%s: '%s' %s and '%s' %s must be alike", where,
                        scales->name, ram_shape_text(scales->shape, scales->n_dims, a),
                        biases->name, ram_shape_text(biases->shape, biases->n_dims, b));
    w->blocks = n_dims == 3 ? (size_t)codes->shape[0] : 1;
    w->rows = (size_t)codes->shape[last - 1];
    w->cols = (size_t)(scales->shape[last] * group);
    return RAM_OK;
}

static int find_affine(struct ram_weight *w, const struct ram_ckpt *ckpt, const char *module,
                       struct ram_err *err)
{
    const json_t *block = quantization_of(ckpt->config);

    for (size_t k = 1; k < ram_affine_codec.n_planes; k++)
        w->planes[k] = find(ckpt, module, ram_affine_codec.planes[k]);
    const struct ram_tensor *const scales = w->planes[1];
    if (!scales)
        return ram_fail(err, RAM_EFORMAT, "%s: '%s' is U32, but there is no '%s.scales'", ckpt->dir,
                        w->planes[0]->name, module);
    if (!block)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: '%s' is quantised, but config.json has no \"quantization\"", ckpt->dir,
                        w->planes[0]->name);
    int status = read_settings(&w->as.form, ckpt, block, module, err);
    if (!status && !w->planes[2])
        status = ram_fail(err, RAM_EFORMAT, "%s: '%s' has no '%s.biases'", ckpt->dir,
                          w->planes[0]->name, module);
    if (!status && !ram_dtype_scales(scales->dtype, &w->as.scale_type))
        status = ram_fail(err, RAM_EUNSUPPORTED, "%s: '%s' is %s, expected BF16, F16 or F32",
                          ckpt->dir, scales->name, ram_dtypes[scales->dtype].name);
    if (!status)
        status = check_shapes(w, ckpt->dir, err);
    return status;
}

/* ---- both -------------------------------------------------------------------------------- */

int ram_weight_find(struct ram_weight *out, const struct ram_ckpt *ckpt, const char *module,
                    struct ram_err *err)
{
    const struct ram_tensor *t = find(ckpt, module, "weight");

    *out = (struct ram_weight){0};
    if (!t)
        return RAM_OK;
    if (t->dtype == RAM_U32) {
        out->planes[0] = t;
        return find_affine(out, ckpt, module, err);
    }
    if (!ram_dtypes[t->dtype].is_weight)
        return ram_fail(err, RAM_EUNSUPPORTED, "%s: '%s' is %s, which cannot be computed with",
                        ckpt->dir, t->name, ram_dtypes[t->dtype].name);
    out->view = ram_view_whole(t);
    out->cols = out->view.cols;
    out->rows = t->n_dims > 1 ? (size_t)t->shape[t->n_dims - 2] : 1;
    out->blocks = out->rows ? out->view.rows / out->rows : 0;
    return RAM_OK;
}

static int read_floats(const struct ram_weight *weight, size_t row, size_t n, float *out,
                       struct ram_err *err)
{
    const enum ram_dtype to = weight->rounded;

    const int status = ram_view_read(&weight->view, row, n, out, err);
    if (!status && ram_is_fp8(weight->view.tensor->dtype) && (to == RAM_BF16 || to == RAM_F16))
        ram_float_round(to == RAM_BF16 ? RAM_FLOAT_BF16 : RAM_FLOAT_F16, out, n * weight->cols);
    return status;
}

int ram_weight_read(const struct ram_weight *weight, size_t row, size_t n, float *out,
                    struct ram_err *err)
{
    const struct ram_storage *as = &weight->as;
    const uint8_t *data[RAM_MAX_PLANES] = {NULL};

    if (!as->form)
        return read_floats(weight, row, n, out, err);
    const size_t rows = weight->blocks * weight->rows;
    if (row > rows || n > rows - row)
        return ram_fail(err, RAM_EINTERNAL, "tensor '%s': rows %zu to %zu of %zu",
                        weight->planes[0]->name, row, row + n, rows);
    for (size_t k = 0; k < as->form->codec->n_planes; k++)
        data[k] = weight->planes[k]->data + row * ram_storage_row_size(as, k, weight->cols);
    ram_storage_decode(as, data, n, weight->cols, out);
    return RAM_OK;
}

void ram_weight_forget(const struct ram_ckpt *ckpt, const struct ram_weight *weight, size_t row,
                       size_t n)
{
    const struct ram_form *form = weight->as.form;

    if (!form)
        ram_view_forget(ckpt, &weight->view, row, n);
    for (size_t k = 0; form && k < form->codec->n_planes; k++) {
        const struct ram_tensor *t = weight->planes[k];
        const size_t row_size = ram_storage_row_size(&weight->as, k, weight->cols);
        ram_map_forget(&ckpt->files[t->file].map, t->offset + row * row_size, n * row_size);
    }
}
