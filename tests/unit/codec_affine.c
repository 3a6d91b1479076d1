/*
 * MLX affine: the worked vectors of docs/formats.md in both profiles, digests of what MLX itself
 * writes (tests/data/affine_mlx_cpu.txt), and what must hold between encoder, decoder and sums.
 */
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "codec/affine.h"
#include "codec/distance.h"
#include "codec/float.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- worked vectors ------------------------------------------------------------------------- */

static float ramp(int i) /* group A of the document */
{
    return (float)(i - 10) / 8;
}

static float mirrored_ramp(int i)
{
    return (float)(10 - i) / 8;
}

static float zero(int i)
{
    (void)i;
    return 0;
}

static float plus(int i)
{
    (void)i;
    return 0.75f;
}

static float minus(int i)
{
    (void)i;
    return -0.75f;
}

static float negative(int i)
{
    return -(1 + (float)i / 32);
}

static float positive(int i)
{
    return 1 + (float)i / 32;
}

static float tiny(int i)
{
    return i % 2 ? -2e-8f : 3e-8f;
}

static float millionths(int i)
{
    return i % 2 ? 1e-6f : -1e-6f;
}

static float alternating(int i)
{
    return i % 2 ? 1 : -1;
}

static float one_hot(int i)
{
    return i == 0;
}

static float lattice_down(int i)
{
    return (float)(i % 16 - 8);
}

static float lattice_up(int i)
{
    return (float)(i % 16 - 7);
}

static float tie_in_scale(int i) /* R */
{
    return (float)(i % 8) - 4.5f;
}

static float ties_in_codes(int i) /* S */
{
    return i == 0 ? 8 : i == 1 ? -7 : (float)(i - 16) / 2;
}

enum { GPU = 1, CPU = 2, BOTH = 3 };

static const struct vector {
    float (*w)(int i);
    int profiles, bits;
    uint32_t scale; /* f32, before it is stored */
    float bias;
    uint32_t words[8];
} vectors[] = {
    {ramp, BOTH, 2, 0xbfa80000, 2.625f, {0xaaaaabff, 0x00055555}},
    {ramp, BOTH, 3, 0xbf066666, 2.625f, {0x6ddb6fff, 0x36dc925b, 0x00124a49}},
    {ramp, BOTH, 4, 0xbe866666, 2.625f, {0xbccddeef, 0x8899aaab, 0x44556677, 0x00112233}},
    {ramp,
     BOTH,
     5,
     0xbe000000,
     2.625f,
     {0x75be77df, 0x3a56d7c6, 0x35cf8465, 0xc74254b6, 0x00443214}},
    {ramp,
     BOTH,
     6,
     0xbd7a0be8,
     2.625f,
     {0x77e7bf7f, 0xbb6fc73d, 0x863967a6, 0x1765b75f, 0xa30e4125, 0x00210620}},
    {ramp,
     BOTH,
     8,
     0xbc7899e5,
     2.625f,
     {0xe7eff7ff, 0xc6ced6de, 0xa5adb5bd, 0x848c949d, 0x636b737c, 0x424a525b, 0x2129313a,
      0x00081019}},
    {zero, BOTH, 4, 0xb3d6bf95, 0, {0}},
    {plus, BOTH, 4, 0xb3d6bf95, 0.75f, {0}},
    {minus, CPU, 4, 0xb3d6bf95, -0.75f, {0}},
    {minus, GPU, 4, 0x3d4ccccd, -0.75f, {0}},
    {negative, CPU, 4, 0x3d866666, -1.96875f, {0xbccddeef, 0x8899aaab, 0x44556677, 0x00112233}},
    {negative, GPU, 4, 0x3e066666, -1.96875f, {0x66667777, 0x44455555, 0x22233334, 0x00011112}},
    {positive, BOTH, 4, 0xbd866666, 1.96875f, {0xbccddeef, 0x8899aaab, 0x44556677, 0x00112233}},
    {mirrored_ramp, BOTH, 4, 0x3e866666, -2.625f, {0xbccddeef, 0x8899aaab, 0x44556677, 0x00112233}},
    {tiny, BOTH, 4, 0xb3d6bf95, 0, {0}},
    {millionths, BOTH, 4, 0xb40637bd, 1e-6f, {0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f}},
    {alternating, BOTH, 4, 0xbe124925, 1, {0x0e0e0e0e, 0x0e0e0e0e, 0x0e0e0e0e, 0x0e0e0e0e}},
    {alternating, CPU, 2, 0xbf000000, 1, {0x33333333, 0x33333333}},
    {one_hot, BOTH, 4, 0xbd888889, 1, {0xfffffff0, 0xffffffff, 0xffffffff, 0xffffffff}},
    {lattice_down, BOTH, 4, 0x3f800000, -8, {0x76543210, 0xfedcba98, 0x76543210, 0xfedcba98}},
    {lattice_up, BOTH, 4, 0xbf800000, 8, {0x89abcdef, 0x01234567, 0x89abcdef, 0x01234567}},
    {tie_in_scale, CPU, 3, 0x3f900000, -4.5f, {0x88d64688, 0x4688d646, 0xd64688d6}},
    {tie_in_scale, GPU, 3, 0x3f666666, -4.5f, {0x88ff4688, 0x4688ff46, 0xff4688ff}},
    {ties_in_codes, CPU, 4, 0xbf800000, 8, {0xcdeeeff0, 0x89aaabcc, 0x45666788, 0x01222344}},
    {ties_in_codes, GPU, 4, 0xbf800000, 8, {0xddeefff0, 0x99aabbcc, 0x55667788, 0x11223344}},
};

static void worked_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * (sizeof vectors / sizeof *vectors); i++) {
        const struct vector *const v = &vectors[i / 2];
        const enum ram_profile profile = i % 2 ? RAM_PROFILE_CPU : RAM_PROFILE_GPU;
        const struct ram_affine f = {v->bits, 32, profile, RAM_SCALE_F32};
        uint32_t words[8] = {0}, scale;
        float w[32], bias;
        if (!(v->profiles & (profile == RAM_PROFILE_CPU ? CPU : GPU)))
            continue;
        for (int k = 0; k < 32; k++)
            w[k] = v->w(k);
        ram_affine_encode(&f, w, 1, 32, (uint8_t *)words, (uint8_t *)&scale, (uint8_t *)&bias);
        if (scale != v->scale || bias != v->bias || memcmp(words, v->words, sizeof words))
            fail_msg("vector %zu, profile %d: scale %08x, bias %g, codes %08x %08x", i / 2,
                     (int)profile, (unsigned)scale, (double)bias, (unsigned)words[0],
                     (unsigned)words[1]);
    }
}

/* The stored scale of group A in bf16, the bytes of a stream, and what a reader makes of them. */
static void stored_forms(void **state)
{
    static const uint16_t scales[] = {0xbfa8, 0xbf06, 0xbe86, 0xbe00, 0xbd7a, 0xbc79};
    static const uint8_t row[] = {0xff, 0x6f, 0xdb, 0x6d, 0x5b, 0x92,
                                  0xdc, 0x36, 0x49, 0x4a, 0x12, 0x00};
    float w[32], decoded[32];
    (void)state;

    for (int i = 0; i < 32; i++)
        w[i] = ramp(i);
    for (size_t b = 0; b < 6; b++) {
        const struct ram_affine f = {ram_kern_bits[b], 32, RAM_PROFILE_GPU, RAM_SCALE_BF16};
        uint8_t codes[32];
        uint16_t scale, bias;
        ram_affine_encode(&f, w, 1, 32, codes, (uint8_t *)&scale, (uint8_t *)&bias);
        assert_int_equal(scale, scales[b]);
        assert_int_equal(bias, 0x4028);
        ram_affine_decode(&f, codes, (uint8_t *)&scale, (uint8_t *)&bias, 1, 32, decoded);
        if (f.bits == 3)
            assert_memory_equal(codes, row, sizeof row);
        if (f.bits == 4) /* -0.26171875 * 15 + 2.625, code 15; code 14 */
            assert_true(decoded[0] == -1.30078125f && decoded[1] == -1.0390625f);
        assert_true(decoded[31] == 2.625f); /* the edge is kept */
    }
}

/* ---- what MLX itself writes ----------------------------------------------------------------- */

enum { ROWS = 64, COLS = 1152 };

/* affine_mlx_cpu.py makes the same numbers. */
static void weights(float *w)
{
    uint64_t x = 1, r[4];

    for (int i = 0; i < ROWS * COLS; i++, w++) {
        const int kind = i / COLS % 8, col = i % COLS;
        float sum = -510;
        for (int k = 0; k < 4; k++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            r[k] = x >> 33;
            sum += (float)(r[k] & 255);
        }
        *w = sum * 0x1p-12f;
        if (kind == 1)
            *w = -fabsf(*w) - 0x1p-8f;
        else if (kind == 2)
            *w = fabsf(*w);
        else if (kind == 3)
            *w = rintf(*w * 32) / 2;
        else if (kind == 4 && col >= 512 && col < 768)
            *w = 0;
        else if (kind == 4 && col >= 256)
            *w = (col - 256) / 128 % 2 ? -0.75f : 0.75f;
        else if (kind == 5 && col % 97 == 0)
            *w *= 64;
        else if (kind == 6)
            *w *= 0x1p-17f;
        else if (kind == 7)
            *w += (float)(r[0] >> 8 & 65535) * 0x1p-28f;
    }
}

/* As a checkpoint of that type would hold them. */
static void round_to(enum ram_scale_type type, const float *w, float *out)
{
    const enum ram_float as = type == RAM_SCALE_BF16  ? RAM_FLOAT_BF16
                              : type == RAM_SCALE_F16 ? RAM_FLOAT_F16
                                                      : RAM_FLOAT_F32;
    void *const stored = malloc(ROWS * COLS * sizeof *out);

    assert_non_null(stored);
    ram_float_narrow(as, w, ROWS * COLS, stored);
    ram_float_widen(as, stored, ROWS * COLS, out);
    free(stored);
}

static void digest(const struct ram_affine *f, const float *w, char hex[RAM_SHA256_HEX])
{
    const size_t n_codes = ROWS * ram_affine_code_size(f, COLS);
    const size_t n_scales = ROWS * ram_affine_scale_size(f, COLS);
    uint8_t *const out = malloc(n_codes + 2 * n_scales);

    assert_non_null(out);
    ram_affine_encode(f, w, ROWS, COLS, out, out + n_codes, out + n_codes + n_scales);
    ram_sha256(out, n_codes + 2 * n_scales, hex);
    free(out);
}

static void as_mlx_writes(void **state)
{
    static const char *const types[] = {"bf16", "f16", "f32"};
    const char *const source = getenv("RAM_SOURCE");
    float *const w = malloc(ROWS * COLS * sizeof *w), *const x = malloc(ROWS * COLS * sizeof *x);
    struct ram_err err = {0};
    char path[1024], *text, *line;
    size_t size, n_lines = 0;
    (void)state;

    assert_true(w && x);
    snprintf(path, sizeof path, "%s/tests/data/affine_mlx_cpu.txt", source ? source : ".");
    if (ram_file_read(path, 1 << 20, &text, &size, &err))
        fail_msg("%s", err.message);
    weights(w);
    for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        struct ram_affine f = {.profile = RAM_PROFILE_CPU};
        char type[8], want[RAM_SHA256_HEX], got[RAM_SHA256_HEX];
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%7s %d %d %64s", type, &f.bits, &f.group, want), 4);
        while (strcmp(type, types[f.scale_type]))
            f.scale_type++;
        round_to(f.scale_type, w, x);
        digest(&f, x, got);
        if (strcmp(got, want))
            fail_msg("%s, %d bits, group %d: not what MLX writes", type, f.bits, f.group);
        n_lines++;
    }
    assert_int_equal(n_lines, 3 * 6 * 3);
    free(text);
    free(w);
    free(x);
}

/* ---- between encoder, decoder and sums ------------------------------------------------------- */

/* Rows longer than a block, cut anywhere: the decoder gives what the sum was measured on, and the
 * one pass over all forms the encoder's sum to the bit. */
static void sums_agree(void **state)
{
    enum { N = 3, MAX = 2 * RAM_KERN_BLOCK + 384 };
    static const size_t cols_of[] = {32, 96, 192, 1024, 1056, 1088, 1152, MAX};
    static float w[N * MAX], decoded[N * MAX];
    static uint8_t codes[N * MAX], scales[N * MAX / 8], biases[N * MAX / 8];
    (void)state;

    ram_rng_normal(ram_rng_for(3, "sums"), 0, N * MAX, w);
    for (size_t i = 0; i < 8u * 3 * 2; i++) {
        const size_t cols = cols_of[i % 8];
        const enum ram_scale_type type = (enum ram_scale_type)(i / 8 % 3);
        const enum ram_profile profile = i / 24 ? RAM_PROFILE_CPU : RAM_PROFILE_GPU;
        double sums[6][3] = {{0}};
        ram_affine_errors(profile, type, w, N, cols, sums);
        for (size_t k = 0; k < 18; k++) {
            const struct ram_affine f = {ram_kern_bits[k / 3], ram_kern_groups[k % 3], profile,
                                         type};
            double square = 0;
            if (cols % (size_t)f.group) {
                assert_true(sums[k / 3][k % 3] == 0);
                continue;
            }
            const double sum = ram_affine_encode(&f, w, N, cols, codes, scales, biases);
            assert_true(sum == sums[k / 3][k % 3]);
            ram_affine_decode(&f, codes, scales, biases, N, cols, decoded);
            for (size_t j = 0; j < N * cols; j++) {
                const double d = (double)decoded[j] - (double)w[j];
                square += d * d;
            }
            /* decoding rounds twice, by up to 2^-24 of the largest weight each time */
            assert_float_equal(sum / square, 1, f.bits == 8 ? 1e-3 : 1e-4);
        }
    }
}

/* Squares of such weights leave the range of f32, and those below MLX's least step become zeros. */
static void sums_of_extreme_weights(void **state)
{
    enum { LONG = 1024 + 128 };
    static const float sizes[] = {1e30f, 1e18f, 1e-9f, 1e-20f, 1e-38f, 1e-42f};
    static float w[LONG], seen[LONG];
    static uint8_t codes[LONG], scales[LONG], biases[LONG];
    (void)state;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        double sums[6][3] = {{0}}, energy = 0;
        for (size_t k = 0; k < LONG; k++) {
            w[k] = (float)((int)(k * 37 % 101) - 50) / 50 * sizes[i];
            energy += (double)w[k] * (double)w[k];
        }
        ram_affine_errors(RAM_PROFILE_GPU, RAM_SCALE_F32, w, 1, LONG, sums);
        for (size_t k = 0; k < 18; k++) {
            const struct ram_affine f = {ram_kern_bits[k / 3], ram_kern_groups[k % 3],
                                         RAM_PROFILE_GPU, RAM_SCALE_F32};
            const double sum = ram_affine_encode(&f, w, 1, LONG, codes, scales, biases);
            assert_true(sum == sums[k / 3][k % 3]);
            ram_affine_decode(&f, codes, scales, biases, 1, LONG, seen);
            assert_true(fabs(sum / ram_squared_distance(seen, w, LONG) - 1) < 1e-4);
            if (sizes[i] < 1)
                assert_float_equal(ram_relative_error(sum, energy), 1, 1e-12);
            else
                assert_true(ram_relative_error(sum, energy) < 0.5);
        }
    }
    memset(w, 0, sizeof w);
    w[1100] = 1e-30f;
    double sums[6][3] = {{0}};
    ram_affine_errors(RAM_PROFILE_GPU, RAM_SCALE_BF16, w, 1, LONG, sums);
    assert_true(sums[2][1] == (double)w[1100] * (double)w[1100]);
}

static void sums_are_added(void **state)
{
    float w[128];
    double once[6][3] = {{0}}, twice[6][3] = {{0}};
    (void)state;

    ram_rng_normal(ram_rng_for(4, "added"), 0, 128, w);
    ram_affine_errors(RAM_PROFILE_GPU, RAM_SCALE_BF16, w, 1, 128, once);
    for (int i = 0; i < 2; i++)
        ram_affine_errors(RAM_PROFILE_GPU, RAM_SCALE_BF16, w, 1, 128, twice);
    for (size_t k = 0; k < 18; k++)
        assert_true(once[k / 3][k % 3] > 0 && twice[k / 3][k % 3] == 2 * once[k / 3][k % 3]);
}

static void sizes(void **state)
{
    const struct ram_affine f = {3, 64, RAM_PROFILE_GPU, RAM_SCALE_BF16};
    (void)state;

    assert_int_equal(ram_affine_code_size(&f, 4096), 4096 * 3 / 8);
    assert_int_equal(ram_affine_scale_size(&f, 4096), 128);
}

/* Every float type survives the way there and back; F64 is rounded once. */
static void floats(void **state)
{
    static const enum ram_float types[] = {RAM_FLOAT_F16, RAM_FLOAT_BF16, RAM_FLOAT_F32,
                                           RAM_FLOAT_F64};
    static const double wide[] = {1 + 0x1p-24, 1 + 0x3p-24, 1e300, -0.0};
    static const float rounded[] = {1, 1 + 0x1p-22f, INFINITY, -0.0f};
    float in[1111], out[1111];
    uint8_t stored[8 * 1111 + 1];
    (void)state;

    for (int i = 0; i < 1111; i++)
        in[i] = (float)(i - 555) / 8;
    for (size_t t = 0; t < 4; t++) {
        assert_int_equal(ram_float_size(types[t]), t < 2 ? 2 : t < 3 ? 4 : 8);
        ram_float_narrow(types[t], in, 1111, stored + 1);
        ram_float_widen(types[t], stored + 1, 1111, out);
        if (types[t] != RAM_FLOAT_BF16)
            assert_memory_equal(out, in, sizeof in);
        else
            for (int i = 0; i < 1111; i++)
                assert_true(fabsf(out[i] - in[i]) <= fabsf(in[i]) / 256);
    }
    ram_float_widen(RAM_FLOAT_F64, wide, 4, out);
    assert_memory_equal(out, rounded, sizeof rounded);
    ram_float_widen(RAM_FLOAT_F8_E4M3, "\x38\xb9", 2, out);
    assert_true(out[0] == 1 && out[1] == -1.125f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_vectors), cmocka_unit_test(stored_forms),
        cmocka_unit_test(as_mlx_writes),  cmocka_unit_test(sums_agree),
        cmocka_unit_test(sums_are_added), cmocka_unit_test(sizes),
        cmocka_unit_test(floats),         cmocka_unit_test(sums_of_extreme_weights),
    };
    return cmocka_run_group_tests_name("codec/affine", tests, NULL, NULL);
}
