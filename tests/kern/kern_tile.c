/*
 * The tile kernels: every variant gives the bits of the reference, and the reference does what
 * GPTQ means by them, as f64 and brute force know it.
 */
#include "base/rng.h"
#include "kern/kern.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TILE = RAM_KERN_TILE, MAX_GROUP = 128, N = MAX_GROUP * TILE };

static const struct ram_kern *tables[8];
static size_t n_tables;

/* ---- data ------------------------------------------------------------------------------- */

struct data {
    struct ram_affine form;
    float w[N], s[N], g[N]; /* weights; sums; a gradient */
    float u[MAX_GROUP * MAX_GROUP], u_inverse[MAX_GROUP];
    float h[MAX_GROUP * MAX_GROUP], h_inverse[MAX_GROUP], h_sums[MAX_GROUP];
    double h_total;
    float q[N], e[N], scale[TILE], bias[TILE];
};

struct result {
    float target[N], product[N], q[N], e[N], scale[TILE], bias[TILE];
    double error[TILE];
};

/* H of 3 n tokens with a direction in common, and some U. */
static void fill_squares(size_t n, struct data *d)
{
    static float x[3 * MAX_GROUP * (MAX_GROUP + 1)];

    ram_rng_normal(ram_rng_for(1, "tokens"), 0, 3 * n * (n + 1), x);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = i == j ? 0.05 * (double)n : 0;
            for (size_t t = 0; t < 3 * n; t++) {
                const float *const token = x + t * (n + 1);
                sum +=
                    ((double)token[i] + (double)token[n]) * ((double)token[j] + (double)token[n]);
            }
            d->h[i * n + j] = (float)(sum / (double)(3 * n));
            d->u[i * n + j] = i > j ? 0 : i == j ? 1.5f + 0.1f * x[i] : 0.1f * x[i * n + j];
        }
    d->h_total = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++)
            sum += (double)d->h[i * n + j];
        d->h_sums[i] = (float)sum;
        d->h_total += sum;
        d->h_inverse[i] = 1 / d->h[i * (n + 1)];
        d->u_inverse[i] = 1 / d->u[i * (n + 1)];
    }
}

/* Rows of ordinary weights; with wild: of a scale of 0, of huge and of tiny ones. */
static void fill(const struct ram_affine *form, bool wild, struct data *d)
{
    const size_t n = (size_t)form->group;
    const float levels = (float)((1 << form->bits) - 1);

    memset(d, 0, sizeof *d);
    d->form = *form;
    fill_squares(n, d);
    ram_rng_normal(ram_rng_for(2, "weights"), 0, N, d->w);
    ram_rng_normal(ram_rng_for(3, "sums"), 0, N, d->s);
    for (size_t row = 0; row < TILE; row++) {
        const float size = !wild ? 1 : row % 4 == 1 ? 1e37f : row % 4 == 2 ? 1e-38f : 1;
        uint16_t stored[2];
        d->scale[row] = wild && row % 4 == 3 ? 0 : size * 4 / levels * (row % 2 ? 1 : -1);
        d->bias[row] = size * (row % 2 ? -2 : 2);
        ram_kern_ref.narrow_bf16(&d->scale[row], 1, &stored[0]);
        ram_kern_ref.narrow_bf16(&d->bias[row], 1, &stored[1]);
        ram_kern_ref.widen_bf16(&stored[0], 1, &d->scale[row]);
        ram_kern_ref.widen_bf16(&stored[1], 1, &d->bias[row]);
        for (size_t j = 0; j < n; j++) {
            const size_t at = j * TILE + row;
            d->w[at] *= size;
            d->s[at] *= size * 0.3f;
            d->q[at] = (float)(ram_rng_u64(ram_rng_for(4, "codes"), at) % (1u << form->bits));
            d->e[at] = d->scale[row] * d->q[at] + d->bias[row] - d->w[at];
        }
    }
    for (size_t k = 0; k < n; k++) /* e H, and what other columns might add */
        for (size_t row = 0; row < TILE; row++) {
            double sum = (double)d->s[k * TILE + row];
            for (size_t j = 0; j < n; j++)
                sum += (double)d->e[j * TILE + row] * (double)d->h[j * n + k];
            d->g[k * TILE + row] = (float)sum;
        }
}

static void run(const struct ram_kern *kern, const struct data *d, bool sweep, struct result *out)
{
    const size_t n = (size_t)d->form.group;
    const struct ram_kern_square u = {d->u, d->u_inverse, NULL, 0};
    const struct ram_kern_square h = {d->h, d->h_inverse, d->h_sums, d->h_total};
    struct ram_kern_tile tile = {.n = n,
                                 .form = &d->form,
                                 .w = out->target,
                                 .q = out->q,
                                 .scale = out->scale,
                                 .bias = out->bias,
                                 .error = out->error};
    float g[N];

    memset(out, 0, sizeof *out);
    memcpy(out->scale, d->scale, sizeof out->scale);
    memcpy(out->bias, d->bias, sizeof out->bias);
    memcpy(out->q, d->q, sizeof out->q);
    for (size_t row = 0; row < TILE; row++)
        out->error[row] = (double)row;
    kern->tile_product(n, d->e, d->h, out->product);
    kern->tile_correct(n, d->w, d->s, d->u, out->target);
    if (sweep) {
        memcpy(g, d->g, sizeof g);
        tile.w = d->w;
        kern->tile_sweep(&tile, &h, g);
    } else {
        kern->tile_code(&tile, &u);
    }
    kern->tile_error(&tile, out->e);
}

static struct ram_affine form_of(size_t i)
{
    return (struct ram_affine){.bits = ram_kern_bits[i % 6],
                               .group = ram_kern_groups[i / 6 % 3],
                               .scale_type = (enum ram_scale_type)(i / 18 % 3)};
}

/* ---- tests ------------------------------------------------------------------------------ */

static void check_floats(const char *what, const float *want, const float *got, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&want[i], &got[i], sizeof *want) && want[i] == want[i] && want[i] != got[i])
            fail_msg("%s: %a at %zu, expected %a", what, (double)got[i], i, (double)want[i]);
}

static void variants_give_the_same_bits(void **state)
{
    struct data *d = malloc(sizeof *d);
    struct result *want = malloc(2 * sizeof *want), *const got = want + 1;
    (void)state;

    assert_true(d && want);
    for (size_t i = 0; i < 54u * 4; i++) {
        const struct ram_affine form = form_of(i);
        fill(&form, i / 54 % 2, d);
        run(&ram_kern_ref, d, i / 108, want);
        for (size_t t = 0; t < n_tables; t++) {
            run(tables[t], d, i / 108, got);
            check_floats(tables[t]->name, want->target, got->target, N);
            check_floats(tables[t]->name, want->product, got->product, N);
            check_floats(tables[t]->name, want->q, got->q, N);
            check_floats(tables[t]->name, want->e, got->e, N);
            check_floats(tables[t]->name, want->scale, got->scale, TILE);
            check_floats(tables[t]->name, want->bias, got->bias, TILE);
            for (size_t row = 0; row < TILE; row++)
                assert_true(want->error[row] == got->error[row] || isnan(want->error[row]));
        }
    }
    free(d);
    free(want);
}

/* Targets solve (target - w) = -s U; every code is the nearest to what is left of its target, and
 * the error is what the remainders say. */
static void coding_is_gptq(void **state)
{
    struct data *d = malloc(sizeof *d);
    struct result *r = malloc(sizeof *r);
    (void)state;

    assert_true(d && r);
    for (size_t i = 0; i < 18; i++) {
        const struct ram_affine form = form_of(i);
        const size_t n = (size_t)form.group;
        fill(&form, false, d);
        run(&ram_kern_ref, d, false, r);
        for (size_t row = 0; row < TILE; row++) {
            double y[MAX_GROUP], error = (double)row;
            for (size_t k = 0; k < n; k++) {
                double target = (double)d->w[k * TILE + row];
                for (size_t j = 0; j <= k; j++) {
                    target -= (double)d->s[j * TILE + row] * (double)d->u[j * n + k];
                    target += j < k ? y[j] * (double)d->u[j * n + k] : 0;
                }
                const double scale = (double)d->scale[row], bias = (double)d->bias[row];
                const double code = (double)r->q[k * TILE + row];
                const double best = fmin(fmax((target - bias) / scale, 0), (1 << form.bits) - 1);
                assert_true(fabs(code - best) < 0.501);
                y[k] = (scale * code + bias - target) / (double)d->u[k * (n + 1)];
                error += y[k] * y[k];
                assert_true(fabs(scale * code + bias - (double)r->target[k * TILE + row] -
                                 (double)r->e[k * TILE + row]) < 1e-5);
            }
            assert_true(fabs(error - r->error[row]) < 1e-3 * error);
        }
    }
    free(d);
    free(r);
}

/* e H e^T of one row, whose gradient beside its own part is s. */
static double error_of(const struct data *d, size_t row, const float *e)
{
    const size_t n = (size_t)d->form.group;
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const double ei = (double)e[i * TILE + row];
        sum += 2 * ei * (double)d->s[i * TILE + row];
        for (size_t j = 0; j < n; j++)
            sum += ei * (double)e[j * TILE + row] * (double)d->h[i * n + j];
    }
    return sum;
}

/* The error falls by what the kernel says, and no single code could lower it further at the moment
 * it was chosen: the last column's is the best of all codes. */
static void a_sweep_descends(void **state)
{
    struct data *d = malloc(sizeof *d);
    struct result *r = malloc(sizeof *r);
    (void)state;

    assert_true(d && r);
    for (size_t i = 0; i < 54; i++) {
        const struct ram_affine form = form_of(i);
        const size_t last = ((size_t)form.group - 1) * TILE;
        fill(&form, false, d);
        run(&ram_kern_ref, d, true, r);
        for (size_t row = 0; row < TILE; row++) {
            const double before = error_of(d, row, d->e), after = error_of(d, row, r->e);
            assert_true(after < before);
            assert_true(fabs(after - before - (r->error[row] - (double)row)) < 1e-4 * before);
            for (int code = 0; code < 1 << form.bits; code++) {
                const float e = r->e[last + row];
                r->e[last + row] = r->scale[row] * (float)code + r->bias[row] - d->w[last + row];
                assert_true(error_of(d, row, r->e) >= after - 1e-5 * fabs(after));
                r->e[last + row] = e;
            }
        }
    }
    free(d);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_give_the_same_bits),
        cmocka_unit_test(coding_is_gptq),
        cmocka_unit_test(a_sweep_descends),
    };

    n_tables = ram_kern_all(tables);
    return cmocka_run_group_tests_name("kern/tile", tests, NULL, NULL);
}
