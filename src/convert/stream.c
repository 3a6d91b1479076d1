/*
 * stream.c - see stream.h.
 *
 * Views are taken in batches of a few thousand blocks; inside a batch threads take blocks in
 * order, read, encode and write them without meeting. A file is open while a batch needs it.
 */
#include "convert/stream.h"

#include "convert/journal.h"
#include "convert/rowblock.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    BATCH_FILES = 64, /* open at a time; a process may have 1,024 */
    FACTOR_SHARE = 4, /* of the memory, for factors before a batch is full */
    PUSH_BYTES = 64 << 20
};

/* Rows [row, row + n) of one view of a module. */
struct block {
    const struct ram_view *view;
    size_t module;
    size_t row, n;
    uint64_t module_row; /* of its first row, in the module */
    bool last;           /* of its view */
    atomic_bool done;
    struct ram_weight_factors factors;
    double squared_error, squared;
    struct ram_checksum sums[RAM_MAX_PLANES];
};

struct scratch {
    float *weights;
    uint8_t *stored; /* the planes of codes, one after the other, or narrowed floats */
};

struct stream {
    const struct ram_ckpt *ckpt;
    const struct ram_outline *outline;
    const struct ram_weight_encoder *encoder;
    const struct ram_weight_inputs *inputs; /* NULL: it does not want to know */
    const char *dir, *name; /* where files are written, and what that will be called */
    struct ram_exec exec;   /* of the caller, with fewer threads if memory asks for it */
    struct ram_module_result *results;
    struct scratch *scratch; /* one for each thread */
    struct ram_sink *sinks;  /* one for each file */
    struct block *blocks;    /* of the current batch */
    size_t n_blocks, cap_blocks;
    size_t n_folded; /* blocks [0, n_folded) are in the results */
    pthread_mutex_t fold_lock;
    struct ram_journal journal;
    struct ram_block_place recorded; /* by the last record */
    /* Where the next batch begins: a view, its first row in its module, and a row of it. */
    size_t module, view, row;
    uint64_t module_row;
    uint64_t factor_bytes; /* of the batch's factors */
    const struct ram_gptq_factor *last_factor, *last_outputs;
    uint64_t total;
    atomic_uint_least64_t done;
    atomic_uint_least64_t written;
};

/* ---- one block ----------------------------------------------------------------------------- */

static uint64_t source_bytes(const struct ram_view *view, size_t n)
{
    return (uint64_t)n * view->cols * (uint64_t)ram_dtypes[view->tensor->dtype].bits / 8;
}

static int put(struct stream *s, struct block *block, size_t part, const uint8_t *data,
               size_t row_size, struct ram_err *err)
{
    const struct ram_out_tensor *tensor =
        &s->outline->tensors[s->outline->modules[block->module].tensor + part];
    const uint64_t at = block->module_row * row_size;
    const size_t size = block->n * row_size;

    ram_checksum_add(&block->sums[part], at, data, size);
    const int status = ram_sink_put(&s->sinks[tensor->file], tensor->offset + at, data, size, err);
    /* The disk works while we do: on one that is slower than the encoder the flush at the end
     * would otherwise double the time. */
    const uint64_t before = atomic_fetch_add(&s->written, size);
    if (!status && before / PUSH_BYTES != (before + size) / PUSH_BYTES)
        ram_sink_push(&s->sinks[tensor->file]);
    return status;
}

static int too_large(const struct block *block, const float *w, struct ram_err *err)
{
    float largest = 0;

    for (size_t i = 0; i < block->n * block->view->cols; i++)
        largest = fabsf(w[i]) > largest ? fabsf(w[i]) : largest;
    return ram_fail(err, RAM_EFORMAT,
                    "%s: weights of up to %g have no quantised form, as their scales overflow; a "
                    "plan of 16 bits stores them as they are",
                    block->view->tensor->name, (double)largest);
}

static int quantize(struct stream *s, struct block *block, struct scratch *scratch,
                    struct ram_err *err)
{
    const struct ram_out_module *module = &s->outline->modules[block->module];
    const struct ram_storage *as = &module->as;
    const size_t cols = block->view->cols, n_planes = as->form->codec->n_planes;
    uint8_t *planes[RAM_MAX_PLANES] = {scratch->stored};
    size_t row_sizes[RAM_MAX_PLANES];

    int status = ram_rows_read(block->view, block->row, block->n, module->target->dtype,
                               scratch->weights, &block->squared, err);
    if (status)
        return status;
    for (size_t k = 0; k < n_planes; k++) {
        row_sizes[k] = ram_storage_row_size(as, k, cols);
        planes[k] = k ? planes[k - 1] + block->n * row_sizes[k - 1] : scratch->stored;
    }
    status = s->encoder->encode(as, &block->factors, scratch->weights, block->n, cols, planes,
                                &block->squared_error, err);
    if (!status && !isfinite(block->squared_error))
        return too_large(block, scratch->weights, err);
    for (size_t k = 0; k < n_planes && !status; k++)
        status = put(s, block, k, planes[k], row_sizes[k], err);
    return status;
}

/* Floats are read to be checked, and written from where they lie if they lie as they are to be. */
static int carry_over(struct stream *s, struct block *block, struct scratch *scratch,
                      struct ram_err *err)
{
    const struct ram_view *view = block->view;
    const struct ram_tensor *tensor = view->tensor;
    const enum ram_dtype dtype = s->outline->modules[block->module].target->dtype;
    const size_t element = (size_t)ram_dtypes[dtype].bits / 8;
    const bool as_it_lies = dtype == tensor->dtype && ram_view_contiguous(view);
    const uint8_t *data = scratch->stored;

    if (ram_dtypes[tensor->dtype].is_weight) {
        const int status = ram_rows_read(view, block->row, block->n, dtype, scratch->weights,
                                         &block->squared, err);
        if (status)
            return status;
        if (!as_it_lies)
            ram_rows_narrow(scratch->weights, block->n * view->cols, dtype, scratch->stored);
    } else if (!as_it_lies) {
        return ram_fail(err, RAM_EUNSUPPORTED, "%s: %s cannot be stored as %s", tensor->name,
                        ram_dtypes[tensor->dtype].name, ram_dtypes[dtype].name);
    }
    if (as_it_lies)
        data = tensor->data + (view->first + block->row * view->cols) * element;
    return put(s, block, 0, data, view->cols * element, err);
}

/* Progress and cancellation belong to the thread that called the stage, which is worker 0. */
static int tell(struct stream *s, const struct block *block, struct ram_err *err)
{
    const struct ram_progress now = {
        .stage = "convert",
        .item = s->outline->modules[block->module].target->module,
        .done = atomic_load(&s->done),
        .total = s->total,
    };

    ram_exec_progress(&s->exec, &now);
    if (ram_exec_cancelled(&s->exec))
        return ram_fail(err, RAM_EINTERRUPT, "interrupted; %s was not written", s->name);
    return RAM_OK;
}

/* ---- what is finished ---------------------------------------------------------------------- */

/* The results of all blocks up to the first that is not done, in the order of blocks. */
static void fold(struct stream *s)
{
    for (; s->n_folded < s->n_blocks; s->n_folded++) {
        const struct block *block = &s->blocks[s->n_folded];
        struct ram_module_result *result = &s->results[block->module];
        if (!atomic_load(&block->done))
            break;
        result->squared_error += block->squared_error;
        result->squared += block->squared;
        for (size_t k = 0; k < RAM_MAX_PLANES; k++)
            ram_checksum_merge(&result->sums[k], &block->sums[k]);
    }
}

static void record(struct stream *s)
{
    struct ram_block_place place = {s->module, s->view, s->row};

    fold(s);
    if (s->n_folded < s->n_blocks) {
        const struct block *next = &s->blocks[s->n_folded];
        place.module = next->module;
        place.view = (size_t)(next->view - s->outline->modules[next->module].target->views);
        place.row = next->row;
    }
    if (place.module == s->recorded.module && place.view == s->recorded.view &&
        place.row == s->recorded.row)
        return;
    ram_journal_add(&s->journal, s->outline, &place, s->recorded.module, s->results);
    s->recorded = place;
}

/* May be called from any thread while others work. A thread that finds the lock taken returns at
 * once, because another one records. */
static void record_if_due(struct stream *s)
{
    if (!s->journal.store || pthread_mutex_trylock(&s->fold_lock))
        return;
    if (ram_store_due(s->journal.store))
        record(s);
    pthread_mutex_unlock(&s->fold_lock);
}

static int do_block(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct stream *s = ctx;
    struct block *block = &s->blocks[i];
    const struct ram_view *view = block->view;
    const struct ram_out_module *module = &s->outline->modules[block->module];

    int status = module->quantized ? quantize(s, block, &s->scratch[worker], err)
                                   : carry_over(s, block, &s->scratch[worker], err);
    if (status)
        return status;
    /* A page that two blocks share goes with the view; a transposed view goes as a whole. */
    if (block->last)
        ram_view_forget(s->ckpt, view, 0, view->rows);
    else if (ram_view_contiguous(view))
        ram_view_forget(s->ckpt, view, block->row, block->n);
    atomic_fetch_add(&s->done, source_bytes(view, block->n));
    atomic_store(&block->done, true);
    record_if_due(s);
    return worker == 0 ? tell(s, block, err) : RAM_OK;
}

/* ---- batches ------------------------------------------------------------------------------- */

/* How many rows of a module make a block: a function of shape and encoder alone, so that sums have
 * one order. */
static size_t rows_in_block(const struct stream *s, const struct ram_out_module *module,
                            size_t cols)
{
    const size_t usual = ram_rows_in_block(cols);
    const size_t wanted = module->quantized && s->encoder->rows ? s->encoder->rows(cols) : 0;

    return usual > wanted ? usual : wanted;
}

/* What the encoder is told of rows [row, row + n) of the next view beside its inputs, if those are
 * known. */
static int find_outputs(struct stream *s, const struct ram_target *target, size_t row, size_t n,
                        struct ram_weight_factors *factors, struct ram_err *err)
{
    factors->outputs = NULL;
    if (!factors->inputs || target->views[s->view].col_stride != 1)
        return RAM_OK;
    const int status =
        s->inputs->outputs(s->inputs->ctx, target->unit, s->view, row, n, &factors->outputs, err);
    if (factors->outputs && factors->outputs != s->last_outputs)
        s->factor_bytes += ram_gptq_factor_size(n);
    s->last_outputs = factors->outputs;
    return status;
}

/* Of the next view, whose factors join those of the batch. */
static int add_blocks(struct stream *s, struct ram_err *err)
{
    const struct ram_out_module *module = &s->outline->modules[s->module];
    const struct ram_target *target = module->target;
    const struct ram_view *view = &target->views[s->view];
    const size_t step = rows_in_block(s, module, view->cols);
    struct ram_weight_factors factors = {NULL, NULL};
    int status = RAM_OK;

    if (s->inputs && module->quantized)
        status = s->inputs->factor(s->inputs->ctx, target->unit, s->view, view->col_stride != 1,
                                   &factors.inputs, err);
    if (factors.inputs && factors.inputs != s->last_factor)
        s->factor_bytes += ram_gptq_factor_size(factors.inputs->cols);
    s->last_factor = factors.inputs;
    for (size_t row = s->row; !status && row < view->rows && view->cols; row += step) {
        const size_t n = view->rows - row < step ? view->rows - row : step;
        status = find_outputs(s, target, row, n, &factors, err);
        if (!status)
            status = ram_grow(&s->blocks, sizeof *s->blocks, s->n_blocks, &s->cap_blocks, err);
        if (!status)
            s->blocks[s->n_blocks++] = (struct block){.view = view,
                                                      .module = s->module,
                                                      .row = row,
                                                      .n = n,
                                                      .module_row = s->module_row + row,
                                                      .last = row + n == view->rows,
                                                      .factors = factors};
    }
    s->row = 0;
    s->module_row += view->rows;
    if (++s->view == target->n_views) {
        s->module++;
        s->view = 0;
        s->module_row = 0;
    }
    return status;
}

static unsigned last_file(const struct ram_outline *outline, size_t m)
{
    const struct ram_out_module *module = &outline->modules[m];
    return outline->tensors[module->tensor + ram_out_module_tensors(module) - 1].file;
}

static int open_file(struct stream *s, unsigned number, struct ram_err *err)
{
    const struct ram_out_file *file = &s->outline->files[number];
    struct ram_sink *sink = &s->sinks[number];
    char *path = ram_path_join(s->dir, file->name, err);
    if (!path)
        return RAM_ENOMEM;
    int status = ram_sink_open(sink, path, s->journal.store != NULL, err);
    if (!status)
        status = ram_sink_reserve(sink, file->size, err);
    if (!status)
        status = ram_sink_put(sink, 0, file->header, file->header_size, err);
    free(path);
    return status;
}

/* A module without views has nothing to write. */
static bool skip_empty(struct stream *s)
{
    while (s->module < s->outline->n_modules && s->outline->modules[s->module].target->n_views == 0)
        s->module++;
    return s->module < s->outline->n_modules;
}

/* Views from where the last batch ended until there is enough to do, or too much in memory. */
static int run_batch(struct stream *s, unsigned *n_opened, unsigned *n_closed, struct ram_err *err)
{
    const struct ram_outline *outline = s->outline;
    const size_t first = s->module;
    int status = RAM_OK;

    s->n_blocks = s->n_folded = 0;
    s->factor_bytes = 0;
    s->last_factor = s->last_outputs = NULL;
    while (!status && skip_empty(s) && s->n_blocks < RAM_BATCH_BLOCKS &&
           s->factor_bytes <= s->exec.max_memory / FACTOR_SHARE) {
        const unsigned file = last_file(outline, s->module);
        if (s->module > first && file - *n_closed >= BATCH_FILES)
            break;
        while (!status && *n_opened <= file)
            status = open_file(s, (*n_opened)++, err);
        if (!status)
            status = add_blocks(s, err);
    }
    if (!status)
        status = ram_pool_for(s->exec.pool, s->n_blocks, do_block, s, err);
    if (s->inputs)
        s->inputs->forget(s->inputs->ctx);
    fold(s);
    if (s->journal.store && (status || ram_store_due(s->journal.store)))
        record(s);
    if (status)
        return status;
    const unsigned needed = s->module < outline->n_modules
                                ? outline->tensors[outline->modules[s->module].tensor].file
                                : (unsigned)outline->n_files;
    while (!status && *n_closed < needed)
        status = ram_sink_close(&s->sinks[(*n_closed)++], err);
    return status;
}

/* ---- set-up -------------------------------------------------------------------------------- */

/* Starts as many threads as were asked for, or as the memory has room for. */
static int start(struct stream *s, struct ram_err *err)
{
    const uint64_t max_memory = s->exec.max_memory;
    uint64_t most = 1;
    for (size_t m = 0; m < s->outline->n_modules; m++) {
        const struct ram_out_module *const module = &s->outline->modules[m];
        const uint64_t block = rows_in_block(s, module, (size_t)module->cols) * module->cols;
        most = block > most ? block : most;
    }
    /* Weights as f32, what is written (at most f32), a scale and a bias of f32 for 32 weights, the
     * same again for the pages of the mapping that a block touches, and what the encoder needs. */
    if (most > UINT64_MAX / 64)
        return ram_fail(err, RAM_ENOMEM, "rows of %llu weights", (unsigned long long)most);
    const uint64_t stored = most * 4 + most / 32 * 8;
    const uint64_t need = most * 4 + stored + most * 8 + most * s->encoder->weight_bytes;
    if (need > max_memory)
        return ram_fail(err, RAM_ENOMEM,
                        "max_memory of %llu bytes is too small: one block of rows needs %llu",
                        (unsigned long long)max_memory, (unsigned long long)need);
    const struct ram_exec whole = s->exec;
    const int status = ram_exec_narrow(&s->exec, &whole, max_memory / need, err);
    if (status)
        return status;
    const unsigned n = ram_pool_threads(s->exec.pool);
    s->scratch = ram_calloc(n, sizeof *s->scratch, err);
    for (unsigned k = 0; s->scratch && k < n; k++) {
        struct scratch *scratch = &s->scratch[k];
        scratch->weights = ram_calloc((size_t)most, sizeof *scratch->weights, err);
        scratch->stored = ram_calloc((size_t)stored, 1, err);
        if (!scratch->weights || !scratch->stored)
            return RAM_ENOMEM;
    }
    s->sinks = ram_calloc(s->outline->n_files, sizeof *s->sinks, err);
    return s->scratch && s->sinks ? RAM_OK : RAM_ENOMEM;
}

static void finish(struct stream *s)
{
    for (size_t i = 0; s->sinks && i < s->outline->n_files; i++)
        if (s->sinks[i].path)
            ram_sink_abandon(&s->sinks[i]);
    for (unsigned k = 0; s->scratch && k < ram_pool_threads(s->exec.pool); k++) {
        free(s->scratch[k].weights);
        free(s->scratch[k].stored);
    }
    free(s->scratch);
    free(s->sinks);
    free(s->blocks);
    ram_exec_end(&s->exec);
}

/* Goes to where an earlier run was. Files that it had finished are flushed again: it may have been
 * killed before that. */
static int resume(struct stream *s, unsigned *n_opened, unsigned *n_closed, struct ram_err *err)
{
    const struct ram_outline *outline = s->outline;
    struct ram_block_place place;
    struct ram_buf settings = {0};

    ram_buf_printf(&settings, "encoder %s, ", s->encoder->name);
    if (s->inputs)
        s->inputs->identify(s->inputs->ctx, &settings);
    ram_journal_open(&s->journal, settings.failed ? NULL : s->exec.store, outline,
                     settings.failed ? "" : settings.data);
    ram_buf_release(&settings);
    int status =
        ram_journal_load(&s->journal, outline, s->dir, s->exec.pool, s->results, &place, err);
    for (size_t m = 0; !status && m < place.module; m++)
        for (size_t v = 0; v < outline->modules[m].target->n_views; v++) {
            const struct ram_view *view = &outline->modules[m].target->views[v];
            s->done += source_bytes(view, view->rows);
        }
    s->recorded = place;
    s->module = place.module;
    s->view = place.view;
    s->row = place.row;
    for (size_t v = 0; v < place.view; v++)
        s->module_row += outline->modules[place.module].target->views[v].rows;
    const unsigned needed = place.module < outline->n_modules
                                ? outline->tensors[outline->modules[place.module].tensor].file
                                : (unsigned)outline->n_files;
    while (!status && *n_opened < needed) {
        status = open_file(s, (*n_opened)++, err);
        if (!status)
            status = ram_sink_close(&s->sinks[(*n_closed)++], err);
    }
    return status;
}

int ram_stream(const struct ram_ckpt *ckpt, const struct ram_outline *outline,
               const struct ram_encoding *encoding, const char *dir, const struct ram_exec *exec,
               struct ram_module_result *results, bool *resumable, struct ram_err *err)
{
    struct stream s = {.ckpt = ckpt,
                       .outline = outline,
                       .encoder = encoding->encoder,
                       .inputs = encoding->encoder->wants_inputs ? encoding->inputs : NULL,
                       .dir = dir,
                       .name = encoding->name,
                       .exec = ram_exec_share(exec, exec->max_memory),
                       .results = results};
    unsigned n_opened = 0, n_closed = 0;

    pthread_mutex_init(&s.fold_lock, NULL);
    for (size_t m = 0; m < outline->n_modules; m++)
        for (size_t v = 0; v < outline->modules[m].target->n_views; v++) {
            const struct ram_view *view = &outline->modules[m].target->views[v];
            s.total += source_bytes(view, view->rows);
        }
    int status = start(&s, err);
    if (!status && s.inputs)
        status = s.inputs->open(s.inputs->ctx, err);
    if (!status)
        status = resume(&s, &n_opened, &n_closed, err);
    while (!status && n_closed < outline->n_files)
        status = run_batch(&s, &n_opened, &n_closed, err);
    if (resumable)
        *resumable = s.journal.n_records > 0;
    finish(&s);
    pthread_mutex_destroy(&s.fold_lock);
    return status;
}
