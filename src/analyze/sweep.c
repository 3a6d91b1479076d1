/*
 * sweep.c - reads every weight once and fills in a manifest.
 *
 * Matrices are taken in the order in which they lie in the files. Runs of small ones (experts) are
 * spread over the threads, one matrix each; a large one is worked on by all threads at once.
 * Which of the two happens, and how much is resident at a time, follows from the memory that is
 * allowed; the figures do not depend on it.
 */
#include "analyze/analyze.h"
#include "analyze/measure.h"
#include "analyze/partial.h"
#include "analyze/spectrum.h"
#include "base/cpu.h"
#include "kern/coarse.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SMALL = 1 << 23,  /* weights up to which a matrix is one thread's work */
    AHEAD = 64 << 20, /* bytes that the system is asked to read ahead */
    PRODUCT_SHARED = 4 << 20,
    PRODUCT_OWN = 1 << 20,
    SEED = 42
};

/* What is resident apart from weights and working memory: the program, headers, the manifest. */
#define BASE_MEMORY  ((uint64_t)24 << 20)
#define ENTRY_MEMORY ((uint64_t)1 << 11)

struct workspace {
    void *data;
    size_t size;
};

/* A matrix to be read. */
struct item {
    size_t index;  /* of source and entry */
    unsigned file; /* where its first weight lies */
    size_t offset;
    size_t bytes;
    bool scored;          /* otherwise it is only checked */
    bool uses_whole_pool; /* all threads work on it together */
    bool frugal;          /* see measure.h */
    size_t workspace;     /* see measure.h */
    size_t beside; /* what else is resident meanwhile: mapped weights, operands of products */
};

struct sweep {
    const struct ram_ckpt *ckpt;
    const struct ram_layout *layout;
    const struct ram_exec *exec;
    struct ram_analyze_opts opts; /* defaults filled in */
    struct ram_manifest *manifest;
    struct ram_store_scope scope;
    struct item *items;
    size_t n_items;
    struct workspace *workspaces; /* of every worker */
    uint64_t base;                /* bytes that are not weights and working memory ... */
    uint64_t memory;              /* ... and those that may be */
    uint64_t total;
    atomic_uint_least64_t done;
    atomic_bool cancelled;
};

/* ---- settings ------------------------------------------------------------------------------ */

static json_t *svd_settings(const struct ram_analyze_opts *opts)
{
    if (opts->no_svd)
        return json_null();
    return json_pack("{si si si ss ss}", "rank", RAM_SPECTRUM_RANK, "powers", RAM_SPECTRUM_POWERS,
                     "exact_up_to", RAM_SPECTRUM_EXACT, "test_matrix", "signs", "product",
                     ram_coarse_pays() ? "avx512+int8" : ram_cpu()->level);
}

static int write_settings(const struct sweep *sweep, struct ram_err *err)
{
    const struct ram_analyze_opts *opts = &sweep->opts;
    json_t *const settings = sweep->manifest->settings;

    if (json_object_set_new(settings, "seed", json_integer((json_int_t)opts->seed)) ||
        json_object_set_new(settings, "expert_sample", json_integer(opts->expert_sample)) ||
        json_object_set_new(settings, "output_probes", json_integer(opts->output_probes)) ||
        json_object_set_new(settings, "svd", svd_settings(opts)) ||
        json_object_set_new(settings, "errors",
                            json_pack("{ss ss}", "encoder", "rtn", "profile", "gpu")))
        return ram_fail(err, RAM_ENOMEM, "no memory for the settings");
    return RAM_OK;
}

/* ---- what is to be read -------------------------------------------------------------------- */

static int by_stack(const void *a, const void *b)
{
    const struct ram_source *x = *(const struct ram_source *const *)a;
    const struct ram_source *y = *(const struct ram_source *const *)b;
    const int order = strcmp(x->unit, y->unit);

    return order ? order : x->expert < y->expert ? -1 : x->expert > y->expert;
}

/* Of the experts of every stack, keeps those at trunc(linspace(0, n - 1, expert_sample)). */
static int sample_experts(const struct sweep *sweep, bool *left_out, struct ram_err *err)
{
    const struct ram_layout *layout = sweep->layout;
    const size_t wanted = sweep->opts.expert_sample;
    size_t n = 0;

    if (wanted == 0)
        return RAM_OK;
    const struct ram_source **const experts = ram_calloc(layout->n_sources, sizeof *experts, err);
    if (!experts)
        return RAM_ENOMEM;
    for (size_t i = 0; i < layout->n_sources; i++)
        if (layout->sources[i].expert >= 0)
            experts[n++] = &layout->sources[i];
    qsort(experts, n, sizeof *experts, by_stack);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first; end < n && !strcmp(experts[first]->unit, experts[end]->unit);)
            left_out[experts[end++] - layout->sources] = true;
        const size_t count = end - first, m = wanted < count ? wanted : count;
        for (size_t k = 0; k < m; k++)
            left_out[experts[first + (m > 1 ? k * (count - 1) / (m - 1) : 0)] - layout->sources] =
                false;
    }
    free(experts);
    return RAM_OK;
}

static struct ram_measure job_of(const struct sweep *sweep, const struct item *item,
                                 struct ram_pool *pool, void *workspace)
{
    return (struct ram_measure){.ckpt = sweep->ckpt,
                                .source = &sweep->layout->sources[item->index],
                                .seed = sweep->opts.seed,
                                .probes = item->scored ? sweep->opts.output_probes : 0,
                                .no_svd = sweep->opts.no_svd,
                                .frugal = item->frugal,
                                .pool = pool,
                                .workspace = workspace};
}

/* What a matrix product may allocate (kern/gemm.c): a block for all threads and one for each. */
static size_t product_memory(const struct ram_source *source, unsigned threads)
{
    const size_t weights = source->view.rows * source->view.cols;
    const size_t shared = 8 * weights < PRODUCT_SHARED ? 8 * weights : PRODUCT_SHARED;
    const size_t own = 8 * weights < PRODUCT_OWN ? 8 * weights : PRODUCT_OWN;

    return shared + threads * own;
}

/* Decides how an item is computed: by one thread among others, by all threads, or by all threads
 * and frugally, with weights released block by block. */
static int settle(const struct sweep *sweep, struct item *item, struct ram_err *err)
{
    const struct ram_source *source = &sweep->layout->sources[item->index];
    const unsigned threads = ram_pool_threads(sweep->exec->pool);
    struct ram_measure job = job_of(sweep, item, NULL, NULL);

    item->workspace = ram_measure_workspace(&job, item->scored, 1);
    item->beside = ram_measure_mapped(&job, 1) + product_memory(source, 1);
    if (source->view.rows * source->view.cols <= SMALL &&
        item->workspace + item->beside <= sweep->memory / threads)
        return RAM_OK;
    item->uses_whole_pool = true;
    item->workspace = ram_measure_workspace(&job, item->scored, threads);
    for (int frugal = 0; frugal < 2; frugal++) {
        job.frugal = item->frugal = frugal;
        item->beside = ram_measure_mapped(&job, threads) + product_memory(source, threads);
        if (item->workspace + item->beside <= sweep->memory)
            return RAM_OK;
    }
    const uint64_t need = sweep->base + item->workspace + item->beside, mebi = 1 << 20;
    return ram_fail(err, RAM_ENOMEM,
                    "tensor '%s' needs %llu MiB of memory with %u threads, %llu MiB are allowed",
                    source->tensor->name, (unsigned long long)((need + mebi - 1) / mebi), threads,
                    (unsigned long long)(sweep->exec->max_memory / mebi));
}

static int by_place(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Fills items, in the order of the files; what a store knew already counts as done. */
static int list_items(struct sweep *sweep, struct ram_err *err)
{
    const size_t n = sweep->layout->n_sources;
    int status = RAM_OK;

    bool *const left_out = ram_calloc(n, sizeof *left_out, err);
    sweep->items = ram_calloc(n, sizeof *sweep->items, err);
    if (!left_out || !sweep->items) {
        status = RAM_ENOMEM;
        goto done;
    }
    status = sample_experts(sweep, left_out, err);
    for (size_t i = 0; i < n && !status; i++) {
        const struct ram_source *source = &sweep->layout->sources[i];
        const struct ram_entry *entry = &sweep->manifest->entries[i];
        const size_t size = (size_t)ram_dtypes[source->tensor->dtype].bits / 8;
        struct item item = {.index = i,
                            .file = source->tensor->file,
                            .offset = source->tensor->offset + source->view.first * size,
                            .bytes = source->view.rows * source->view.cols * size,
                            .scored = entry->skip == RAM_SKIP_NONE};
        if (entry->skip == RAM_SKIP_NOT_WEIGHT || left_out[i])
            continue;
        sweep->total += item.bytes;
        if (entry->measured) {
            atomic_fetch_add(&sweep->done, item.bytes);
            continue;
        }
        status = settle(sweep, &item, err);
        sweep->items[sweep->n_items++] = item;
    }
    qsort(sweep->items, sweep->n_items, sizeof *sweep->items, by_place);
done:
    free(left_out);
    return status;
}

/* ---- workspaces ---------------------------------------------------------------------------------
 */

static void release_workspaces(struct sweep *sweep)
{
    for (unsigned k = 0; sweep->workspaces && k < ram_pool_threads(sweep->exec->pool); k++) {
        free(sweep->workspaces[k].data);
        sweep->workspaces[k] = (struct workspace){0};
    }
}

/* Gives each of the first n workers a workspace of `size` bytes; `beside` bytes are in use for
 * other things. Workspaces are kept from one matrix to the next, unless that would exceed the
 * memory. */
static int prepare_workspaces(struct sweep *sweep, unsigned n, size_t size, uint64_t beside,
                              struct ram_err *err)
{
    uint64_t sum = beside;

    for (unsigned k = 0; k < ram_pool_threads(sweep->exec->pool); k++) {
        const size_t have = sweep->workspaces[k].size;
        sum += k < n && size > have ? size : have;
    }
    if (sum > sweep->memory)
        release_workspaces(sweep);
    for (unsigned k = 0; k < n; k++) {
        struct workspace *workspace = &sweep->workspaces[k];
        if (workspace->size >= size)
            continue;
        free(workspace->data);
        *workspace = (struct workspace){.data = ram_calloc(size, 1, err), .size = size};
        if (!workspace->data)
            return RAM_ENOMEM;
    }
    return RAM_OK;
}

/* ---- the work ------------------------------------------------------------------------------ */

/* From the thread that called the stage only. */
static void report(struct sweep *sweep, const struct item *item)
{
    const struct ram_progress progress = {.stage = "analyze",
                                          .item = sweep->manifest->entries[item->index].name,
                                          .done = atomic_load(&sweep->done),
                                          .total = sweep->total};

    ram_exec_progress(sweep->exec, &progress);
    if (ram_exec_cancelled(sweep->exec))
        atomic_store(&sweep->cancelled, true);
}

static void read_ahead(const struct sweep *sweep, const struct item *item)
{
    const size_t size = item->bytes < AHEAD ? item->bytes : AHEAD;

    ram_map_ahead(&sweep->ckpt->files[item->file].map, item->offset, size);
}

static int work_on(struct sweep *sweep, const struct item *item, struct ram_pool *pool,
                   unsigned worker, struct ram_err *err)
{
    const struct ram_measure job = job_of(sweep, item, pool, sweep->workspaces[worker].data);
    struct ram_entry *entry = &sweep->manifest->entries[item->index];
    int status;

    if (worker == 0)
        report(sweep, item);
    if (atomic_load(&sweep->cancelled))
        return ram_fail(err, RAM_EINTERRUPT, "interrupted at tensor '%s'", entry->name);
    if (!item->scored) {
        status = ram_measure_check(&job, err);
    } else {
        status = ram_measure(&job, entry, err);
        if (!status)
            ram_partial_add(sweep->exec->store, &sweep->scope, entry);
    }
    atomic_fetch_add(&sweep->done, item->bytes);
    return status;
}

struct batch {
    struct sweep *sweep;
    size_t first;
};

static int work_on_one(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct batch *batch = ctx;
    struct sweep *sweep = batch->sweep;
    const size_t next = batch->first + i + ram_pool_threads(sweep->exec->pool);

    if (next < sweep->n_items)
        read_ahead(sweep, &sweep->items[next]);
    return work_on(sweep, &sweep->items[batch->first + i], NULL, worker, err);
}

static int work_with_pool(struct sweep *sweep, size_t i, struct ram_err *err)
{
    const struct item *item = &sweep->items[i];

    read_ahead(sweep, item);
    const int status = prepare_workspaces(sweep, 1, item->workspace, item->beside, err);
    return status ? status : work_on(sweep, item, sweep->exec->pool, 0, err);
}

/* Items [first, end), one matrix to a thread. */
static int work_side_by_side(struct sweep *sweep, size_t first, size_t end, struct ram_err *err)
{
    const unsigned threads = ram_pool_threads(sweep->exec->pool);
    struct batch batch = {sweep, first};
    size_t workspace = 0, beside = 0;

    for (size_t i = first; i < end; i++) {
        workspace = sweep->items[i].workspace > workspace ? sweep->items[i].workspace : workspace;
        beside = sweep->items[i].beside > beside ? sweep->items[i].beside : beside;
    }
    const int status =
        prepare_workspaces(sweep, threads, workspace, (uint64_t)beside * threads, err);
    return status ? status : ram_pool_for(sweep->exec->pool, end - first, work_on_one, &batch, err);
}

static int work(struct sweep *sweep, struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0, end; i < sweep->n_items && !status; i = end) {
        end = i + 1;
        while (!sweep->items[i].uses_whole_pool && end < sweep->n_items &&
               !sweep->items[end].uses_whole_pool)
            end++;
        status = sweep->items[i].uses_whole_pool ? work_with_pool(sweep, i, err)
                                                 : work_side_by_side(sweep, i, end, err);
        /* The other threads may have done everything already. */
        if (!status)
            report(sweep, &sweep->items[end - 1]);
        if (!status && atomic_load(&sweep->cancelled))
            status = ram_fail(err, RAM_EINTERRUPT, "interrupted behind tensor '%s'",
                              sweep->manifest->entries[sweep->items[end - 1].index].name);
    }
    return status;
}

/* ---- the stage ----------------------------------------------------------------------------- */

/* What an earlier run has measured with the same settings. */
static int load_partial(struct sweep *sweep, struct ram_err *err)
{
    const int status = ram_partial_scope(sweep->exec->store, sweep->manifest, &sweep->scope, err);

    if (!status)
        ram_partial_load(sweep->exec->store, &sweep->scope, sweep->manifest);
    return status;
}

int ram_sweep(const struct ram_ckpt *ckpt, const struct ram_layout *layout,
              const struct ram_analyze_opts *opts, const struct ram_exec *exec,
              struct ram_manifest *manifest, struct ram_err *err)
{
    struct sweep sweep = {
        .ckpt = ckpt, .layout = layout, .exec = exec, .opts = *opts, .manifest = manifest};
    const uint64_t limit = exec->max_memory;

    sweep.base = BASE_MEMORY + ENTRY_MEMORY * layout->n_sources;
    sweep.memory = limit > sweep.base ? limit - sweep.base : 0;
    sweep.opts.seed = opts->seed ? opts->seed : SEED;
    int status = write_settings(&sweep, err);
    if (status)
        goto done;
    sweep.workspaces = ram_calloc(ram_pool_threads(exec->pool), sizeof *sweep.workspaces, err);
    if (!sweep.workspaces) {
        status = RAM_ENOMEM;
        goto done;
    }
    status = load_partial(&sweep, err);
    if (!status)
        status = list_items(&sweep, err);
    if (!status)
        status = work(&sweep, err);
done:
    release_workspaces(&sweep);
    free(sweep.workspaces);
    free(sweep.items);
    return status;
}
