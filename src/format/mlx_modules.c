/*
 * mlx_modules.c - the modules of a directory as its tensors and config.json show them, and every
 * way in which the two may contradict each other or what mlx_lm expects.
 */
#include "format/mlx.h"

#include "codec/affine.h"
#include "format/modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a quantised module: weight, scales, biases. */
static const char *const *const planes = ram_affine_codec.planes;

/* ---- config.json ------------------------------------------------------------------------------
 */

/* The coded form that has these; NULL: there is none. */
static const struct ram_form *coded_form(int64_t bits, int64_t group)
{
    const struct ram_form *const form = ram_form_of(bits, group);
    return form == RAM_FORM_16 ? NULL : form;
}

static bool is_width(const json_t *block)
{
    const json_t *bits = json_object_get(block, "bits");
    const json_t *group = json_object_get(block, "group_size");

    return json_is_integer(bits) && json_is_integer(group) &&
           coded_form(json_integer_value(bits), json_integer_value(group));
}

static bool is_affine(const json_t *block)
{
    const json_t *mode = json_object_get(block, "mode");
    return !mode || (json_is_string(mode) && !strcmp(json_string_value(mode), "affine"));
}

/* mlx_lm hands the members of an entry to the module as keyword arguments. */
static void check_entry(struct ram_finder *f, const char *module, json_t *entry)
{
    char widths[RAM_FORM_TEXT], groups[RAM_FORM_TEXT];
    const char *key;
    json_t *value;

    if (json_is_false(entry))
        return;
    if (!json_is_object(entry)) {
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, module,
                         "its quantization entry is neither an object nor false");
        return;
    }
    json_object_foreach(entry, key, value) if (strcmp(key, "bits") && strcmp(key, "group_size") &&
                                               strcmp(key, "mode"))
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, module,
                         "its quantization entry has \"%s\", with which loading fails", key);
    if (!is_affine(entry) || !is_width(entry))
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, module,
                         "its quantization entry is not %s bits in groups of %s, mode affine",
                         ram_form_bits_text(widths), ram_form_groups_text(groups));
}

/* config.json's block, or NULL. */
static json_t *block_of(const struct ram_finder *f)
{
    json_t *block = json_object_get(f->ckpt->config, "quantization");
    return json_is_object(block) ? block : NULL;
}

static void check_config(struct ram_finder *f)
{
    json_t *const config = f->ckpt->config;
    json_t *const block = json_object_get(config, "quantization");
    json_t *const twin = json_object_get(config, "quantization_config");
    char widths[RAM_FORM_TEXT], groups[RAM_FORM_TEXT];
    const char *key;
    json_t *value;

    ram_findings_note(f->findings, RAM_CHECK_CONFIG, true, "%s",
                      block ? "quantization block" : "no quantization block");
    if (twin && (!block || !json_equal(block, twin)))
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, "quantization_config", "%s",
                         block ? "is not the same as quantization"
                               : "stands there without quantization");
    if (!block || json_is_null(block))
        return;
    if (!json_is_object(block)) {
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, "quantization", "is not an object");
        return;
    }
    if (!is_affine(block) || !is_width(block))
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, "quantization",
                         "its bits and group_size are not %s and %s, mode affine",
                         ram_form_bits_text(widths), ram_form_groups_text(groups));
    json_object_foreach(block, key, value) if (strcmp(key, "bits") && strcmp(key, "group_size") &&
                                               strcmp(key, "mode")) check_entry(f, key, value);
}

/* What config.json says of a module that has scales: its own entry, or the default. */
static const json_t *entry_of(const struct ram_finder *f, const char *module)
{
    const json_t *entry = json_object_get(block_of(f), module);
    return entry ? entry : block_of(f);
}

/* ---- one module -------------------------------------------------------------------------------
 */

static const struct ram_tensor *part(struct ram_finder *f, const char *module, const char *suffix)
{
    char name[1024];
    const int n = snprintf(name, sizeof name, "%s.%s", module, suffix);
    return n > 0 && (size_t)n < sizeof name ? ram_finder_take(f, name) : NULL;
}

/* Weights of a row: what is expected, or (of an unknown architecture) what config.json's bits make
 * of the codes. 0 if that cannot be told. */
static uint64_t columns(const struct ram_finder *f, const struct ram_found *found)
{
    const struct ram_tensor *codes = found->parts[0];
    const json_int_t bits = json_integer_value(json_object_get(entry_of(f, found->module), "bits"));

    if (found->expected)
        return found->expected->shape[found->expected->n_dims - 1];
    const uint64_t words = codes->shape[codes->n_dims - 1];
    return bits > 0 && words < UINT64_MAX / 32 ? words * 32 / (uint64_t)bits : 0;
}

static bool same_dims(const uint64_t *a, const uint64_t *b, int n)
{
    return n <= 0 || !memcmp(a, b, (size_t)n * sizeof *a);
}

/* Types and shapes of the three tensors against each other and against what is expected. */
static bool check_parts(struct ram_finder *f, const struct ram_found *found)
{
    const struct ram_tensor *const *parts = found->parts;
    const struct ram_expected *e = found->expected;
    const int n = parts[0]->n_dims;
    char is[RAM_SHAPE_TEXT], want[RAM_SHAPE_TEXT];

    if (parts[0]->dtype != RAM_U32 || n < 2 || !ram_finder_is_float(parts[1]->dtype) ||
        parts[2]->dtype != parts[1]->dtype) {
        ram_findings_add(f->findings, RAM_CHECK_TENSORS, found->module,
                         "weight, scales and biases are of types %s, %s, %s; expected U32 and "
                         "twice BF16, F16 or F32",
                         ram_dtypes[parts[0]->dtype].name, ram_dtypes[parts[1]->dtype].name,
                         ram_dtypes[parts[2]->dtype].name);
        return false;
    }
    const bool agree = parts[1]->n_dims == n && parts[2]->n_dims == n &&
                       same_dims(parts[0]->shape, parts[1]->shape, n - 1) &&
                       same_dims(parts[1]->shape, parts[2]->shape, n);
    if (!agree || (e && (e->n_dims != n || !same_dims(e->shape, parts[0]->shape, n - 1)))) {
        ram_findings_add(f->findings, RAM_CHECK_TENSORS, found->module,
                         "codes of shape %s and scales of %s do not fit each other or the module",
                         ram_shape_text(parts[0]->shape, n, is),
                         ram_shape_text(parts[1]->shape, parts[1]->n_dims, want));
        return false;
    }
    return true;
}

/* Bits and group from the shapes: K weights are K bits / 32 words and K / group scales. */
static bool infer_width(struct ram_finder *f, struct ram_found *found)
{
    const int last = found->parts[0]->n_dims - 1;
    const uint64_t words = found->parts[0]->shape[last];
    const uint64_t groups = found->parts[1]->shape[last];
    const uint64_t cols = columns(f, found);

    found->cols = cols;
    found->rows = 1;
    for (int k = 0; k < last; k++)
        found->rows *= found->parts[0]->shape[k];
    const uint64_t bits = cols ? words * 32 / cols : 0;
    const uint64_t group = groups ? cols / groups : 0;
    found->as.form = cols ? coded_form((int64_t)bits, (int64_t)group) : NULL;
    if (!found->as.form || words * 32 != bits * cols || groups * group != cols) {
        ram_findings_add(f->findings, RAM_CHECK_TENSORS, found->module,
                         "%llu words and %llu scales make no width of MLX for rows of %llu weights",
                         (unsigned long long)words, (unsigned long long)groups,
                         (unsigned long long)cols);
        return false;
    }
    return ram_dtype_scales(found->parts[1]->dtype, &found->as.scale_type);
}

static void compare_with_config(struct ram_finder *f, const struct ram_found *found)
{
    const json_t *entry = entry_of(f, found->module);
    const json_int_t bits = json_integer_value(json_object_get(entry, "bits"));
    const json_int_t group = json_integer_value(json_object_get(entry, "group_size"));

    if (!block_of(f))
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, found->module,
                         "is quantised, but config.json has no quantization block");
    else if (json_is_false(entry))
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, found->module,
                         "is quantised, but config.json says it is not");
    else if (ram_form_of(bits, group) != found->as.form)
        ram_findings_add(f->findings, RAM_CHECK_CONFIG, found->module,
                         "has %d bits in groups of %d, config.json says %lld in groups of %lld",
                         found->as.form->bits, found->as.form->group, (long long)bits,
                         (long long)group);
}

/* One module whose first tensor is there. Only a sound one is kept. */
static int add_module(struct ram_finder *f, const struct ram_expected *expected, const char *module,
                      const struct ram_tensor *tensor, struct ram_err *err)
{
    struct ram_found found = {.name = tensor->name,
                              .module = module,
                              .expected = expected,
                              .as.form = RAM_FORM_16,
                              .parts = {tensor}};
    bool sound;

    if (!expected || expected->quantizable) {
        found.parts[1] = part(f, module, planes[1]);
        found.parts[2] = part(f, module, planes[2]);
    }
    found.quantized = found.parts[1] || found.parts[2];
    if (found.quantized && (!found.parts[1] || !found.parts[2])) {
        ram_findings_add(f->findings, RAM_CHECK_TENSORS, module, "has %s but no %s",
                         planes[found.parts[1] ? 1 : 2], planes[found.parts[1] ? 2 : 1]);
        return RAM_OK;
    }
    if (found.quantized) {
        sound = check_parts(f, &found) && infer_width(f, &found);
        if (sound)
            compare_with_config(f, &found);
    } else {
        sound = ram_finder_check_plain(f, &found);
        /* An entry is about the module's weight, not about the bias beside it. */
        const size_t n = strlen(tensor->name);
        if (n > 7 && !strcmp(tensor->name + n - 7, ".weight") && block_of(f) &&
            json_is_object(json_object_get(block_of(f), module)))
            ram_findings_add(f->findings, RAM_CHECK_CONFIG, module,
                             "has a quantization entry but no scales");
    }
    if (!sound)
        return RAM_OK;
    return ram_finder_keep(f, &found, err);
}

/* ---- all of them ------------------------------------------------------------------------------
 */

/* Of an unknown architecture: what has scales is quantised, everything else is as it is. */
static int find_any(struct ram_finder *f, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; i < f->ckpt->n_tensors && !status; i++) {
        const struct ram_tensor *tensor = &f->ckpt->tensors[i];
        const char *dot = strrchr(tensor->name, '.');
        if (dot && (!strcmp(dot + 1, planes[1]) || !strcmp(dot + 1, planes[2])))
            continue;
        f->used[i] = true;
        const char *module = dot ? ram_arena_printf(&f->list->arena, err, "%.*s",
                                                    (int)(dot - tensor->name), tensor->name)
                                 : tensor->name;
        if (!module)
            status = RAM_ENOMEM;
        else if (ram_dtypes[tensor->dtype].is_weight || tensor->dtype == RAM_U32)
            status = add_module(f, NULL, module, tensor, err);
    }
    for (size_t i = 0; i < f->ckpt->n_tensors && !status; i++)
        if (!f->used[i])
            ram_findings_add(f->findings, RAM_CHECK_TENSORS, f->ckpt->tensors[i].name,
                             "belongs to no weight");
    return status;
}

static void check_entries_used(struct ram_finder *f)
{
    struct ram_names names;
    struct ram_err err = {0};
    const char *twin, *key;
    json_t *value;

    /* Modules are found by name through their first tensor: "<module>.weight". */
    if (!block_of(f) ||
        ram_names_build(&names, f->list->items, sizeof *f->list->items, f->list->n, &twin, &err))
        return;
    json_object_foreach(block_of(f), key, value)
    {
        char name[1024];
        if (!json_is_object(value))
            continue;
        const int n = snprintf(name, sizeof name, "%s.weight", key);
        if (n < 0 || (size_t)n >= sizeof name || ram_names_find(&names, name) == SIZE_MAX)
            ram_findings_add(f->findings, RAM_CHECK_CONFIG, key,
                             "has a quantization entry, but there is no such module");
    }
    ram_names_release(&names);
}

int ram_mlx_find(struct ram_found_list *out, const struct ram_ckpt *ckpt,
                 const struct ram_expectation *expectation, struct ram_findings *findings,
                 struct ram_err *err)
{
    struct ram_finder f = {.ckpt = ckpt, .list = out, .findings = findings};

    *out = (struct ram_found_list){0};
    f.used = ram_calloc(ckpt->n_tensors, sizeof *f.used, err);
    if (!f.used)
        return RAM_ENOMEM;
    check_config(&f);
    ram_findings_note(findings, RAM_CHECK_TENSORS, true, "%zu tensors%s", ckpt->n_tensors,
                      expectation->known ? ""
                                         : "; the architecture is not known, so tensors that "
                                           "are missing cannot be found");
    const int status = expectation->known ? ram_finder_expected(&f, expectation, add_module, err)
                                          : find_any(&f, err);
    if (!status)
        check_entries_used(&f);
    free(f.used);
    if (status)
        ram_found_release(out);
    return status;
}
