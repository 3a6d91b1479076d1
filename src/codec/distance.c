/* distance.c - see distance.h. */
#include "codec/distance.h"

#include <math.h>

double ram_squared_distance(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sum;
}

/* A block has at most 1,024 weights. Squares below 2^-126 lose digits, which is 1e-5 of a sum of
 * 1e-30 at most. A smaller sum is the rule where weights lie on the lattice, and then is right to
 * 1e-7 of the weights unless these are small themselves. */
bool ram_f32_sum_holds(float sum, const float *w, size_t n)
{
    float largest = 0;

    if (sum >= 1e-30F)
        return sum < 1e36F;
    for (size_t i = 0; i < n; i++)
        largest = fabsf(w[i]) > largest ? fabsf(w[i]) : largest;
    return sum >= 0 && (largest > 1e-8F || largest == 0);
}

double ram_relative_error(double squared_error, double squared)
{
    return squared > 0 ? sqrt(squared_error / squared) : 0;
}
