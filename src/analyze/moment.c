/* moment.c - see moment.h. */
#include "analyze/moment.h"

#include "kern/kern.h"

#include <math.h>

/*
 * A kernel sums powers of w - c with c the block's first weight, and the sums are then moved to
 * the mean. That loses little: c is one of the n weights, so |c - mean|^k is at most n times the
 * mean of |w - mean|^k, and the cancellation costs at most a factor n = 4096 of 2^-53.
 */
static void from_sums(const struct ram_kern_moments *sums, size_t n, float shift,
                      struct ram_moments *out)
{
    const double d = sums->sum[0] / (double)n; /* mean - shift */
    const double s2 = sums->sum[1], s3 = sums->sum[2], s4 = sums->sum[3];

    out->n = n;
    out->mean = (double)shift + d;
    out->m2 = fmax(s2 - (double)n * d * d, 0);
    out->m3 = s3 - 3 * d * s2 + 2 * (double)n * d * d * d;
    out->m4 = fmax(s4 - 4 * d * s3 + 6 * d * d * s2 - 3 * (double)n * d * d * d * d, 0);
    out->min = sums->min;
    out->max = sums->max;
    out->n_bad = 0;
    out->first_bad = 0;
}

static void count_bad(const float *w, size_t n, struct ram_moments *out)
{
    for (size_t i = 0; i < n; i++) {
        if (isfinite(w[i]))
            continue;
        if (out->n_bad++ == 0)
            out->first_bad = i;
    }
}

void ram_moments_block(const float *w, size_t n, struct ram_moments *out)
{
    *out = (struct ram_moments){0};
    for (size_t i = 0; i < n; i += RAM_KERN_MOMENT_BLOCK) {
        const size_t size = n - i < RAM_KERN_MOMENT_BLOCK ? n - i : RAM_KERN_MOMENT_BLOCK;
        struct ram_kern_moments sums;
        struct ram_moments next;
        ram_kern()->moments(w + i, size, w[i], &sums);
        from_sums(&sums, size, w[i], &next);
        /* Fourth powers of floats do not overflow a double: only a bad weight does this. */
        if (!isfinite(sums.sum[3]))
            count_bad(w + i, size, &next);
        ram_moments_merge(out, &next);
    }
}

void ram_moments_merge(struct ram_moments *into, const struct ram_moments *next)
{
    if (next->n == 0)
        return;
    if (into->n == 0) {
        *into = *next;
        return;
    }
    const double na = (double)into->n, nb = (double)next->n, n = na + nb;
    const double d = next->mean - into->mean, d2 = d * d;
    const double a2 = into->m2, b2 = next->m2, a3 = into->m3, b3 = next->m3;

    if (into->n_bad == 0 && next->n_bad > 0)
        into->first_bad = into->n + next->first_bad;
    into->n_bad += next->n_bad;
    into->m4 += next->m4 + d2 * d2 * (na * nb / (n * n * n)) * (na * na - na * nb + nb * nb) +
                6 * d2 * (na * na * b2 + nb * nb * a2) / (n * n) + 4 * d * (na * b3 - nb * a3) / n;
    into->m3 += next->m3 + d2 * d * na * nb * (na - nb) / (n * n) + 3 * d * (na * b2 - nb * a2) / n;
    into->m2 += next->m2 + d2 * na * nb / n;
    into->mean += d * (nb / n);
    into->n += next->n;
    into->min = next->min < into->min ? next->min : into->min;
    into->max = next->max > into->max ? next->max : into->max;
}

static double rms_of(const struct ram_moments *m)
{
    return m->n ? sqrt(m->m2 / (double)m->n + m->mean * m->mean) : 0;
}

void ram_moments_stats(const struct ram_moments *m, struct ram_stats *out)
{
    *out = (struct ram_stats){
        .mean = m->mean,
        .std = m->n ? sqrt(m->m2 / (double)m->n) : 0,
        .rms = rms_of(m),
        .min = (double)m->min,
        .max = (double)m->max,
    };
}

double ram_moments_kurtosis(const struct ram_moments *m)
{
    const double n = (double)m->n;

    return m->m2 > 0 ? m->m4 / n / (m->m2 / n * (m->m2 / n)) - 3 : 0;
}

double ram_moments_output(const struct ram_moments *m)
{
    const double rms = rms_of(m);

    return rms > 0 ? ((double)m->max - (double)m->min) / (16 * sqrt(12) * rms) : 0;
}
