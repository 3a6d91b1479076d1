/*
 * verify_values.c - see verify_values.h. Blocks of rows over all threads, folded in their order;
 * memory does not depend on the model.
 */
#include "convert/verify_values.h"

#include "codec/distance.h"
#include "codec/float.h"
#include "convert/rowblock.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

struct block {
    size_t module;
    const struct ram_view *view; /* of the source, or NULL */
    size_t view_row, n;          /* of the view; without one, of the module */
    uint64_t row;                /* of the module */
    bool last;                   /* of its view, or of the module */
    bool bad[RAM_MAX_PLANES];    /* a value of this part is not finite */
    double squared_error, squared, worst;
    uint64_t worst_row, worst_col;
    struct ram_checksum sums[RAM_MAX_PLANES];
};

struct scratch {
    float *ours, *theirs;
};

struct compare {
    struct ram_found_list *list;
    const struct ram_ckpt *ckpt, *source;
    struct ram_exec exec; /* of the caller, with fewer threads if memory asks for it */
    struct ram_findings *findings;
    struct scratch *scratch;
    struct block *blocks;
    size_t n_blocks, cap_blocks;
    uint64_t total;
    atomic_uint_least64_t done;
};

/* ---- one block --------------------------------------------------------------------------------
 */

static enum ram_float float_type(enum ram_dtype dtype)
{
    return dtype == RAM_F16 ? RAM_FLOAT_F16 : dtype == RAM_BF16 ? RAM_FLOAT_BF16 : RAM_FLOAT_F32;
}

/* Bytes of a row of one part. */
static size_t row_size(const struct ram_found *found, size_t part)
{
    if (found->quantized)
        return ram_storage_row_size(&found->as, part, (size_t)found->cols);
    return (size_t)found->cols * ((size_t)ram_dtypes[found->parts[0]->dtype].bits / 8);
}

/* The exponents tell without arithmetic: x * 0 is NaN for what is not finite. */
static bool all_finite(const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * 0.0F;
    return sum == 0.0F;
}

/* What a reader sees in a block, as f32 to ours; checksums and finiteness of what lies there. */
static void read_ours(const struct ram_found *found, struct block *block, float *ours)
{
    const uint8_t *data[RAM_MAX_PLANES] = {NULL};
    const size_t cols = (size_t)found->cols;

    for (size_t k = 0; k < ram_found_parts(found); k++) {
        const uint64_t at = block->row * row_size(found, k);
        data[k] = found->parts[k]->data + at;
        ram_checksum_add(&block->sums[k], at, data[k], block->n * row_size(found, k));
    }
    if (!found->quantized) {
        ram_float_widen(float_type(found->parts[0]->dtype), data[0], block->n * cols, ours);
        block->bad[0] = !all_finite(ours, block->n * cols);
        return;
    }
    for (size_t k = 0; k < ram_found_parts(found); k++) {
        const struct ram_tensor *part = found->parts[k];
        const size_t n = block->n * (size_t)part->shape[part->n_dims - 1];
        if (!ram_dtypes[part->dtype].is_weight)
            continue;
        ram_float_widen(float_type(part->dtype), data[k], n, ours);
        block->bad[k] = !all_finite(ours, n);
    }
    ram_storage_decode(&found->as, data, block->n, cols, ours);
}

/* Groups in order, each summed from left to right in f64. */
static void measure(const struct ram_found *found, struct block *block, const float *ours,
                    const float *theirs)
{
    const size_t cols = (size_t)found->cols;
    const size_t group = found->quantized ? (size_t)found->as.form->group : cols;

    for (size_t row = 0; row < block->n; row++, ours += cols, theirs += cols) {
        for (size_t col = 0; col < cols; col += group) {
            const double sum = ram_squared_distance(ours + col, theirs + col, group);
            block->squared_error += sum;
            if (sum > block->worst) {
                block->worst = sum;
                block->worst_row = block->row + row;
                block->worst_col = col;
            }
        }
    }
}

static void forget(const struct compare *c, const struct ram_found *found,
                   const struct block *block)
{
    /* Pages that two blocks share go with the last of them, all of the view's at once. */
    const size_t before = block->last ? block->view_row : 0;

    for (size_t k = 0; k < ram_found_parts(found); k++) {
        const struct ram_view whole = ram_view_whole(found->parts[k]);
        ram_view_forget(c->ckpt, &whole, (size_t)block->row - before, block->n + before);
    }
    if (!block->view)
        return;
    if (block->last)
        ram_view_forget(c->source, block->view, 0, block->view->rows);
    else if (ram_view_contiguous(block->view))
        ram_view_forget(c->source, block->view, block->view_row, block->n);
}

static uint64_t view_bytes(const struct ram_view *view, size_t n_rows)
{
    return (uint64_t)n_rows * view->cols * ((uint64_t)ram_dtypes[view->tensor->dtype].bits / 8);
}

static uint64_t block_bytes(const struct ram_found *found, const struct block *block)
{
    uint64_t bytes = 0;
    for (size_t k = 0; k < ram_found_parts(found); k++)
        bytes += block->n * row_size(found, k);
    return block->view ? bytes + view_bytes(block->view, block->n) : bytes;
}

static int do_block(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct compare *c = ctx;
    struct block *block = &c->blocks[i];
    const struct ram_found *found = &c->list->items[block->module];
    const struct scratch *scratch = &c->scratch[worker];

    read_ours(found, block, scratch->ours);
    if (block->view) {
        const int status =
            ram_rows_read(block->view, block->view_row, block->n, found->expected->target->dtype,
                          scratch->theirs, &block->squared, err);
        if (status)
            return status;
        measure(found, block, scratch->ours, scratch->theirs);
    }
    forget(c, found, block);
    atomic_fetch_add(&c->done, block_bytes(found, block));
    if (worker)
        return RAM_OK;
    const struct ram_progress now = {
        .stage = "verify", .item = found->module, .done = atomic_load(&c->done), .total = c->total};
    return ram_exec_report(&c->exec, &now, err);
}

/* ---- batches ----------------------------------------------------------------------------------
 */

/* n_rows rows of a module, from `row` on, which are those of view if there is one. */
static int cut(struct compare *c, size_t m, const struct ram_view *view, uint64_t row,
               size_t n_rows, struct ram_err *err)
{
    const size_t step = ram_rows_in_block((size_t)c->list->items[m].cols);

    for (size_t i = 0; i < n_rows; i += step) {
        const int status =
            ram_grow(&c->blocks, sizeof *c->blocks, c->n_blocks, &c->cap_blocks, err);
        if (status)
            return status;
        const size_t n = n_rows - i < step ? n_rows - i : step;
        c->blocks[c->n_blocks++] = (struct block){.module = m,
                                                  .view = view,
                                                  .view_row = i,
                                                  .n = n,
                                                  .row = row + i,
                                                  .last = i + n == n_rows};
    }
    return RAM_OK;
}

static const struct ram_target *target_of(const struct compare *c, const struct ram_found *found)
{
    return c->source && found->expected ? found->expected->target : NULL;
}

static uint64_t module_bytes(const struct compare *c, size_t m)
{
    const struct ram_found *found = &c->list->items[m];
    const struct ram_target *target = target_of(c, found);
    uint64_t bytes = 0;

    for (size_t k = 0; k < ram_found_parts(found); k++)
        bytes += found->parts[k]->size;
    for (size_t v = 0; target && v < target->n_views; v++)
        bytes += view_bytes(&target->views[v], target->views[v].rows);
    return bytes;
}

static int add_module(struct compare *c, size_t m, struct ram_err *err)
{
    const struct ram_found *found = &c->list->items[m];
    const struct ram_target *target = c->source && found->expected ? found->expected->target : NULL;
    uint64_t row = 0;
    int status = RAM_OK;

    if (!found->cols)
        return RAM_OK;
    if (!target)
        return cut(c, m, NULL, 0, (size_t)found->rows, err);
    for (size_t v = 0; v < target->n_views && !status; v++) {
        status = cut(c, m, &target->views[v], row, target->views[v].rows, err);
        row += target->views[v].rows;
    }
    return status;
}

static void fold(struct compare *c)
{
    for (size_t i = 0; i < c->n_blocks; i++) {
        const struct block *block = &c->blocks[i];
        struct ram_found *found = &c->list->items[block->module];
        found->squared_error += block->squared_error;
        found->squared += block->squared;
        if (block->worst > found->worst) {
            found->worst = block->worst;
            found->worst_row = block->worst_row;
            found->worst_col = block->worst_col;
        }
        for (size_t k = 0; k < ram_found_parts(found); k++) {
            ram_checksum_merge(&found->sums[k], &block->sums[k]);
            if (block->bad[k])
                ram_findings_add(c->findings, RAM_CHECK_VALUES, found->module,
                                 "%s: a value in rows %llu to %llu is not finite",
                                 found->as.form->codec->planes[k], (unsigned long long)block->row,
                                 (unsigned long long)(block->row + block->n - 1));
        }
    }
}

static int start(struct compare *c, struct ram_err *err)
{
    const uint64_t max_memory = c->exec.max_memory;
    const struct ram_exec whole = c->exec;
    uint64_t most = 1;
    for (size_t m = 0; m < c->list->n; m++) {
        const uint64_t cols = c->list->items[m].cols;
        const uint64_t block = ram_rows_in_block((size_t)cols) * cols;
        most = block > most ? block : most;
    }
    /* Two blocks of f32, and the pages of the mappings that they come from. */
    const uint64_t need = most < UINT64_MAX / 24 ? most * 24 : UINT64_MAX;
    if (need > max_memory)
        return ram_fail(err, RAM_ENOMEM,
                        "max_memory of %llu bytes is too small: one block of rows needs %llu",
                        (unsigned long long)max_memory, (unsigned long long)need);
    const int status = ram_exec_narrow(&c->exec, &whole, max_memory / need, err);
    if (status)
        return status;
    const unsigned n = ram_pool_threads(c->exec.pool);
    c->scratch = ram_calloc(n, sizeof *c->scratch, err);
    for (unsigned k = 0; c->scratch && k < n; k++) {
        c->scratch[k].ours = ram_calloc((size_t)most, sizeof(float), err);
        c->scratch[k].theirs = ram_calloc((size_t)most, sizeof(float), err);
        if (!c->scratch[k].ours || !c->scratch[k].theirs)
            return RAM_ENOMEM;
    }
    return c->scratch ? RAM_OK : RAM_ENOMEM;
}

static void finish(struct compare *c)
{
    for (unsigned k = 0; c->scratch && k < ram_pool_threads(c->exec.pool); k++) {
        free(c->scratch[k].ours);
        free(c->scratch[k].theirs);
    }
    free(c->scratch);
    free(c->blocks);
    ram_exec_end(&c->exec);
}

int ram_compare(struct ram_found_list *list, const struct ram_ckpt *ckpt,
                const struct ram_ckpt *source, const struct ram_exec *exec,
                struct ram_findings *findings, struct ram_err *err)
{
    struct compare c = {.list = list,
                        .ckpt = ckpt,
                        .source = source,
                        .exec = ram_exec_share(exec, exec->max_memory),
                        .findings = findings};
    size_t m = 0;

    for (size_t i = 0; i < list->n; i++)
        c.total += module_bytes(&c, i);
    int status = start(&c, err);
    while (!status && m < list->n) {
        c.n_blocks = 0;
        while (!status && m < list->n && c.n_blocks < RAM_BATCH_BLOCKS)
            status = add_module(&c, m++, err);
        if (!status)
            status = ram_pool_for(c.exec.pool, c.n_blocks, do_block, &c, err);
        if (!status)
            fold(&c);
    }
    finish(&c);
    if (!status)
        ram_findings_note(findings, RAM_CHECK_VALUES, true, "every scale, bias and float");
    return status;
}
