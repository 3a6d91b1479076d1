/* kern_ref_tile.c - the definition of the tile kernels of kern.h, in plain C: row by row. */
#include "kern/kern_ref.h"

#include <math.h>

enum { TILE = RAM_KERN_TILE, MAX_GROUP = 128 };

static float levels_of(const struct ram_affine *form)
{
    return (float)((1 << form->bits) - 1);
}

/* NaN, of a scale that is 0 or a weight that is not finite, gives code 0. */
static float clamp(float code, float levels)
{
    const float up = code > 0 ? code : 0;

    return up < levels ? up : levels;
}

/* As affine_decode has it: rounded twice. */
static float value_of(float scale, float q, float bias)
{
    const float product = scale * q;

    return product + bias;
}

static float error_at(const struct ram_kern_tile *t, size_t at)
{
    return value_of(t->scale[at % TILE], t->q[at], t->bias[at % TILE]) - t->w[at];
}

void ram_kern_ref_tile_error(const struct ram_kern_tile *t, float *e)
{
    for (size_t at = 0; at < t->n * TILE; at++)
        e[at] = error_at(t, at);
}

void ram_kern_ref_tile_correct(size_t n, const float *w, const float *s, const float *u,
                               float *target)
{
    for (size_t at = 0; at < n * TILE; at++) {
        const size_t k = at / TILE, row = at % TILE;
        target[at] = w[at];
        for (size_t j = 0; j <= k; j++)
            target[at] = fmaf(-s[j * TILE + row], u[j * n + k], target[at]);
    }
}

void ram_kern_ref_tile_product(size_t n, const float *x, const float *h, float *out)
{
    for (size_t at = 0; at < n * TILE; at++) {
        out[at] = 0;
        for (size_t j = 0; j < n; j++)
            out[at] = fmaf(x[j * TILE + at % TILE], h[j * n + at / TILE], out[at]);
    }
}

void ram_kern_ref_tile_code(const struct ram_kern_tile *t, const struct ram_kern_square *u)
{
    const float levels = levels_of(t->form);

    for (size_t row = 0; row < TILE; row++) {
        const float scale = t->scale[row], bias = t->bias[row], step = 1 / scale;
        float target[MAX_GROUP], squares = 0;
        for (size_t j = 0; j < t->n; j++)
            target[j] = t->w[j * TILE + row];
        for (size_t j = 0; j < t->n; j++) {
            const float q = clamp(rintf((target[j] - bias) * step), levels);
            const float y = (value_of(scale, q, bias) - target[j]) * u->inverse[j];
            t->q[j * TILE + row] = q;
            squares = fmaf(y, y, squares);
            for (size_t k = j + 1; k < t->n; k++)
                target[k] = fmaf(y, u->x[j * t->n + k], target[k]);
        }
        t->error[row] += (double)squares;
    }
}

/* ---- sweeps ----------------------------------------------------------------------------- */

static float seen(enum ram_scale_type type, double x)
{
    uint8_t stored[4];

    return ram_kern_ref_put_scale(type, (float)x, stored);
}

/* The bias is computed for the scale as it is stored, so that it compensates for the rounding of
 * the scale. Without a clear minimum (det), or if the error would not fall, nothing changes. */
double ram_kern_ref_refit(enum ram_scale_type type, const struct ram_kern_fit *f, double c,
                          float *scale, float *bias, float *ds, float *db)
{
    const double det = f->a * c - f->b * f->b;

    *ds = *db = 0;
    if (!(det > 1e-9 * f->a * c))
        return 0;
    const float new_scale = seen(type, (double)*scale + (f->r * f->b - f->p * c) / det);
    const double s = (double)new_scale - (double)*scale;
    const float new_bias = seen(type, (double)*bias - (f->r + f->b * s) / c);
    const double b = (double)new_bias - (double)*bias;
    const double change = 2 * (s * f->p + b * f->r) + s * s * f->a + 2 * s * b * f->b + b * b * c;
    if (!(change < 0) || !isfinite(new_scale) || !isfinite(new_bias) || new_scale == 0)
        return 0;
    *scale = new_scale;
    *bias = new_bias;
    *ds = (float)s;
    *db = (float)b;
    return change;
}

/* Improves scales and biases, and updates g accordingly. */
static void refit(const struct ram_kern_tile *t, const struct ram_kern_square *h, float *g)
{
    float hq[MAX_GROUP * TILE];

    ram_kern_ref_tile_product(t->n, t->q, h->x, hq);
    for (size_t row = 0; row < TILE; row++) {
        struct ram_kern_fit fit = {0};
        float ds, db;
        for (size_t j = 0; j < t->n; j++) {
            const size_t at = j * TILE + row;
            const double q = (double)t->q[at];
            fit.a = fma((double)hq[at], q, fit.a);
            fit.b = fma((double)h->sums[j], q, fit.b);
            fit.p = fma((double)g[at], q, fit.p);
            fit.r += (double)g[at];
        }
        t->error[row] += ram_kern_ref_refit(t->form->scale_type, &fit, h->total, &t->scale[row],
                                            &t->bias[row], &ds, &db);
        for (size_t j = 0; j < t->n; j++) {
            const size_t at = j * TILE + row;
            g[at] = fmaf(db, h->sums[j], fmaf(ds, hq[at], g[at]));
        }
    }
}

/* Sets each code of a row to its best value while all others are fixed (coordinate descent). */
static void descend(const struct ram_kern_tile *t, const struct ram_kern_square *h, size_t row,
                    float *g)
{
    const float levels = levels_of(t->form), scale = t->scale[row];
    const float step = scale == 0 ? 0 : 1 / scale;
    float change = 0;

    for (size_t j = 0; j < t->n; j++) {
        const float *const line = h->x + j * t->n;
        const float pull = g[j * TILE + row] * h->inverse[j];
        float *const q = &t->q[j * TILE + row];
        const float code = clamp(rintf(fmaf(-pull, step, *q)), levels);
        const float d = scale * (code - *q);
        change = fmaf(d, fmaf(d, line[j], 2 * g[j * TILE + row]), change);
        for (size_t k = j + 1; k < t->n; k++)
            g[k * TILE + row] = fmaf(d, line[k], g[k * TILE + row]);
        *q = code;
    }
    t->error[row] += (double)change;
}

void ram_kern_ref_tile_sweep(const struct ram_kern_tile *t, const struct ram_kern_square *h,
                             float *g)
{
    refit(t, h, g);
    for (size_t row = 0; row < TILE; row++)
        descend(t, h, row, g);
}
