/*
 * The kernels over weights: every variant gives the bits of the reference, the reference agrees
 * with what can be known about it, and the fast quotient is exact where it could fail.
 */
#include "base/rng.h"
#include "kern/kern.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_N = RAM_KERN_MOMENT_BLOCK, SLACK = 64 };

static const struct ram_kern *tables[8];
static size_t n_tables;

/* ---- data ----------------------------------------------------------------------------------- */

static float bf16(float x)
{
    uint16_t h;
    float wide;

    ram_kern_ref.narrow_bf16(&x, 1, &h);
    ram_kern_ref.widen_bf16(&h, 1, &wide);
    return wide;
}

enum kind {
    NORMAL,
    NORMAL_BF16,
    HEAVY,
    NEGATIVE,
    POSITIVE,
    CONSTANT,
    ZEROS,
    HALVES,
    SUBNORMAL,
    OUTLIER,
    LARGE,
    HUGE_SPREAD,
    N_KINDS
};

static const char *const kind_names[] = {"normal",    "normal-bf16", "heavy", "negative",
                                         "positive",  "constant",    "zeros", "halves",
                                         "subnormal", "outlier",     "large", "huge-spread"};

static void fill(enum kind kind, size_t n, float *w)
{
    const struct ram_rng rng = ram_rng_for(7, kind_names[kind]);

    ram_rng_normal(rng, 0, n, w);
    for (size_t i = 0; i < n; i++) {
        const float x = w[i];
        switch (kind) {
        case NORMAL:
        case N_KINDS:
            w[i] = 0.02f * x;
            break;
        case NORMAL_BF16:
            w[i] = bf16(0.02f * x);
            break;
        case HEAVY:
            w[i] = bf16(0.01f * x * x * x);
            break;
        case NEGATIVE:
            w[i] = -fabsf(x) - 1e-3f;
            break;
        case POSITIVE:
            w[i] = bf16(fabsf(x) + 1e-3f);
            break;
        case CONSTANT: /* by stretches, so that groups of both signs occur */
            w[i] = i / 128 % 3 == 0 ? 0.75f : i / 128 % 3 == 1 ? -0.75f : 1e-8f;
            break;
        case ZEROS:
            w[i] = i % 3 ? 0.0f : -0.0f;
            break;
        case HALVES: /* exact ties in codes and in the code of zero */
            w[i] = rintf(4 * x) / 2 + (i % 64 < 32 ? 0 : 0.25f);
            break;
        case SUBNORMAL:
            w[i] = 1e-42f * x;
            break;
        case OUTLIER:
            w[i] = i % 100 == 17 ? 50 * x : 0.01f * x;
            break;
        case LARGE:
            w[i] = 1e17f * x;
            break;
        case HUGE_SPREAD:
            w[i] = i % 200 == 9 ? 1e37f * x : x;
            break;
        }
    }
}

/* ---- widening, narrowing ------------------------------------------------------------------- */

static void widening_agrees(void **state)
{
    enum { N = 65536 };
    uint8_t *const bytes = malloc(2 * N + 1);
    float *const want = malloc(N * sizeof *want), *const got = malloc(N * sizeof *got);
    (void)state;

    assert_true(bytes && want && got);
    for (size_t i = 0; i < N; i++) { /* at an odd address */
        bytes[2 * i + 1] = (uint8_t)i;
        bytes[2 * i + 2] = (uint8_t)(i >> 8);
    }
    for (size_t t = 0; t < n_tables; t++) {
        ram_kern_ref.widen_bf16(bytes + 1, N, want);
        tables[t]->widen_bf16(bytes + 1, N, got);
        assert_memory_equal(got, want, N * sizeof *got);
        ram_kern_ref.widen_f16(bytes + 1, N, want);
        tables[t]->widen_f16(bytes + 1, N, got);
        assert_memory_equal(got, want, N * sizeof *got);
        ram_kern_ref.widen_f8(bytes + 1, N, want);
        tables[t]->widen_f8(bytes + 1, N, got);
        assert_memory_equal(got, want, N * sizeof *got);
        for (size_t n = 0; n < 40; n++) { /* tails, and nothing written behind them */
            memset(got, 0x5a, 41 * sizeof *got);
            tables[t]->widen_f16(bytes + 7, n, got);
            ram_kern_ref.widen_f16(bytes + 7, n, want);
            assert_memory_equal(got, want, n * sizeof *got);
            assert_memory_equal(&got[n], "\x5a\x5a\x5a\x5a", sizeof *got);
            const uint8_t *falling = bytes + 1 + 2 * 0xbf80; /* -1 and below */
            assert_true(tables[t]->largest_bf16(falling, n) ==
                        ram_kern_ref.largest_bf16(falling, n));
        }
        assert_true(tables[t]->largest_bf16(bytes + 1, 0x3f81) == 1);
    }
    free(bytes);
    free(want);
    free(got);
}

/* Values that the formats' definitions give. */
static void widening_is_right(void **state)
{
    static const struct {
        uint16_t half;
        float value;
    } f16[] = {{0x3c00, 1},        {0xc000, -2},         {0x7bff, 65504},
               {0x0001, 0x1p-24f}, {0x03ff, 0x3ffp-24f}, {0x0400, 0x1p-14f},
               {0x8000, -0.0f},    {0x7c00, INFINITY},   {0x3555, 0x1.554p-2f}},
      f8[] = {{0x38, 1},       {0xb8, -1},      {0x7e, 448},   {0x01, 0x1p-9f},
              {0x07, 0x7p-9f}, {0x08, 0x1p-6f}, {0x80, -0.0f}, {0x77, 240}};
    (void)state;

    for (size_t i = 0; i < sizeof f16 / sizeof *f16; i++) {
        float x;
        ram_kern_ref.widen_f16(&f16[i].half, 1, &x);
        assert_memory_equal(&x, &f16[i].value, sizeof x);
    }
    for (size_t i = 0; i < sizeof f8 / sizeof *f8; i++) {
        const uint8_t byte = (uint8_t)f8[i].half;
        float x;
        ram_kern_ref.widen_f8(&byte, 1, &x);
        assert_memory_equal(&x, &f8[i].value, sizeof x);
    }
    for (int byte = 0x7f; byte < 256; byte += 0x80) {
        const uint8_t nan = (uint8_t)byte;
        float x;
        ram_kern_ref.widen_f8(&nan, 1, &x);
        assert_true(isnan(x));
    }
}

/* No neighbour of the result is nearer, and of two as near the even one is taken. */
static void check_nearest(float x, uint16_t half,
                          void (*widen)(const void *in, size_t n, float *out))
{
    float y;

    widen(&half, 1, &y);
    for (int step = -1; step <= 1; step += 2) {
        const uint16_t other = (uint16_t)(half + step);
        float z;
        if ((half & 0x7fff) == 0 && step < 0)
            continue;
        widen(&other, 1, &z);
        if (isnan(z) || isinf(z))
            continue;
        const double near = fabs((double)y - (double)x), far = fabs((double)z - (double)x);
        assert_true(near < far || (near == far && half % 2 == 0));
    }
}

static void narrowing(void **state)
{
    enum { N = 200003 };
    const struct ram_rng rng = ram_rng_for(1, "narrowing");
    float *const in = malloc(N * sizeof *in);
    uint16_t *const want = malloc(N * sizeof *want), *const got = malloc(N * sizeof *got);
    (void)state;

    assert_true(in && want && got);
    for (size_t i = 0; i < N; i++) { /* all exponents; half of them near those of f16; many ties */
        const uint64_t r = ram_rng_u64(rng, i);
        uint32_t u = (uint32_t)r;
        if (i % 2)
            u = (u & 0x807fffff) | (uint32_t)(100 + (r >> 32) % 45) << 23;
        if (i % 3 == 0)
            u &= i % 5 ? 0xfffff000 : 0xffff8000;
        memcpy(&in[i], &u, sizeof u);
    }
    in[0] = NAN;
    in[1] = -NAN;
    in[2] = INFINITY;
    in[3] = 65519.996f;
    in[4] = 65520;
    ram_kern_ref.narrow_bf16(in, N, want);
    assert_int_equal(want[0], 0x7fc0);
    assert_int_equal(want[1], 0x7fc0);
    for (size_t i = 2; i < N; i++)
        if (isfinite(in[i]) && (want[i] & 0x7fff) != 0x7f80)
            check_nearest(in[i], want[i], ram_kern_ref.widen_bf16);
    for (size_t t = 0; t < n_tables; t++) {
        tables[t]->narrow_bf16(in, N, got);
        assert_memory_equal(got, want, N * sizeof *got);
    }
    ram_kern_ref.narrow_f16(in, N, want);
    assert_int_equal(want[0], 0x7e00);
    assert_int_equal(want[1], 0x7e00);
    assert_int_equal(want[2], 0x7c00);
    assert_int_equal(want[3], 0x7bff);
    assert_int_equal(want[4], 0x7c00);
    for (size_t i = 5; i < N; i++)
        if (fabsf(in[i]) < 65520)
            check_nearest(in[i], want[i], ram_kern_ref.widen_f16);
    for (size_t t = 0; t < n_tables; t++) {
        tables[t]->narrow_f16(in, N, got);
        assert_memory_equal(got, want, N * sizeof *got);
    }
    free(in);
    free(want);
    free(got);
}

/* ---- MLX affine ---------------------------------------------------------------------------- */

struct encoded {
    uint8_t codes[RAM_KERN_BLOCK + SLACK], scales[RAM_KERN_BLOCK / 8 + SLACK],
        biases[RAM_KERN_BLOCK / 8 + SLACK];
    float sum;
};

static void check_form(const struct ram_kern *kern, const struct ram_affine *f, const float *w,
                       size_t n)
{
    struct encoded *const e = calloc(2, sizeof *e);
    float *const decoded = calloc(2 * RAM_KERN_BLOCK, sizeof *decoded);
    const struct ram_kern *const both[2] = {&ram_kern_ref, kern};

    assert_true(e && decoded);
    for (size_t i = 0; i < 2; i++) {
        e[i].sum =
            both[i]->affine_encode(f, w, n, e[i].codes + 1, e[i].scales + 1, e[i].biases + 1);
        both[i]->affine_decode(f, e[i].codes + 1, e[i].scales + 1, e[i].biases + 1, n,
                               decoded + i * RAM_KERN_BLOCK);
    }
    const bool same = !memcmp(e[0].codes, e[1].codes, sizeof e->codes) &&
                      !memcmp(e[0].scales, e[1].scales, sizeof e->scales) &&
                      !memcmp(e[0].biases, e[1].biases, sizeof e->biases) &&
                      (!memcmp(&e[0].sum, &e[1].sum, sizeof e->sum) || isnan(e[0].sum)) &&
                      !memcmp(decoded, decoded + RAM_KERN_BLOCK, n * sizeof *decoded);
    if (!same)
        fail_msg("%s: %d bits, group %d, profile %d, scales %d, n %zu", kern->name, f->bits,
                 f->group, (int)f->profile, (int)f->scale_type, n);
    free(e);
    free(decoded);
}

static void affine_agrees(void **state)
{
    static const size_t sizes[] = {128, 384, RAM_KERN_BLOCK};
    float w[RAM_KERN_BLOCK];
    (void)state;

    for (int kind = 0; kind < N_KINDS; kind++) {
        fill(kind, RAM_KERN_BLOCK, w);
        for (size_t i = 0; i < 3u * 6 * 3 * 2 * 3 * n_tables; i++) {
            const struct ram_affine f = {
                .bits = ram_kern_bits[i / 3 % 6],
                .group = ram_kern_groups[i / 18 % 3],
                .profile = i / 54 % 2 ? RAM_PROFILE_CPU : RAM_PROFILE_GPU,
                .scale_type = (enum ram_scale_type)(i / 108 % 3),
            };
            check_form(tables[i / 324], &f, w, sizes[i % 3]);
        }
    }
}

/* One pass over the grid is as many passes of the encoder. */
static void errors_are_the_encoders(void **state)
{
    float w[RAM_KERN_BLOCK];
    struct encoded e;
    (void)state;

    for (size_t i = 0; i < N_KINDS * 2u * 3 * n_tables; i++) {
        const struct ram_kern *const kern = tables[i / (N_KINDS * 6)];
        const enum ram_profile profile = i / N_KINDS % 2 ? RAM_PROFILE_CPU : RAM_PROFILE_GPU;
        const enum ram_scale_type type = (enum ram_scale_type)(i / N_KINDS / 2 % 3);
        float sums[6][3];
        fill(i % N_KINDS, RAM_KERN_BLOCK, w);
        memset(sums, 0x5a, sizeof sums);
        kern->affine_errors(profile, type, w, 640, 3, sums);
        for (size_t k = 0; k < 18; k++) {
            const struct ram_affine f = {ram_kern_bits[k / 3], ram_kern_groups[k % 3], profile,
                                         type};
            const float sum = kern->affine_encode(&f, w, 640, e.codes, e.scales, e.biases);
            assert_true(isnan(sum) ? isnan(sums[k / 3][k % 3]) : sum == sums[k / 3][k % 3]);
        }
        float guard[6][3];
        memset(guard, 0x5a, sizeof guard);
        memcpy(sums, guard, sizeof sums);
        kern->affine_errors(profile, type, w, 96, 1, sums); /* only groups of 32 divide 96 */
        for (size_t k = 0; k < 6; k++)
            assert_memory_equal(&sums[k][1], &guard[k][1], 2 * sizeof(float));
    }
}

/* The search: the same bits from every variant, weighted and not. */
static void search_agrees(void **state)
{
    enum { N = 256 };
    float w[RAM_KERN_BLOCK], importance[N], random[N];
    struct encoded want, got;
    (void)state;

    ram_rng_normal(ram_rng_for(8, "importance"), 0, N, random);
    for (size_t i = 0; i < N_KINDS * 18u * 3; i++) {
        const struct ram_affine f = {
            .bits = ram_kern_bits[i / N_KINDS % 6],
            .group = ram_kern_groups[i / N_KINDS / 6 % 3],
            .profile = i % 2 ? RAM_PROFILE_CPU : RAM_PROFILE_GPU,
            .scale_type = (enum ram_scale_type)(i / N_KINDS / 18),
        };
        for (size_t k = 0; k < N; k++)
            importance[k] = random[k] * random[k];
        const float *const h = i % 3 ? importance : NULL;
        const unsigned effort = 1 + i % 4 % 3;
        fill(i % N_KINDS, RAM_KERN_BLOCK, w);
        memset(&want, 0, sizeof want);
        want.sum = ram_kern_ref.affine_search(&f, effort, w, h, N, want.codes + 1, want.scales + 1,
                                              want.biases + 1);
        for (size_t t = 1; t < n_tables; t++) {
            memset(&got, 0, sizeof got);
            got.sum = tables[t]->affine_search(&f, effort, w, h, N, got.codes + 1, got.scales + 1,
                                               got.biases + 1);
            if (isnan(want.sum) && isnan(got.sum))
                got.sum = want.sum;
            if (memcmp(&want, &got, sizeof want))
                fail_msg("%s: %s, %d bits, group %d, scales %d", tables[t]->name,
                         kind_names[i % N_KINDS], f.bits, f.group, (int)f.scale_type);
        }
    }
}

/*
 * kern_lanes.inc claims that its quotient rounds to the integer that IEEE division would give.
 * Only significands s and quotients next to k + 1/2 with s (2k + 1) 2^j within 12 of a multiple of
 * 2^24 could go wrong; they all have s within 12 of a multiple of 2^15. Try every one of those with
 * every k and every dividend nearby.
 */
static void quotient_is_exact(void **state)
{
    long n_wrong = 0;
    (void)state;

    for (uint32_t base = 1u << 23; base <= 1u << 24; base += 1u << 15) {
        for (int near = -12; near <= 12; near++) {
            const uint32_t significand = base + (uint32_t)near;
            if (significand < 1u << 23 || significand >= 1u << 24)
                continue;
            const float s = (float)significand * 0x1p-23f, r = 1 / s;
            for (int k = 0; k < 256; k++) {
                float x = (float)((double)s * (k + 0.5));
                for (int step = 0; step < 3; step++)
                    x = nextafterf(x, 0);
                for (int step = -3; step <= 3; step++, x = nextafterf(x, 1000)) {
                    const float exact = x / s, t = x * r;
                    const float q = fmaf(fmaf(-t, s, x), r, t);
                    n_wrong += rintf(q) != rintf(exact);
                    n_wrong += truncf(q + 0x1.fffffep-2f) != roundf(exact);
                }
            }
        }
    }
    assert_int_equal(n_wrong, 0);
}

/* ---- analysis ------------------------------------------------------------------------------- */

static void recon_agrees(void **state)
{
    float w[RAM_KERN_BLOCK];
    (void)state;

    for (int kind = 0; kind < N_KINDS; kind++) {
        fill(kind, RAM_KERN_BLOCK, w);
        for (size_t n = 1; n <= RAM_KERN_BLOCK; n += n < 300 ? 1 : 181) {
            const float want = ram_kern_ref.recon(w, n);
            for (size_t t = 0; t < n_tables; t++) {
                const float got = tables[t]->recon(w, n);
                if (memcmp(&want, &got, sizeof want) && !(isnan(want) && isnan(got)))
                    fail_msg("%s: %s, n %zu: %a, not %a", tables[t]->name, kind_names[kind], n,
                             (double)got, (double)want);
            }
        }
    }
}

static void moments_agree(void **state)
{
    float *const w = malloc(MAX_N * sizeof *w);
    (void)state;

    assert_non_null(w);
    for (int kind = 0; kind < N_KINDS; kind++) {
        fill(kind, MAX_N, w);
        for (size_t n = 1; n <= MAX_N; n += n < 70 ? 1 : 671) {
            struct ram_kern_moments want, got;
            memset(&want, 0, sizeof want);
            memset(&got, 0, sizeof got);
            ram_kern_ref.moments(w, n, w[0], &want);
            for (size_t t = 0; t < n_tables; t++) {
                tables[t]->moments(w, n, w[0], &got);
                if (memcmp(&want, &got, sizeof want))
                    fail_msg("%s: %s, n %zu", tables[t]->name, kind_names[kind], n);
            }
        }
    }
    free(w);
}

static void scatter_agrees(void **state)
{
    enum { ROWS = 256, LANES = 16, VECTORS = 300 };
    float *const w = malloc(sizeof *w * VECTORS * LANES);
    float want[ROWS * LANES], got[ROWS * LANES];
    uint16_t places[VECTORS * RAM_KERN_PLACES];
    (void)state;

    assert_non_null(w);
    for (size_t i = 0; i < VECTORS * RAM_KERN_PLACES; i++) /* some twice in a row */
        places[i] = (uint16_t)((i * 2654435761u >> 13) % ROWS * LANES + (i % 36 == 12));
    for (int kind = 0; kind < N_KINDS; kind++) {
        fill(kind, VECTORS * LANES, w);
        for (size_t n = 0; n <= VECTORS; n += n < 4 ? 1 : 37) {
            for (size_t i = 0; i < ROWS * LANES; i++)
                want[i] = (float)i - 1000;
            ram_kern_ref.scatter(w, n, places, want);
            for (size_t t = 0; t < n_tables; t++) {
                for (size_t i = 0; i < ROWS * LANES; i++)
                    got[i] = (float)i - 1000;
                tables[t]->scatter(w, n, places, got);
                if (memcmp(want, got, sizeof want))
                    fail_msg("%s: %s, n %zu", tables[t]->name, kind_names[kind], n);
            }
        }
    }
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widening_agrees),   cmocka_unit_test(widening_is_right),
        cmocka_unit_test(narrowing),         cmocka_unit_test(affine_agrees),
        cmocka_unit_test(quotient_is_exact), cmocka_unit_test(errors_are_the_encoders),
        cmocka_unit_test(search_agrees),     cmocka_unit_test(recon_agrees),
        cmocka_unit_test(moments_agree),     cmocka_unit_test(scatter_agrees),
    };

    n_tables = ram_kern_all(tables);
    for (size_t t = 0; t < n_tables; t++)
        print_message("kernels: %s\n", tables[t]->name);
    return cmocka_run_group_tests_name("kern/weights", tests, NULL, NULL);
}
