/* measure.c - see measure.h. */
#include "analyze/measure.h"

#include "analyze/moment.h"
#include "analyze/noise.h"
#include "analyze/recon.h"
#include "analyze/spectrum.h"
#include "codec/distance.h"
#include "codec/float.h"
#include "record/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Weights of a row block: in f32 half of a typical second-level cache. */
enum { BLOCK = 1 << 17 };

/* What one row block leaves behind. */
struct part {
    struct ram_moments moments;
    double recon, noise[2];
    double errors[RAM_N_FORMS];
};

/* One walk over a view, block by block. */
struct walk {
    const struct ram_measure *job;
    struct ram_view view;
    /* What to compute of every block. */
    bool moments, recon, errors;
    const struct ram_noise *noise; /* or NULL */
    size_t step, n_blocks;
    struct part *parts;
    float *buffers; /* of every worker */
    size_t buffer_size;
};

static size_t rows_of_block(size_t cols)
{
    const size_t rows = cols ? BLOCK / cols : BLOCK;
    return rows ? rows : 1;
}

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static unsigned columns_of(const struct ram_measure *job)
{
    return job->probes < job->source->view.cols ? job->probes : (unsigned)job->source->view.cols;
}

/* ---- the walk ------------------------------------------------------------------------------ */

/* What the encoder is given: weights in the type that the output has. */
static void cast(const struct ram_source *source, float *w, size_t n)
{
    const enum ram_dtype to = source->stored_dtype;

    if (to != source->tensor->dtype && (to == RAM_BF16 || to == RAM_F16))
        ram_float_round(to == RAM_BF16 ? RAM_FLOAT_BF16 : RAM_FLOAT_F16, w, n);
}

static int walk_block(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct walk *walk = ctx;
    const struct ram_source *source = walk->job->source;
    const size_t row = i * walk->step, cols = walk->view.cols;
    const size_t rows = walk->view.rows - row < walk->step ? walk->view.rows - row : walk->step;
    float *const w = walk->buffers + worker * walk->buffer_size;
    struct part *part = &walk->parts[i];

    *part = (struct part){0};
    int status = ram_view_read(&walk->view, row, rows, w, err);
    if (!status && walk->moments)
        ram_moments_block(w, rows * cols, &part->moments);
    /* What follows is for finite weights only; a block with others ends the run (refuse). */
    const bool go_on = !status && part->moments.n_bad == 0;
    if (go_on && walk->recon)
        part->recon = ram_recon_block(w, rows, cols);
    if (go_on && walk->noise)
        status =
            ram_noise_block(walk->noise, w, row, rows, w + walk->step * cols, part->noise, err);
    if (go_on && walk->errors) {
        enum ram_scale_type scales = RAM_SCALE_BF16;
        ram_dtype_scales(source->stored_dtype, &scales);
        cast(source, w, rows * cols);
        ram_form_errors(scales, w, rows, cols, part->errors);
    }
    if (walk->job->frugal)
        ram_view_forget(walk->job->ckpt, &walk->view, row, rows);
    return status;
}

static void add_errors(double into[RAM_N_FORMS], const double from[RAM_N_FORMS])
{
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        into[i] += from[i];
}

/* Fills walk->parts and folds them into *sum, in order. */
static int run_walk(struct walk *walk, struct part *sum, struct ram_err *err)
{
    walk->step = rows_of_block(walk->view.cols);
    walk->n_blocks = (walk->view.rows + walk->step - 1) / walk->step;
    const int status = ram_pool_for(walk->job->pool, walk->n_blocks, walk_block, walk, err);
    for (size_t i = 0; i < walk->n_blocks && !status; i++) {
        struct part *part = &walk->parts[i];
        ram_moments_merge(&sum->moments, &part->moments);
        sum->recon += part->recon;
        sum->noise[0] += part->noise[0];
        sum->noise[1] += part->noise[1];
        add_errors(sum->errors, part->errors);
    }
    return status;
}

/* ---- workspace ----------------------------------------------------------------------------------
 */

/* Largest block and largest number of blocks of the views of a source. */
static void walk_sizes(const struct ram_measure *job, size_t *buffer, size_t *n_blocks)
{
    const struct ram_source *source = job->source;

    *buffer = *n_blocks = 0;
    for (int i = -1; i < source->n_stored; i++) {
        const struct ram_view *view = i < 0 ? &source->view : &source->stored[i].view;
        const size_t step = rows_of_block(view->cols);
        size_t floats = step * view->cols;
        if (i < 0 && job->probes) {
            const struct ram_noise noise = {.cols = view->cols, .n = columns_of(job)};
            floats += ram_noise_workspace(&noise, step);
        }
        const size_t blocks = (view->rows + step - 1) / step;
        *buffer = floats > *buffer ? floats : *buffer;
        *n_blocks = blocks > *n_blocks ? blocks : *n_blocks;
    }
    *buffer = round_up(*buffer * sizeof(float)) / sizeof(float);
}

size_t ram_measure_workspace(const struct ram_measure *job, bool scored, unsigned threads)
{
    size_t buffer, n_blocks;

    walk_sizes(job, &buffer, &n_blocks);
    const size_t walk = round_up(n_blocks * sizeof(struct part)) +
                        round_up(job->source->view.cols * columns_of(job) * sizeof(float)) +
                        buffer * sizeof(float) * threads;
    const size_t spectrum = scored && !job->no_svd ? ram_spectrum_workspace(&job->source->view) : 0;
    return walk > spectrum ? walk : spectrum;
}

size_t ram_measure_mapped(const struct ram_measure *job, unsigned threads)
{
    const struct ram_view *view = &job->source->view;
    const size_t size = (size_t)ram_dtypes[view->tensor->dtype].bits / 8;
    const size_t all = view->rows * view->cols * size;
    const size_t walk = rows_of_block(view->cols) * view->cols * size * threads;
    const size_t spectrum = job->no_svd ? 0 : ram_spectrum_block(view);
    const size_t block = walk > spectrum ? walk : spectrum;

    return job->frugal && block < all ? block : all;
}

/* Where the buffers of a walk lie in the workspace; returns the place of the probes' columns. */
static float *place(const struct ram_measure *job, struct walk *walk)
{
    size_t n_blocks;
    char *const base = job->workspace;

    walk_sizes(job, &walk->buffer_size, &n_blocks);
    walk->parts = (struct part *)base;
    float *const columns = (float *)(base + round_up(n_blocks * sizeof(struct part)));
    walk->buffers = columns + round_up(job->source->view.cols * columns_of(job) * sizeof(float)) /
                                  sizeof(float);
    return columns;
}

/* Otherwise it is one matrix of a stack. */
static bool is_whole(const struct ram_source *source)
{
    return source->view.rows * source->view.cols == source->tensor->n;
}

/* ---- one matrix ---------------------------------------------------------------------------- */

static int refuse(const struct ram_measure *job, const struct ram_moments *m, struct ram_err *err)
{
    const struct ram_source *source = job->source;
    const struct ram_view *view = &source->view;
    const size_t row = (size_t)m->first_bad / view->cols, col = (size_t)m->first_bad % view->cols;
    struct ram_view one = *view;
    char expert[32] = "";
    float value = 0;

    one.first += row * view->row_stride + col * view->col_stride;
    one.rows = one.cols = 1;
    const int status = ram_view_read(&one, 0, 1, &value, err);
    if (status)
        return status;
    if (source->expert >= 0 && !is_whole(source))
        snprintf(expert, sizeof expert, " (expert %d)", source->expert);
    return ram_fail(err, RAM_EFORMAT,
                    "%s: tensor '%s'%s: weight at row %zu, column %zu is %g; %llu such in it, and "
                    "none can be measured or quantised",
                    job->ckpt->files[source->tensor->file].name, source->tensor->name, expert, row,
                    col, (double)value, (unsigned long long)m->n_bad);
}

/* From which magnitude on a weight has no place in the output. */
static double too_large(const struct ram_source *source, bool scored)
{
    if (source->stored_dtype == RAM_F16 && source->tensor->dtype != RAM_F16)
        return 65520; /* becomes infinite when it is rounded */
    return scored ? RAM_LARGEST_WEIGHT : INFINITY;
}

static bool is_too_large(const struct ram_moments *m, double limit)
{
    return m->n && fmax(fabs((double)m->min), fabs((double)m->max)) >= limit;
}

/* Names the first weight of that magnitude, for which the matrix is read once more. */
static int refuse_large(const struct ram_measure *job, const struct walk *walk, double limit,
                        struct ram_err *err)
{
    const struct ram_source *source = job->source;
    const struct ram_view *view = &source->view;
    size_t row = 0, col = view->cols;
    float *const w = walk->buffers;
    char expert[32] = "";

    for (size_t i = 0; i < view->rows && col == view->cols; i++) {
        const int status = ram_view_read(view, i, 1, w, err);
        if (status)
            return status;
        row = i;
        for (col = 0; col < view->cols && fabs((double)w[col]) < limit;)
            col++;
    }
    if (source->expert >= 0 && !is_whole(source))
        snprintf(expert, sizeof expert, " (expert %d)", source->expert);
    return ram_fail(err, RAM_EFORMAT,
                    "%s: tensor '%s'%s: weight at row %zu, column %zu is %g, and the output, which "
                    "stores %s, has no place for magnitudes from %g on",
                    job->ckpt->files[source->tensor->file].name, source->tensor->name, expert, row,
                    col, (double)w[col], ram_dtypes[source->stored_dtype].name, limit);
}

/* The weights that nothing can be done with. */
static int check_values(const struct ram_measure *job, const struct walk *walk, bool scored,
                        const struct ram_moments *m, struct ram_err *err)
{
    const double limit = too_large(job->source, scored);

    if (m->n_bad)
        return refuse(job, m, err);
    return is_too_large(m, limit) ? refuse_large(job, walk, limit, err) : RAM_OK;
}

static bool same_view(const struct ram_view *a, const struct ram_view *b)
{
    return a->tensor == b->tensor && a->first == b->first && a->rows == b->rows &&
           a->cols == b->cols && a->row_stride == b->row_stride && a->col_stride == b->col_stride;
}

static bool stored_as_scored(const struct ram_source *source)
{
    return source->n_stored == 1 && source->stored[0].blocks == 1 &&
           same_view(&source->view, &source->stored[0].view);
}

/* A form that does not fit the rows counts as the one that the output would fall back to; a matrix
 * that no form fits stays as it is, without an error. */
static void fold_forms(double into[RAM_N_FORMS], bool fits[RAM_N_FORMS],
                       const double sums[RAM_N_FORMS], size_t cols)
{
    for (size_t i = 0; i < RAM_N_FORMS; i++) {
        const struct ram_form *const fit = ram_form_fit(&ram_forms[i], cols);
        if (fit == RAM_FORM_16)
            continue;
        fits[i] = true;
        into[i] += sums[ram_form_index(fit)];
    }
}

/* entry->errors, from the first walk if it saw what is stored. */
static int measure_errors(const struct ram_measure *job, struct walk *walk, const double *seen,
                          struct ram_entry *entry, struct ram_err *err)
{
    const struct ram_source *source = job->source;
    bool fits[RAM_N_FORMS] = {false};
    int status = RAM_OK;

    memset(entry->errors, 0, sizeof entry->errors);
    *walk = (struct walk){.job = job,
                          .errors = true,
                          .parts = walk->parts,
                          .buffers = walk->buffers,
                          .buffer_size = walk->buffer_size};
    for (int i = 0; i < source->n_stored && !status; i++) {
        const struct ram_stored_view *stored = &source->stored[i];
        struct part sum = {0};
        if (seen)
            add_errors(sum.errors, seen);
        for (size_t k = 0; k < stored->blocks && !seen && !status; k++) {
            walk->view = stored->view;
            walk->view.first += k * stored->block_stride;
            status = run_walk(walk, &sum, err);
        }
        fold_forms(entry->errors, fits, sum.errors, stored->view.cols);
    }
    for (size_t i = 0; i < RAM_N_FORMS; i++)
        if (!fits[i])
            entry->errors[i] = NAN;
    return status;
}

/* Releases a matrix's pages, including those that it shares with its neighbours: otherwise each of
 * thousands of experts would leave one behind. */
static void forget(const struct ram_measure *job)
{
    const struct ram_view *view = &job->source->view;
    const struct ram_tensor *t = view->tensor;
    const struct ram_map *map = &job->ckpt->files[t->file].map;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)ram_dtypes[t->dtype].bits / 8;
    size_t first = t->offset, last = t->offset + t->size;

    if (view->rows && view->cols) {
        const size_t end =
            (view->rows - 1) * view->row_stride + (view->cols - 1) * view->col_stride;
        first = t->offset + view->first * size;
        last = first + (end + 1) * size;
    }
    first = first / page * page;
    last = last + page < map->size ? last + page : map->size;
    ram_map_forget(map, first, last - first);
}

static int measure(const struct ram_measure *job, struct ram_entry *entry, struct ram_err *err)
{
    const struct ram_source *source = job->source;
    /* Experts of one tensor share its name. */
    const uint64_t seed =
        job->seed +
        (source->expert >= 0 && !is_whole(source) ? (uint64_t)(source->expert + 1) << 32 : 0);
    struct ram_noise noise = {.seed = seed,
                              .name = source->tensor->name,
                              .cols = source->view.cols,
                              .n = columns_of(job)};
    struct walk walk = {.job = job,
                        .view = source->view,
                        .moments = true,
                        .recon = true,
                        .errors = stored_as_scored(source),
                        .noise = job->probes ? &noise : NULL};
    struct part sum = {0};

    float *const columns = place(job, &walk);
    noise.x = columns;
    if (job->probes)
        ram_noise_columns(&noise, columns);
    const bool seen = walk.errors;
    int status = run_walk(&walk, &sum, err);
    if (!status)
        status = check_values(job, &walk, true, &sum.moments, err);
    if (!status)
        status = measure_errors(job, &walk, seen ? sum.errors : NULL, entry, err);
    if (status)
        return status;
    ram_moments_stats(&sum.moments, &entry->stats);
    entry->metrics.kurtosis = ram_moments_kurtosis(&sum.moments);
    entry->metrics.error = ram_recon_nrmse(sum.recon, &sum.moments);
    entry->metrics.output = job->probes
                                ? ram_noise_output(sum.noise, entry->stats.max - entry->stats.min)
                                : ram_moments_output(&sum.moments);
    const struct ram_spectrum_job spectrum = {.ckpt = job->ckpt,
                                              .view = source->view,
                                              .rms = entry->stats.rms,
                                              .seed = seed,
                                              .name = source->tensor->name,
                                              .frugal = job->frugal,
                                              .pool = job->pool,
                                              .workspace = job->workspace};
    entry->metrics.svd = NAN;
    if (!job->no_svd)
        status = ram_spectrum(&spectrum, &entry->metrics.svd, err);
    entry->measured = !status;
    return status;
}

int ram_measure(const struct ram_measure *job, struct ram_entry *entry, struct ram_err *err)
{
    const int status = measure(job, entry, err);
    forget(job);
    return status;
}

int ram_measure_check(const struct ram_measure *job, struct ram_err *err)
{
    struct walk walk = {.job = job, .view = job->source->view, .moments = true};
    struct part sum = {0};

    place(job, &walk);
    int status = run_walk(&walk, &sum, err);
    if (!status)
        status = check_values(job, &walk, false, &sum.moments, err);
    forget(job);
    return status;
}
