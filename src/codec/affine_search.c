/* affine_search.c - see affine_search.h. */
#include "codec/affine_search.h"

#include <assert.h>

double ram_search_encode(const struct ram_affine *f, const struct ram_search *how, const float *w,
                         size_t n, size_t cols, uint8_t *codes, uint8_t *scales, uint8_t *biases)
{
    const struct ram_kern *const kern = ram_kern();
    double sum = 0;

    assert(cols % (size_t)f->group == 0 && how->effort <= 3);
    for (size_t row = 0; row < n; row++) {
        double row_sum = 0;
        for (size_t col = 0; col < cols; col += RAM_KERN_BLOCK) {
            const size_t size = cols - col < RAM_KERN_BLOCK ? cols - col : RAM_KERN_BLOCK;
            const size_t scale_size = ram_affine_scale_size(f, size);
            const float *const importance = how->importance ? how->importance + col : NULL;
            const float block =
                kern->affine_search(f, how->effort, w, importance, size, codes, scales, biases);
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
