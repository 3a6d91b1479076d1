/*
 * survey.c - what a checkpoint holds, as a manifest in which nothing is measured yet.
 */
#include "analyze/analyze.h"

#include "arch/config_read.h"
#include "ckpt/coding.h"

#include <string.h>

/* Matrices with fewer weights are not scored (docs/metrics.md). */
enum { TINY = 1024 };

/* The keys of config.json that matter to later stages, in both spellings. */
static int copy_keys(const json_t *from, json_t *to, struct ram_err *err)
{
    for (const char *const *key = ram_config_survey; *key; key++) {
        json_t *value = json_object_get(from, *key);
        if (value && ram_json_is_plain(value) && json_object_set(to, *key, value))
            return ram_fail(err, RAM_ENOMEM, "no memory for \"%s\" of config.json", *key);
    }
    return RAM_OK;
}

static int copy_config(const json_t *from, json_t *to, struct ram_err *err)
{
    const json_t *text = json_object_get(from, "text_config");

    if (copy_keys(from, to, err) || !json_is_object(text))
        return err->status;
    json_t *inner = json_object();
    if (!inner || json_object_set_new(to, "text_config", inner))
        return ram_fail(err, RAM_ENOMEM, "no memory for \"text_config\" of config.json");
    return copy_keys(text, inner, err);
}

/* Is the source all of its tensor, row by row? Otherwise it is one matrix of a stack. */
static bool is_whole(const struct ram_source *source)
{
    return source->view.rows * source->view.cols == source->tensor->n;
}

static enum ram_skip skip_of(const struct ram_source *source, const struct ram_entry *entry)
{
    int above_one = 0;

    if (source->dropped || source->fixed || !ram_dtypes[source->tensor->dtype].is_weight)
        return RAM_SKIP_NOT_WEIGHT;
    for (int i = 0; i < entry->n_dims; i++)
        above_one += entry->shape[i] > 1;
    if (above_one <= 1)
        return RAM_SKIP_1D;
    return entry->parameters < TINY ? RAM_SKIP_TINY : RAM_SKIP_NONE;
}

/* What the source's tensor stands for; of a stack, this expert's share of it. */
static void fill_source(const struct ram_ckpt *ckpt, const struct ram_source *source,
                        struct ram_entry *entry)
{
    const struct ram_tensor *t = source->tensor;
    const uint64_t share = entry->parameters;
    struct ram_coded coded;

    entry->source.scales =
        source->why_dropped && !strcmp(source->why_dropped, "scales of FP8 weights");
    entry->source.part = !ram_coding_weights(ckpt, t, &coded);
    entry->source.bits = coded.bits;
    entry->source.group = coded.group;
    entry->source.bytes = share * (uint64_t)ram_dtypes[t->dtype].bits / 8;
    if (ckpt->coding.coded || ckpt->coding.problem)
        entry->parameters = entry->source.part || !t->n ? 0
                                                        : coded.weights / t->n * share +
                                                              coded.weights % t->n * share / t->n;
}

static int fill_entry(const struct ram_ckpt *ckpt, const struct ram_source *source,
                      struct ram_arena *arena, struct ram_entry *entry, struct ram_err *err)
{
    const struct ram_tensor *t = source->tensor;

    *entry = (struct ram_entry){.dtype = ram_dtypes[t->dtype].name,
                                .parameters = (uint64_t)source->view.rows * source->view.cols,
                                .layer = source->layer,
                                .expert = source->expert,
                                .n_stored = source->n_stored,
                                .stored_size = ram_dtypes[source->stored_dtype].bits / 8};
    entry->name = ram_arena_strdup(arena, t->name, err);
    entry->file = ram_arena_strdup(arena, ckpt->files[t->file].name, err);
    entry->role = ram_arena_strdup(arena, ram_role_name(source->role), err);
    entry->unit = ram_arena_strdup(arena, source->unit, err);
    if (is_whole(source)) {
        entry->n_dims = t->n_dims;
        memcpy(entry->shape, t->shape, sizeof entry->shape);
    } else {
        entry->n_dims = 2;
        entry->shape[0] = source->view.rows;
        entry->shape[1] = source->view.cols;
    }
    for (int i = 0; i < source->n_stored; i++) {
        const struct ram_stored_view *stored = &source->stored[i];
        entry->stored[i].rows = (uint64_t)stored->view.rows * stored->blocks;
        entry->stored[i].cols = stored->view.cols;
    }
    entry->skip = skip_of(source, entry);
    fill_source(ckpt, source, entry);
    return err->status;
}

/* Weights of all files, decoded; scales of FP8 weights are not weights. */
static uint64_t count_parameters(const struct ram_ckpt *ckpt)
{
    struct ram_coded coded;
    uint64_t n = 0;

    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const struct ram_tensor *t = &ckpt->tensors[i];
        if (ram_coding_weights(ckpt, t, &coded))
            n += coded.weights;
        if (t->scale && ram_dtypes[t->scale->dtype].is_weight)
            n -= t->scale->n;
    }
    return n;
}

static int fill_model(const struct ram_ckpt *ckpt, const struct ram_layout *layout,
                      struct ram_manifest *m, struct ram_err *err)
{
    m->version = RAM_VERSION;
    m->model_name = ram_arena_strdup(&m->arena, ckpt->name, err);
    m->model_type = ram_arena_strdup(&m->arena, layout->model_type, err);
    m->architecture = ram_arena_strdup(&m->arena, layout->config.architecture, err);
    m->parameters = count_parameters(ckpt);
    m->files = ram_calloc(ckpt->n_files, sizeof *m->files, err);
    if (!m->files)
        return err->status;
    for (size_t i = 0; i < ckpt->n_files; i++) {
        const struct ram_ckpt_file *file = &ckpt->files[i];
        m->files[i].name = ram_arena_strdup(&m->arena, file->name, err);
        m->files[i].bytes = file->map.size;
        m->files[i].header_sha256 = ram_arena_strdup(&m->arena, file->header_sha256, err);
        m->bytes += file->map.size;
    }
    m->n_files = ckpt->n_files;
    m->coded = ckpt->coding.coded || ckpt->coding.problem;
    if (ckpt->coding.name)
        m->coding = ram_arena_strdup(&m->arena, ckpt->coding.name, err);
    if (layout->obstacle)
        m->obstacle = ram_arena_strdup(&m->arena, layout->obstacle, err);
    return err->status ? err->status : copy_config(ckpt->config, m->config, err);
}

int ram_survey_layout(const struct ram_ckpt *ckpt, const struct ram_layout *layout,
                      struct ram_manifest **out, struct ram_err *err)
{
    struct ram_manifest *m = NULL;

    int status = ram_manifest_new(&m, err);
    if (status)
        return status;
    status = fill_model(ckpt, layout, m, err);
    if (!status) {
        m->entries = ram_calloc(layout->n_sources, sizeof *m->entries, err);
        status = m->entries ? RAM_OK : RAM_ENOMEM;
    }
    for (size_t i = 0; i < layout->n_sources && !status; i++) {
        status = fill_entry(ckpt, &layout->sources[i], &m->arena, &m->entries[i], err);
        m->n_entries = i + 1;
    }
    if (status) {
        ram_manifest_free(m);
        return status;
    }
    *out = m;
    return RAM_OK;
}
