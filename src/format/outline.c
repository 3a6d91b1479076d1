/* outline.c - see outline.h. */
#include "format/outline.h"

#include <stdlib.h>
#include <string.h>

/* ---- plan against checkpoint ------------------------------------------------------------- */

static int check_model(const struct ram_layout *layout, const struct ram_plan *plan,
                       struct ram_err *err)
{
    if (!layout->known)
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "model_type \"%s\": RAM does not know under which names %s loads this "
                        "architecture, what it stacks or splits, and which of its modules have a "
                        "quantised form; it can be inspected, analysed and allocated, not "
                        "converted",
                        layout->model_type, layout->format->loader);
    if (layout->obstacle)
        return ram_fail(err, RAM_EUNSUPPORTED, "the checkpoint cannot be converted: %s",
                        layout->obstacle);
    if (plan->format && strcmp(plan->format, layout->format->id))
        return ram_fail(err, RAM_EUNSUPPORTED, "the plan is for the format \"%s\", not \"%s\"",
                        plan->format, layout->format->id);
    if (plan->model_type && *plan->model_type && strcmp(plan->model_type, layout->model_type))
        return ram_fail(err, RAM_EFORMAT,
                        "the plan was made for a model of type \"%s\" (%s), the checkpoint is of "
                        "type \"%s\"",
                        plan->model_type, plan->model_name ? plan->model_name : "unnamed",
                        layout->model_type);
    return RAM_OK;
}

/* Every unit of the plan exists in the checkpoint, and has as many weights as the plan says; the
 * copy of an embedding that is a head of its own may count or not. */
static int check_units(const struct ram_layout *layout, const struct ram_plan *plan,
                       struct ram_err *err)
{
    int status = RAM_OK;
    bool *seen = ram_calloc(plan->n_units, sizeof *seen, err);
    uint64_t *stored = ram_calloc(plan->n_units, sizeof *stored, err);
    uint64_t *copies = ram_calloc(plan->n_units, sizeof *copies, err);
    if (!seen || !stored || !copies) {
        status = RAM_ENOMEM;
        goto done;
    }
    for (size_t i = 0; i < layout->n_sources; i++) {
        const struct ram_unit *unit = ram_plan_find(plan, layout->sources[i].unit);
        if (unit)
            seen[unit - plan->units] = true;
    }
    for (size_t i = 0; i < layout->n_targets; i++) {
        const struct ram_target *target = &layout->targets[i];
        const struct ram_unit *unit = ram_plan_find(plan, target->unit);
        uint64_t n = 1;
        if (!unit) {
            status = ram_fail(err, RAM_EFORMAT,
                              "the plan has no unit \"%s\", which %s needs; was it made for "
                              "another model (%s)?",
                              target->unit, target->module,
                              plan->model_name ? plan->model_name : "unnamed");
            goto done;
        }
        for (int k = 0; k < target->n_dims; k++)
            n *= target->shape[k];
        (target->copy ? copies : stored)[unit - plan->units] += n;
    }
    for (size_t i = 0; i < plan->n_units && !status; i++) {
        const struct ram_unit *unit = &plan->units[i];
        if (!seen[i])
            status =
                ram_fail(err, RAM_EFORMAT,
                         "the plan decides \"%s\", which the checkpoint does not have", unit->name);
        else if (stored[i] && stored[i] != unit->parameters &&
                 stored[i] + copies[i] != unit->parameters)
            status = ram_fail(err, RAM_EFORMAT,
                              "%s: %llu weights in the plan, %llu in the checkpoint", unit->name,
                              (unsigned long long)unit->parameters, (unsigned long long)stored[i]);
    }
done:
    free(copies);
    free(stored);
    free(seen);
    return status;
}

/* ---- one module --------------------------------------------------------------------------- */

/* The rows of all matrices, and the weights of one row; what the views must add up to. */
static int shape_module(struct ram_out_module *module, struct ram_err *err)
{
    const struct ram_target *target = module->target;
    uint64_t rows = 0;

    module->cols = target->n_dims ? target->shape[target->n_dims - 1] : 1;
    module->rows = 1;
    for (int k = 0; k + 1 < target->n_dims; k++)
        module->rows *= target->shape[k];
    for (size_t i = 0; i < target->n_views; i++) {
        rows += target->views[i].rows;
        if (target->views[i].cols != module->cols)
            break;
    }
    if (rows != module->rows)
        return ram_fail(err, RAM_EINTERNAL, "%s: views of %llu rows make a tensor of %llu",
                        target->module, (unsigned long long)rows, (unsigned long long)module->rows);
    return RAM_OK;
}

/* A decision that a person took, or could only have taken by editing a plan. The others are rules
 * that did not know what the format can hold, and give way to it. */
static bool set_by_hand(const struct ram_unit *unit)
{
    static const char *const always_16[] = {"1d", "tiny", "protected"};

    if (!unit->reason || !strcmp(unit->reason, "user"))
        return true;
    for (size_t i = 0; i < sizeof always_16 / sizeof *always_16; i++)
        if (!strcmp(unit->reason, always_16[i]))
            return true;
    return false;
}

static int decide(struct ram_outline *outline, struct ram_out_module *module,
                  enum ram_profile profile, struct ram_err *err)
{
    const struct ram_format *format = outline->layout->format;
    struct ram_arena *const arena = &outline->arena;
    const struct ram_target *target = module->target;
    const struct ram_unit *unit = module->unit;
    const unsigned long long cols = (unsigned long long)module->cols;

    module->as.form = RAM_FORM_16;
    if (unit->form == RAM_FORM_16)
        return RAM_OK;
    if (!format->has_form(unit->form))
        return ram_fail(err, RAM_EUSAGE,
                        "%s: the plan asks for form %s, which the format %s does not have",
                        unit->name, unit->form->id, format->id);
    if (!target->quantizable) {
        if (set_by_hand(unit))
            return ram_fail(err, RAM_EUSAGE,
                            "%s: the plan asks for %d bits, but %s has no quantised form of %s; "
                            "only 16 can be stored",
                            unit->name, unit->form->bits, format->loader, target->module);
        module->fallback =
            ram_arena_printf(arena, err, "16 bits instead of %d: %s has no quantised form of it",
                             unit->form->bits, format->loader);
        return module->fallback ? RAM_OK : RAM_ENOMEM;
    }
    if (!ram_dtype_scales(target->dtype, &module->as.scale_type))
        return ram_fail(err, RAM_EUNSUPPORTED, "%s: scales of type %s cannot be stored",
                        target->module, ram_dtypes[target->dtype].name);
    const struct ram_form *const fit = ram_form_fit(unit->form, module->cols);
    module->as.form = fit;
    module->as.profile = profile;
    module->quantized = fit != RAM_FORM_16;
    if (fit == unit->form)
        return RAM_OK;
    module->fallback =
        module->quantized
            ? ram_arena_printf(arena, err, "groups of %d instead of %d: rows have %llu weights",
                               fit->group, unit->form->group, cols)
            : ram_arena_printf(arena, err,
                               "16 bits instead of %d: no group divides rows of %llu weights",
                               unit->form->bits, cols);
    return module->fallback ? RAM_OK : RAM_ENOMEM;
}

/* ---- its tensors ----------------------------------------------------------------------------- */

size_t ram_out_module_tensors(const struct ram_out_module *module)
{
    return module->as.form->codec->n_planes;
}

uint64_t ram_out_module_bytes(const struct ram_outline *outline,
                              const struct ram_out_module *module)
{
    uint64_t bytes = 0;
    for (size_t k = 0; k < ram_out_module_tensors(module); k++)
        bytes += outline->tensors[module->tensor + k].size;
    return bytes;
}

static int name_tensor(struct ram_outline *outline, struct ram_out_tensor *tensor,
                       const char *suffix, struct ram_err *err)
{
    const char *module = outline->modules[tensor->module].target->module;
    tensor->name = *suffix ? ram_arena_printf(&outline->arena, err, "%s.%s", module, suffix)
                           : ram_arena_strdup(&outline->arena, module, err);
    return tensor->name ? RAM_OK : RAM_ENOMEM;
}

/* Bytes of a tensor from its shape. The product was checked for the source, which is no smaller
 * than a quarter of it; checked again since nothing here may depend on that. */
static int size_tensor(struct ram_out_tensor *tensor, struct ram_err *err)
{
    size_t n = (size_t)ram_dtypes[tensor->dtype].bits;
    for (int k = 0; k < tensor->n_dims; k++)
        if (!ram_mul_size(n, (size_t)tensor->shape[k], &n))
            return ram_fail(err, RAM_ERANGE, "%s: its size overflows", tensor->name);
    tensor->size = n / 8;
    return RAM_OK;
}

static int add_tensors(struct ram_outline *outline, size_t m, struct ram_err *err)
{
    const struct ram_format *format = outline->layout->format;
    struct ram_out_module *module = &outline->modules[m];
    const struct ram_target *target = module->target;

    module->tensor = outline->n_tensors;
    for (size_t k = 0; k < ram_out_module_tensors(module); k++) {
        struct ram_out_tensor *tensor = &outline->tensors[outline->n_tensors++];
        const char *suffix = target->suffix;
        *tensor =
            (struct ram_out_tensor){.module = m, .dtype = target->dtype, .n_dims = target->n_dims};
        memcpy(tensor->shape, target->shape, sizeof tensor->shape);
        if (module->quantized) {
            const struct ram_plane plane =
                format->plane(&module->as, target->dtype, module->cols, k);
            suffix = plane.suffix;
            tensor->dtype = plane.dtype;
            tensor->shape[target->n_dims - 1] = plane.cols;
        }
        int status = name_tensor(outline, tensor, suffix, err);
        if (!status)
            status = size_tensor(tensor, err);
        if (status)
            return status;
        outline->bytes += tensor->size;
    }
    return RAM_OK;
}

static void choose_usual(struct ram_outline *outline)
{
    uint64_t weights[RAM_N_FORMS] = {0}, most = 0;

    for (size_t i = 0; i < outline->n_modules; i++) {
        const struct ram_out_module *module = &outline->modules[i];
        if (module->quantized)
            weights[ram_form_index(module->as.form)] += module->rows * module->cols;
    }
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        if (weights[i] > most) {
            most = weights[i];
            outline->usual = &ram_forms[i];
        }
}

static int fill(struct ram_outline *outline, const struct ram_plan *plan, enum ram_profile profile,
                struct ram_err *err)
{
    const struct ram_layout *layout = outline->layout;

    for (size_t i = 0; i < layout->n_targets; i++) {
        struct ram_out_module *module = &outline->modules[outline->n_modules++];
        *module = (struct ram_out_module){.target = &layout->targets[i]};
        module->unit = ram_plan_find(plan, module->target->unit);
        int status = shape_module(module, err);
        if (!status)
            status = decide(outline, module, profile, err);
        if (!status)
            status = add_tensors(outline, i, err);
        if (status)
            return status;
        outline->parameters += module->rows * module->cols;
        outline->n_quantized += module->quantized;
    }
    choose_usual(outline);
    return RAM_OK;
}

int ram_outline_new(struct ram_outline **out, const struct ram_layout *layout,
                    const struct ram_plan *plan, const struct ram_convert_opts *opts,
                    struct ram_err *err)
{
    int status = check_model(layout, plan, err);
    if (!status)
        status = check_units(layout, plan, err);
    if (status)
        return status;

    struct ram_outline *outline = ram_calloc(1, sizeof *outline, err);
    if (!outline)
        return RAM_ENOMEM;
    outline->layout = layout;
    outline->shard_size = opts->shard_size ? opts->shard_size : UINT64_C(5) << 30;
    outline->modules = ram_calloc(layout->n_targets, sizeof *outline->modules, err);
    outline->tensors =
        ram_calloc(layout->n_targets, RAM_MAX_PLANES * sizeof *outline->tensors, err);
    status = outline->modules && outline->tensors ? RAM_OK : RAM_ENOMEM;
    if (!status)
        status = fill(outline, plan, opts->profile, err);
    if (!status)
        status = layout->format->lay_out(outline, err);
    if (status) {
        ram_outline_free(outline);
        return status;
    }
    *out = outline;
    return RAM_OK;
}

void ram_outline_free(struct ram_outline *outline)
{
    if (!outline)
        return;
    for (size_t i = 0; i < outline->n_files; i++)
        free(outline->files[i].header);
    free(outline->files);
    free(outline->tensors);
    free(outline->modules);
    ram_arena_release(&outline->arena);
    free(outline);
}
