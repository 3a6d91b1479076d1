/* affine.c - see affine.h. */
#include "codec/affine.h"

#include "codec/distance.h"

#include <assert.h>

/* Do rows of cols weights have whole groups, in a form that there is? */
static bool has_groups(const struct ram_affine *f, size_t cols)
{
    return ram_kern_is_block(f, 0) && cols % (size_t)f->group == 0;
}

size_t ram_affine_code_size(const struct ram_affine *f, size_t cols)
{
    return cols / 8 * (size_t)f->bits;
}

size_t ram_affine_scale_size(const struct ram_affine *f, size_t cols)
{
    return cols / (size_t)f->group * ram_float_size(ram_scale_float(f->scale_type));
}

static size_t block_at(size_t col, size_t cols)
{
    return cols - col < RAM_KERN_BLOCK ? cols - col : RAM_KERN_BLOCK;
}

double ram_affine_block_error(const struct ram_affine *f, float sum, const float *w, size_t n,
                              const uint8_t *codes, const uint8_t *scales, const uint8_t *biases)
{
    float seen[RAM_KERN_BLOCK];

    assert(n <= RAM_KERN_BLOCK);
    if (ram_f32_sum_holds(sum, w, n))
        return (double)sum;
    ram_kern()->affine_decode(f, codes, scales, biases, n, seen);
    return ram_squared_distance(seen, w, n);
}

double ram_affine_encode(const struct ram_affine *f, const float *w, size_t n, size_t cols,
                         uint8_t *codes, uint8_t *scales, uint8_t *biases)
{
    const struct ram_kern *const kern = ram_kern();
    double sum = 0;

    assert(has_groups(f, cols));
    for (size_t row = 0; row < n; row++) {
        double row_sum = 0;
        for (size_t col = 0; col < cols; col += RAM_KERN_BLOCK) {
            const size_t size = block_at(col, cols);
            const size_t scale_size = ram_affine_scale_size(f, size);
            const float block = kern->affine_encode(f, w, size, codes, scales, biases);
            row_sum += ram_affine_block_error(f, block, w, size, codes, scales, biases);
            w += size;
            codes += ram_affine_code_size(f, size);
            scales += scale_size;
            biases += scale_size;
        }
        sum += row_sum;
    }
    return sum;
}

void ram_affine_decode(const struct ram_affine *f, const uint8_t *codes, const uint8_t *scales,
                       const uint8_t *biases, size_t n, size_t cols, float *w)
{
    const struct ram_kern *const kern = ram_kern();

    assert(has_groups(f, cols));
    for (size_t row = 0; row < n; row++) {
        for (size_t col = 0; col < cols; col += RAM_KERN_BLOCK) {
            const size_t size = block_at(col, cols);
            const size_t scale_size = ram_affine_scale_size(f, size);
            kern->affine_decode(f, codes, scales, biases, size, w);
            w += size;
            codes += ram_affine_code_size(f, size);
            scales += scale_size;
            biases += scale_size;
        }
    }
}

/* The error of a block, of which a kernel knows the sum in f32. */
static double block_error(const struct ram_affine *f, float sum, const float *w, size_t n)
{
    uint8_t codes[RAM_KERN_BLOCK], scales[RAM_KERN_BLOCK / 32 * 4], biases[sizeof scales];

    if (ram_f32_sum_holds(sum, w, n))
        return (double)sum;
    ram_kern()->affine_encode(f, w, n, codes, scales, biases);
    return ram_affine_block_error(f, sum, w, n, codes, scales, biases);
}

void ram_affine_errors(enum ram_profile profile, enum ram_scale_type type, const float *w, size_t n,
                       size_t cols, double sums[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS])
{
    const struct ram_kern *const kern = ram_kern();
    double total[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS] = {{0}};
    size_t n_groups = 0;

    while (n_groups < RAM_KERN_N_GROUPS && cols % (size_t)ram_kern_groups[n_groups] == 0)
        n_groups++;
    if (n_groups == 0)
        return;
    for (size_t row = 0; row < n; row++) {
        double row_sums[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS] = {{0}};
        for (size_t col = 0; col < cols; col += RAM_KERN_BLOCK) {
            float block[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS] = {{0}};
            const size_t size = block_at(col, cols);
            kern->affine_errors(profile, type, w + col, size, n_groups, block);
            for (size_t i = 0; i < RAM_KERN_N_BITS * n_groups; i++) {
                const size_t b = i / n_groups, g = i % n_groups;
                const struct ram_affine f = {ram_kern_bits[b], ram_kern_groups[g], profile, type};
                row_sums[b][g] += block_error(&f, block[b][g], w + col, size);
            }
        }
        w += cols;
        for (size_t i = 0; i < RAM_KERN_N_BITS * n_groups; i++)
            total[i / n_groups][i % n_groups] += row_sums[i / n_groups][i % n_groups];
    }
    for (size_t i = 0; i < RAM_KERN_N_BITS * n_groups; i++)
        sums[i / n_groups][i % n_groups] += total[i / n_groups][i % n_groups];
}
