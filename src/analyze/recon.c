/* recon.c - see recon.h. */
#include "analyze/recon.h"

#include "kern/kern.h"

#include <math.h>

double ram_recon_block(const float *w, size_t rows, size_t cols)
{
    const struct ram_kern *const kern = ram_kern();
    double sum = 0;

    for (size_t row = 0; row < rows; row++, w += cols) {
        double row_sum = 0;
        for (size_t col = 0; col < cols; col += RAM_KERN_BLOCK) {
            const size_t size = cols - col < RAM_KERN_BLOCK ? cols - col : RAM_KERN_BLOCK;
            row_sum += (double)kern->recon(w + col, size);
        }
        sum += row_sum;
    }
    return sum;
}

double ram_recon_nrmse(double sum, const struct ram_moments *m)
{
    struct ram_stats stats;

    ram_moments_stats(m, &stats);
    return stats.rms > 0 ? sqrt(sum / (double)m->n) / stats.rms : 0;
}
