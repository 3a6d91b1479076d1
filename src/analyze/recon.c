/* recon.c - see recon.h. */
#include "analyze/recon.h"

#include "codec/distance.h"
#include "kern/kern.h"

#include <math.h>

/* What kern->recon computes (kern_ref.c), with a sum in f64. */
static double wide_sum(const float *w, size_t n)
{
    double sum = 0;

    for (size_t first = 0; first < n; first += RAM_KERN_RECON_GROUP) {
        const size_t end = n - first > RAM_KERN_RECON_GROUP ? first + RAM_KERN_RECON_GROUP : n;
        float lo = w[first], hi = w[first];
        for (size_t i = first; i < end; i++) {
            lo = w[i] < lo ? w[i] : lo;
            hi = w[i] > hi ? w[i] : hi;
        }
        const double step = fmax(((double)hi - (double)lo) / 15, 1e-12);
        for (size_t i = first; i < end; i++) {
            const double x = (double)w[i] - (double)lo, e = fmin(rint(x / step), 15) * step - x;
            sum += e * e;
        }
    }
    return sum;
}

double ram_recon_block(const float *w, size_t rows, size_t cols)
{
    const struct ram_kern *const kern = ram_kern();
    double sum = 0;

    for (size_t row = 0; row < rows; row++, w += cols) {
        double row_sum = 0;
        for (size_t col = 0; col < cols; col += RAM_KERN_BLOCK) {
            const size_t size = cols - col < RAM_KERN_BLOCK ? cols - col : RAM_KERN_BLOCK;
            const float block = kern->recon(w + col, size);
            row_sum +=
                ram_f32_sum_holds(block, w + col, size) ? (double)block : wide_sum(w + col, size);
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
