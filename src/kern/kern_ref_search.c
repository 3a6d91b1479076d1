/* kern_ref_search.c - what ram_kern.affine_search means, in plain C: see search_grid.h. */
#include "kern/kern_ref.h"
#include "kern/search_grid.h"

#include <math.h>
#include <string.h>

enum { LANES = RAM_SEARCH_LANES, D_LANES = 8, MAX_GROUP = 128 };

struct trial {
    float scale, bias;  /* as a reader will see them */
    float score;        /* sum of h e^2 */
    float e, eq, q, qq; /* sums of h e, h e q, h q, h q^2 */
};

struct group {
    const struct ram_affine *form;
    const float *w, *h; /* [form->group] */
    float levels;
    float total, mean; /* sums of h; of w / n */
    float lo, hi;
    float mlx_scale, mlx_bias; /* as stored */
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

/* NaN, of a scale that is 0 or not finite, gives code 0 and then a score that is never better. */
static float code_of(const struct group *g, float w, float scale, float bias)
{
    const float inverse = 1 / scale;
    const float q = rintf(fmaf(w, inverse, 0 - bias * inverse));
    const float up = q > 0 ? q : 0;

    return up < g->levels ? up : g->levels;
}

static struct trial trial_of(const struct group *g, float scale, float bias)
{
    struct trial t = {scale, bias, 0, 0, 0, 0, 0};

    for (int i = 0; i < g->form->group; i++) {
        const float q = code_of(g, g->w[i], scale, bias);
        const float e = fmaf(scale, q, bias - g->w[i]);
        const float he = g->h[i] * e, hq = g->h[i] * q;
        t.score = fmaf(he, e, t.score);
        t.e += he;
        t.eq = fmaf(he, q, t.eq);
        t.q += hq;
        t.qq = fmaf(hq, q, t.qq);
    }
    return t;
}

static void keep_better(struct trial *best, struct trial t)
{
    if (t.score < best->score)
        *best = t;
}

static void search_rows(const struct group *g, const struct ram_search_grid *grid,
                        struct trial best[LANES])
{
    for (int lane = 0; lane < LANES; lane++) {
        const float high = fmaf(grid->high[lane], g->hi - g->mean, g->mean);
        best[lane] = trial_of(g, g->mlx_scale, g->mlx_bias);
        best[lane].score = INFINITY; /* only if nothing else has one at all */
        for (size_t i = 0; i < grid->n_rows; i++) {
            const float low = fmaf(grid->low[i], g->lo - g->mean, g->mean);
            const float step = (high - low) / g->levels;
            keep_better(&best[lane],
                        trial_of(g, seen(g, i % 2 ? 0 - step : step), seen(g, i % 2 ? high : low)));
        }
        best[lane] = trial_of(g, best[lane].scale, best[lane].bias);
    }
}

/* The least-squares scale and bias for the codes of t. */
static struct trial refit(const struct group *g, const struct trial *t)
{
    const float det = fmaf(-t->q, t->q, g->total * t->qq);
    const float ds = fmaf(-t->q, t->e, g->total * t->eq) / det;
    const float db = fmaf(-t->q, t->eq, t->e * t->qq) / det;

    return trial_of(g, seen(g, t->scale - ds), seen(g, t->bias - db));
}

static struct trial try_near(const struct group *g, struct trial centre)
{
    struct trial best = centre;

    for (int lane = 0; lane < LANES; lane++) {
        const float scale = seen(g, step_by(centre.scale, ram_search_scale_steps[lane]));
        const float moved = fmaf(scale - centre.scale, centre.q, centre.e);
        const float middle = seen(g, centre.bias - moved / g->total);
        const float bias = seen(g, step_by(middle, ram_search_bias_steps[lane]));
        const bool last = lane == LANES - 1;
        keep_better(&best, trial_of(g, last ? g->mlx_scale : scale, last ? g->mlx_bias : bias));
    }
    return best;
}

static double exact_score(const struct group *g, float scale, float bias, const float *q)
{
    double lanes[D_LANES] = {0};

    for (int i = 0; i < g->form->group; i++) {
        const double e = fma((double)scale, (double)q[i], (double)bias) - (double)g->w[i];
        lanes[i % D_LANES] = fma((double)g->h[i] * e, e, lanes[i % D_LANES]);
    }
    return ram_kern_ref_fold_f64(lanes);
}

static struct trial search(const struct group *g, const struct ram_search_grid *grid)
{
    struct trial lanes[LANES], best;

    search_rows(g, grid, lanes);
    for (size_t i = 0; i < grid->n_refits; i++)
        for (int lane = 0; lane < LANES; lane++)
            keep_better(&lanes[lane], refit(g, &lanes[lane]));
    best = lanes[0];
    for (int lane = 1; lane < LANES; lane++)
        keep_better(&best, lanes[lane]);
    for (size_t i = 0; i < grid->n_near; i++)
        best = try_near(g, best);
    return best;
}

static void sum_group(struct group *g)
{
    float total[LANES] = {0}, sum[LANES] = {0};

    g->lo = g->hi = g->w[0];
    for (int i = 0; i < g->form->group; i++) {
        total[i % LANES] += g->h[i];
        sum[i % LANES] += g->w[i];
        g->lo = g->w[i] < g->lo ? g->w[i] : g->lo;
        g->hi = g->w[i] > g->hi ? g->w[i] : g->hi;
    }
    g->total = ram_kern_ref_fold(total);
    g->mean = ram_kern_ref_fold(sum) / (float)g->form->group;
}

/* mlx_q: the codes of MLX's own encoding, replaced with those of *scale and *bias. */
static void search_group(struct group *g, const struct ram_search_grid *grid, float *scale,
                         float *bias, float mlx_q[MAX_GROUP])
{
    float q[MAX_GROUP];

    sum_group(g);
    const struct trial best = search(g, grid);
    for (int i = 0; i < g->form->group; i++)
        q[i] = code_of(g, g->w[i], best.scale, best.bias);
    *scale = g->mlx_scale;
    *bias = g->mlx_bias;
    if (exact_score(g, best.scale, best.bias, q) <
        exact_score(g, g->mlx_scale, g->mlx_bias, mlx_q)) {
        *scale = best.scale;
        *bias = best.bias;
        memcpy(mlx_q, q, sizeof q);
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

    if (!is_tame(f, w, n))
        return ram_kern_ref.affine_encode(f, w, n, codes, scales, biases);
    for (size_t i = 0; i < n; i += group) {
        struct group g = {.form = f, .w = w + i, .h = importance + i};
        uint8_t *const s = scales + i / group * size, *const b = biases + i / group * size;
        float scale, bias, q[MAX_GROUP];
        g.levels = (float)((1 << f->bits) - 1);
        ram_kern_ref_fit_group(f, w + i, &scale, &bias);
        g.mlx_scale = ram_kern_ref_put_scale(f->scale_type, scale, s);
        g.mlx_bias = ram_kern_ref_put_scale(f->scale_type, bias, b);
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
