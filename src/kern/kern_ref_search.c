/* kern_ref_search.c - the definition of ram_kern.affine_search, in plain C: see search_grid.h. */
#include "kern/kern_ref.h"
#include "kern/search_grid.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { LANES = RAM_SEARCH_LANES, D_LANES = 8, MAX_GROUP = 128 };

struct group {
    const struct ram_affine *form;
    const float *w, *h; /* [form->group] */
    float levels;
    float total, mean; /* sums of h; of w / n */
    float lo, hi;
    float rtn_scale, rtn_bias; /* as stored */
    float most;                /* of h */
    int16_t fine[MAX_GROUP];   /* (w - middle of the range) / range, 2^16 - 2 for the range */
    int16_t root[MAX_GROUP];   /* of h, 2^15 - 1 for the largest */
};

struct pair {
    float scale, bias; /* as a reader will see them */
    float score;       /* sum of h e^2; never NaN */
};

/* The error of a weight is counted in steps: code - (w - bias) / scale. */
struct sums {
    float d, dq, q, qq; /* of h error, h error code, h code, h code^2 */
};

static float step_by(float x, int32_t steps)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits += (uint32_t)steps;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float seen(const struct group *g, float x)
{
    uint8_t stored[4];

    return ram_kern_ref_put_scale(g->form->scale_type, x, stored);
}

static float weight_of(const struct group *g, int i)
{
    return g->h ? g->h[i] : 1;
}

static float steps_of(float w, float scale, float bias)
{
    const float inverse = 1 / scale;

    return fmaf(w, inverse, 0 - bias * inverse);
}

/* NaN, of a scale that is 0 or not finite, gives code 0. */
static float code_of(const struct group *g, float t)
{
    const float q = rintf(t), up = q > 0 ? q : 0;

    return up < g->levels ? up : g->levels;
}

static void keep_better(struct pair *best, struct pair p)
{
    if (p.score < best->score)
        *best = p;
}

/* ---- the grid, in integers --------------------------------------------------------------- */

/* NaN becomes the least. */
static float clamp(float x, float least, float most)
{
    const float up = x > least ? x : least;

    return up < most ? up : most;
}

static int16_t whole(float x)
{
    return (int16_t)rintf(clamp(x, -32767, 32767));
}

static void make_whole(struct group *g)
{
    const float range = g->hi - g->lo, middle = 0.5f * g->lo + 0.5f * g->hi;
    const float unit = range > 0 ? 65534 / range : 0;

    g->most = weight_of(g, 0);
    for (int i = 1; i < g->form->group; i++)
        g->most = weight_of(g, i) > g->most ? weight_of(g, i) : g->most;
    for (int i = 0; i < g->form->group; i++) {
        g->fine[i] = whole((g->w[i] - middle) * unit);
        g->root[i] = whole(clamp(sqrtf(weight_of(g, i) / g->most) * 32767, 0, 32767));
    }
}

/* x y / 2^15, rounded. */
static int32_t multiply(int32_t x, int32_t y)
{
    return (x * y + 0x4000) >> 15;
}

static float whole_score(const struct group *g, const struct ram_search_grid *grid, struct pair p)
{
    const float cells = (float)grid->n_cells / p.scale;
    const float factor = (g->hi - g->lo) * RAM_SEARCH_FACTOR * cells;
    const float offset = (0.5f * g->lo + 0.5f * g->hi - p.bias) * cells;
    uint32_t sum = 0;

    if (!(fabsf(factor) < grid->limit) || !(fabsf(offset) < grid->limit))
        return INFINITY;
    for (int i = 0; i < g->form->group; i++) {
        const int32_t t = multiply(g->fine[i], whole(factor)) + whole(offset);
        const int32_t code = (t + grid->n_cells / 2) & -grid->n_cells, up = code > 0 ? code : 0;
        const int32_t error = (up < grid->top ? up : grid->top) - t;
        const int32_t d = g->h ? multiply(error, g->root[i]) : error;
        sum += (uint32_t)(d * d);
    }
    const float cell = p.scale * (1 / (float)grid->n_cells);
    return cell * cell * (float)(int32_t)sum * g->most;
}

/* A lower bound of the error of a row of the grid: that of the weights below its lower end. */
static float loss(const struct group *g, float low)
{
    float sums[2] = {0};

    for (int i = 0; i < g->form->group; i++) {
        const float x = low > g->w[i] ? low - g->w[i] : 0;
        sums[i % 2] = fmaf(weight_of(g, i) * x, x, sums[i % 2]);
    }
    return sums[0] + sums[1];
}

static void search_grid(const struct group *g, const struct ram_search_grid *grid,
                        struct pair best[LANES])
{
    for (int lane = 0; lane < LANES; lane++)
        best[lane] = (struct pair){g->rtn_scale, g->rtn_bias, INFINITY};
    for (size_t i = 0; i < grid->n_rows; i++) {
        const float low = fmaf(grid->low[i], g->lo - g->mean, g->mean);
        float least = INFINITY;
        for (int lane = 0; lane < LANES; lane++)
            least = best[lane].score < least ? best[lane].score : least;
        if (loss(g, low) > RAM_SEARCH_PRUNE_RATIO * least)
            continue;
        for (int lane = 0; lane < LANES; lane++) {
            const float high = fmaf(grid->high[lane], g->hi - g->mean, g->mean);
            const float step = (high - low) / g->levels;
            struct pair p = {seen(g, i % 2 ? step : 0 - step), seen(g, i % 2 ? low : high), 0};
            p.score = whole_score(g, grid, p);
            keep_better(&best[lane], p);
        }
    }
}

/* ---- refinement ------------------------------------------------------------------------- */

static struct pair score(const struct group *g, float scale, float bias)
{
    float sums[2] = {0};

    for (int i = 0; i < g->form->group; i++) {
        const float t = steps_of(g->w[i], scale, bias), d = code_of(g, t) - t;
        sums[i % 2] = fmaf(weight_of(g, i) * d, d, sums[i % 2]);
    }
    return (struct pair){scale, bias, clamp(scale * scale * (sums[0] + sums[1]), 0, INFINITY)};
}

/* Scale and bias that minimise the score of a pair's codes, where they are better. */
static struct pair refit(const struct group *g, struct pair p)
{
    struct sums s = {0};
    float dd = 0;

    for (int i = 0; i < g->form->group; i++) {
        const float t = steps_of(g->w[i], p.scale, p.bias), q = code_of(g, t), d = q - t;
        const float hd = weight_of(g, i) * d, hq = weight_of(g, i) * q;
        dd = fmaf(hd, d, dd);
        s.d += hd;
        s.dq = fmaf(hd, q, s.dq);
        s.q += hq;
        s.qq = fmaf(hq, q, s.qq);
    }
    const float per_det = p.scale / fmaf(-s.q, s.q, g->total * s.qq);
    const float ds = fmaf(-s.q, s.d, g->total * s.dq) * per_det;
    const float db = fmaf(-s.q, s.dq, s.d * s.qq) * per_det;
    p.score = clamp(p.scale * p.scale * dd, 0, INFINITY);
    keep_better(&p, score(g, seen(g, p.scale - ds), seen(g, p.bias - db)));
    return p;
}

static struct sums sum_codes(const struct group *g, struct pair p)
{
    float d[LANES] = {0}, q[LANES] = {0};

    for (int i = 0; i < g->form->group; i++) {
        const float t = steps_of(g->w[i], p.scale, p.bias), code = code_of(g, t);
        d[i % LANES] = fmaf(weight_of(g, i), code - t, d[i % LANES]);
        q[i % LANES] = fmaf(weight_of(g, i), code, q[i % LANES]);
    }
    return (struct sums){.d = ram_kern_ref_fold(d), .q = ram_kern_ref_fold(q)};
}

static struct pair try_near(const struct group *g, struct pair centre)
{
    const struct sums s = sum_codes(g, centre);
    struct pair best = centre;

    for (int lane = 0; lane < LANES; lane++) {
        const float scale = seen(g, step_by(centre.scale, ram_search_scale_steps[lane]));
        const float moved = fmaf(scale - centre.scale, s.q, centre.scale * s.d);
        const float middle = seen(g, centre.bias - moved / g->total);
        const float bias = seen(g, step_by(middle, ram_search_bias_steps[lane]));
        const bool last = lane == LANES - 1;
        keep_better(&best, score(g, last ? g->rtn_scale : scale, last ? g->rtn_bias : bias));
    }
    return best;
}

static struct pair search(const struct group *g, const struct ram_search_grid *grid)
{
    struct pair lanes[LANES], best;

    search_grid(g, grid, lanes);
    best = refit(g, lanes[0]);
    for (int lane = 1; lane < LANES; lane++)
        keep_better(&best, refit(g, lanes[lane]));
    for (size_t i = 0; i < grid->n_near; i++)
        best = try_near(g, best);
    return best;
}

/* ---- a group ---------------------------------------------------------------------------- */

static double exact_score(const struct group *g, float scale, float bias, const float *q)
{
    double lanes[D_LANES] = {0};

    for (int i = 0; i < g->form->group; i++) {
        const double e = fma((double)scale, (double)q[i], (double)bias) - (double)g->w[i];
        lanes[i % D_LANES] = fma((double)weight_of(g, i) * e, e, lanes[i % D_LANES]);
    }
    return ram_kern_ref_fold_f64(lanes);
}

static void sum_group(struct group *g)
{
    float total[LANES] = {0}, sum[LANES] = {0};

    g->lo = g->hi = g->w[0];
    for (int i = 0; i < g->form->group; i++) {
        total[i % LANES] += weight_of(g, i);
        sum[i % LANES] += g->w[i];
        g->lo = g->w[i] < g->lo ? g->w[i] : g->lo;
        g->hi = g->w[i] > g->hi ? g->w[i] : g->hi;
    }
    g->total = ram_kern_ref_fold(total);
    g->mean = ram_kern_ref_fold(sum) / (float)g->form->group;
}

/* rtn_q: the codes of MLX's own encoding, replaced with those of *scale and *bias. */
static void search_group(struct group *g, const struct ram_search_grid *grid, float *scale,
                         float *bias, float rtn_q[MAX_GROUP])
{
    float q[MAX_GROUP];

    sum_group(g);
    make_whole(g);
    const struct pair best = search(g, grid);
    for (int i = 0; i < g->form->group; i++)
        q[i] = code_of(g, steps_of(g->w[i], best.scale, best.bias));
    *scale = g->rtn_scale;
    *bias = g->rtn_bias;
    if (exact_score(g, best.scale, best.bias, q) <
        exact_score(g, g->rtn_scale, g->rtn_bias, rtn_q)) {
        *scale = best.scale;
        *bias = best.bias;
        memcpy(rtn_q, q, sizeof q);
    }
}

static bool is_tame(const struct ram_affine *f, const float *w, size_t n)
{
    bool tame = true;

    for (size_t i = 0; i < n; i += (size_t)f->group) {
        float scale, bias;
        ram_kern_ref_fit_group(f, w + i, &scale, &bias);
        tame = tame && fabsf(scale) < 0x1p60f && fabsf(scale) > 0x1p-60f;
    }
    return tame;
}

float ram_kern_ref_search(const struct ram_affine *f, unsigned effort, const float *w,
                          const float *importance, size_t n, uint8_t *codes, uint8_t *scales,
                          uint8_t *biases)
{
    const struct ram_search_grid grid = ram_search_grid(f->bits, effort);
    const size_t group = (size_t)f->group, size = f->scale_type == RAM_SCALE_F32 ? 4 : 2;
    float lanes[LANES] = {0};

    assert(ram_kern_is_block(f, n) && effort <= 3);
    if (!is_tame(f, w, n))
        return ram_kern_ref.affine_encode(f, w, n, codes, scales, biases);
    for (size_t i = 0; i < n; i += group) {
        struct group g = {.form = f, .w = w + i, .h = importance ? importance + i : NULL};
        uint8_t *const s = scales + i / group * size, *const b = biases + i / group * size;
        float scale, bias, q[MAX_GROUP];
        g.levels = (float)((1 << f->bits) - 1);
        ram_kern_ref_fit_group(f, w + i, &scale, &bias);
        g.rtn_scale = ram_kern_ref_put_scale(f->scale_type, scale, s);
        g.rtn_bias = ram_kern_ref_put_scale(f->scale_type, bias, b);
        for (size_t k = 0; k < group; k++)
            q[k] = ram_kern_ref_code(f, w[i + k], scale, bias);
        search_group(&g, &grid, &scale, &bias, q);
        ram_kern_ref_put_scale(f->scale_type, scale, s);
        ram_kern_ref_put_scale(f->scale_type, bias, b);
        for (size_t k = 0; k < group; k++) {
            const float e = fmaf(scale, q[k], bias - w[i + k]);
            lanes[k % LANES] = fmaf(e, e, lanes[k % LANES]);
        }
        for (size_t k = 0; k < group; k += 8)
            ram_kern_ref_put_codes(f->bits, q + k, codes + (i + k) / 8 * (size_t)f->bits);
    }
    return ram_kern_ref_fold(lanes);
}
