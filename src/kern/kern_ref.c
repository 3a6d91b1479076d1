/*
 * kern_ref.c - the definition of every kernel, in plain C. It is written to be read; the other
 * variants are compared with it bit by bit.
 */
#include "kern/kern_ref.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { LANES = 16, D_LANES = 8 };

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* ---- widening and narrowing -------------------------------------------------------------- */

static float from_bf16(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

static uint16_t to_bf16(float x)
{
    const uint32_t u = bits_of(x);

    if (isnan(x))
        return 0x7fc0;
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* f16 has 5 bits of exponent (bias 15) and 10 of fraction. */
static float from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t rest = h & 0x7fff;

    if (rest >= 0x7c00) /* infinity, NaN (made quiet, as processors do) */
        return float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13 | (rest > 0x7c00) << 22);
    const float x = float_of(rest << 13) * 0x1p112f; /* exact, subnormals too */
    return float_of(sign | bits_of(x));
}

static uint16_t to_f16(float x)
{
    const uint32_t u = bits_of(x);
    const uint32_t sign = u >> 16 & 0x8000;
    const uint32_t rest = u & 0x7fffffff;

    if (isnan(x))
        return 0x7e00;
    if (rest >= 0x47800000) /* 65536 and above; what rounds up to it overflows below */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) { /* below 2^-14: the last bit of the sum stands for 2^-24 */
        const float sum = float_of(rest) + 0.5f;
        return (uint16_t)(sign | (bits_of(sum) - bits_of(0.5f)));
    }
    const uint32_t rounded = rest + 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
}

/* E4M3: bias 7, no infinities, both all-ones patterns are NaN. */
static float from_f8(uint8_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x80) << 24;
    const uint32_t rest = h & 0x7f;

    if (rest == 0x7f)
        return float_of(sign | 0x7fc00000);
    return float_of(sign | bits_of(float_of(rest << 20) * 0x1p120f));
}

static void widen_bf16(const void *in, size_t n, float *out)
{
    const uint8_t *const p = in;

    for (size_t i = 0; i < n; i++)
        out[i] = from_bf16((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
}

static void widen_f16(const void *in, size_t n, float *out)
{
    const uint8_t *const p = in;

    for (size_t i = 0; i < n; i++)
        out[i] = from_f16((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
}

static void widen_f8(const void *in, size_t n, float *out)
{
    const uint8_t *const p = in;

    for (size_t i = 0; i < n; i++)
        out[i] = from_f8(p[i]);
}

static float largest_bf16(const void *in, size_t n)
{
    const uint8_t *const p = in;
    float largest = 0;

    for (size_t i = 0; i < n; i++) {
        const float x = fabsf(from_bf16((uint16_t)(p[2 * i] | p[2 * i + 1] << 8)));
        largest = x > largest ? x : largest;
    }
    return largest;
}

static void narrow_bf16(const float *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = to_bf16(in[i]);
}

static void narrow_f16(const float *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = to_f16(in[i]);
}

/* ---- sums ----------------------------------------------------------------------------------- */

float ram_kern_ref_fold(float *lanes)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

double ram_kern_ref_fold_f64(double *lanes)
{
    for (int half = D_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* ---- MLX affine --------------------------------------------------------------------------- */

static int scale_size(enum ram_scale_type type)
{
    return type == RAM_SCALE_F32 ? 4 : 2;
}

float ram_kern_ref_put_scale(enum ram_scale_type type, float x, uint8_t *out)
{
    const uint32_t bits = type == RAM_SCALE_BF16  ? to_bf16(x)
                          : type == RAM_SCALE_F16 ? to_f16(x)
                                                  : bits_of(x);

    for (int i = 0; i < scale_size(type); i++)
        out[i] = (uint8_t)(bits >> 8 * i);
    return type == RAM_SCALE_BF16  ? from_bf16((uint16_t)bits)
           : type == RAM_SCALE_F16 ? from_f16((uint16_t)bits)
                                   : x;
}

static float get_scale(enum ram_scale_type type, const uint8_t *in)
{
    uint32_t bits = 0;

    for (int i = 0; i < scale_size(type); i++)
        bits |= (uint32_t)in[i] << 8 * i;
    return type == RAM_SCALE_BF16  ? from_bf16((uint16_t)bits)
           : type == RAM_SCALE_F16 ? from_f16((uint16_t)bits)
                                   : float_of(bits);
}

static float round_as(enum ram_profile profile, float x)
{
    return profile == RAM_PROFILE_GPU ? roundf(x) : rintf(x);
}

/*
 * Scale and bias of a group. The value of larger magnitude becomes code 0 and is hit exactly; the
 * scale is then stretched so that zero falls on the lattice. MLX's GPU kernels start the maximum
 * at zero and round halves away from it, its CPU kernel does neither.
 */
void ram_kern_ref_fit_group(const struct ram_affine *f, const float *w, float *scale, float *bias)
{
    const float levels = (float)((1 << f->bits) - 1);
    const float eps = 1e-7f;
    float lo = w[0], hi = f->profile == RAM_PROFILE_GPU && !(w[0] > 0) ? 0 : w[0];

    for (int i = 1; i < f->group; i++) {
        lo = w[i] < lo ? w[i] : lo;
        hi = w[i] > hi ? w[i] : hi;
    }
    const bool side = fabsf(lo) > fabsf(hi);
    const float step = (hi - lo) / levels;
    const float size = step > eps ? step : eps;
    const float edge = side ? lo : hi;

    *scale = side ? size : -size;
    *bias = 0;
    const float zero = round_as(f->profile, edge / *scale); /* minus the code of 0 */
    if (zero != 0) {
        *scale = edge / zero;
        *bias = edge;
    }
}

float ram_kern_ref_code(const struct ram_affine *f, float w, float scale, float bias)
{
    const float levels = (float)((1 << f->bits) - 1);
    const float q = round_as(f->profile, (w - bias) / scale);

    return !(q > 0)     ? 0
           : q < levels ? q
                        : levels; /* a NaN, which comes from weights that are not finite, gives 0 */
}

void ram_kern_ref_put_codes(int bits, const float q[8], uint8_t *codes)
{
    uint64_t stream = 0;

    for (int i = 0; i < 8; i++)
        stream |= (uint64_t)q[i] << bits * i;
    for (int i = 0; i < bits; i++)
        codes[i] = (uint8_t)(stream >> 8 * i);
}

static float affine_encode(const struct ram_affine *f, const float *w, size_t n, uint8_t *codes,
                           uint8_t *scales, uint8_t *biases)
{
    const size_t group = (size_t)f->group;
    const size_t size = (size_t)scale_size(f->scale_type);
    float lanes[LANES] = {0};
    float scale = 0, bias = 0, seen_scale = 0, seen_bias = 0;
    float q[8];

    assert(ram_kern_is_block(f, n));
    for (size_t i = 0; i < n; i++) {
        if (i % group == 0) {
            ram_kern_ref_fit_group(f, w + i, &scale, &bias);
            seen_scale = ram_kern_ref_put_scale(f->scale_type, scale, scales + i / group * size);
            seen_bias = ram_kern_ref_put_scale(f->scale_type, bias, biases + i / group * size);
        }
        const float code = ram_kern_ref_code(f, w[i], scale, bias);
        const float error = fmaf(seen_scale, code, seen_bias - w[i]);
        lanes[i % LANES] = fmaf(error, error, lanes[i % LANES]);
        q[i % 8] = code;
        if (i % 8 == 7)
            ram_kern_ref_put_codes(f->bits, q, codes + i / 8 * (size_t)f->bits);
    }
    return ram_kern_ref_fold(lanes);
}

static void affine_decode(const struct ram_affine *f, const uint8_t *codes, const uint8_t *scales,
                          const uint8_t *biases, size_t n, float *w)
{
    const size_t group = (size_t)f->group;
    const size_t size = (size_t)scale_size(f->scale_type);
    const size_t bits = (size_t)f->bits;

    assert(ram_kern_is_block(f, n));
    for (size_t i = 0; i < n; i += 8) {
        const float scale = get_scale(f->scale_type, scales + i / group * size);
        const float bias = get_scale(f->scale_type, biases + i / group * size);
        uint64_t stream = 0;
        for (size_t k = 0; k < bits; k++)
            stream |= (uint64_t)codes[i / 8 * bits + k] << 8 * k;
        for (size_t k = 0; k < 8; k++)
            w[i + k] = scale * (float)(stream >> bits * k & ((1u << bits) - 1)) + bias;
    }
}

static void affine_errors(enum ram_profile profile, enum ram_scale_type type, const float *w,
                          size_t n, size_t n_groups, float sums[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS])
{
    uint8_t codes[RAM_KERN_BLOCK], scales[RAM_KERN_BLOCK / 32 * 4], biases[sizeof scales];

    assert(n <= RAM_KERN_BLOCK && n_groups >= 1 && n_groups <= RAM_KERN_N_GROUPS);
    assert(n % (size_t)ram_kern_groups[n_groups - 1] == 0);
    for (size_t b = 0; b < RAM_KERN_N_BITS; b++) {
        for (size_t g = 0; g < n_groups; g++) {
            const struct ram_affine f = {ram_kern_bits[b], ram_kern_groups[g], profile, type};
            sums[b][g] = affine_encode(&f, w, n, codes, scales, biases);
        }
    }
}

/* ---- for the analysis ---------------------------------------------------------------------- */

static float recon(const float *w, size_t n)
{
    float lanes[LANES] = {0};

    for (size_t first = 0; first < n; first += RAM_KERN_RECON_GROUP) {
        const size_t end = n - first > RAM_KERN_RECON_GROUP ? first + RAM_KERN_RECON_GROUP : n;
        float lo = w[first], hi = w[first];
        for (size_t i = first + 1; i < end; i++) {
            lo = w[i] < lo ? w[i] : lo;
            hi = w[i] > hi ? w[i] : hi;
        }
        const float raw = (hi - lo) / 15;
        const float step = raw > 1e-12f ? raw : 1e-12f;
        for (size_t i = first; i < end; i++) {
            const float x = w[i] - lo, q = rintf(x / step);
            const float error = fmaf(step, q < 15 ? q : 15, -x);
            lanes[i % LANES] = fmaf(error, error, lanes[i % LANES]);
        }
    }
    return ram_kern_ref_fold(lanes);
}

static void moments(const float *w, size_t n, float shift, struct ram_kern_moments *out)
{
    double lanes[4][D_LANES] = {{0}};
    float lo = w[0], hi = w[0];

    assert(n >= 1 && n <= RAM_KERN_MOMENT_BLOCK);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)w[i] - (double)shift;
        const double d2 = d * d;
        lanes[0][i % D_LANES] += d;
        lanes[1][i % D_LANES] = fma(d, d, lanes[1][i % D_LANES]);
        lanes[2][i % D_LANES] = fma(d2, d, lanes[2][i % D_LANES]);
        lanes[3][i % D_LANES] = fma(d2, d2, lanes[3][i % D_LANES]);
        lo = w[i] < lo ? w[i] : lo;
        hi = w[i] > hi ? w[i] : hi;
    }
    for (int k = 0; k < 4; k++)
        out->sum[k] = ram_kern_ref_fold_f64(lanes[k]);
    out->min = lo + 0.0f;
    out->max = hi + 0.0f;
}

static void scatter(const float *w, size_t n, const uint16_t *places, float *sums)
{
    for (size_t i = 0; i < n; i++, w += LANES, places += RAM_KERN_PLACES)
        for (size_t j = 0; j < RAM_KERN_PLACES; j++)
            for (size_t lane = 0; lane < LANES; lane++)
                sums[places[j] / LANES * LANES + lane] += w[lane] * (places[0] % 2 ? -1.0f : 1.0f);
}

const struct ram_kern ram_kern_ref = {
    .name = "ref",
    .widen_bf16 = widen_bf16,
    .largest_bf16 = largest_bf16,
    .widen_f16 = widen_f16,
    .widen_f8 = widen_f8,
    .narrow_bf16 = narrow_bf16,
    .narrow_f16 = narrow_f16,
    .affine_encode = affine_encode,
    .affine_decode = affine_decode,
    .affine_errors = affine_errors,
    .affine_search = ram_kern_ref_search,
    .tile_correct = ram_kern_ref_tile_correct,
    .tile_code = ram_kern_ref_tile_code,
    .tile_error = ram_kern_ref_tile_error,
    .tile_product = ram_kern_ref_tile_product,
    .tile_sweep = ram_kern_ref_tile_sweep,
    .recon = recon,
    .moments = moments,
    .scatter = scatter,
};
