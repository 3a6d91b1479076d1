/*
 * The small symmetric problems: matrices of known eigenvalues, bases that are nearly dependent,
 * and the same bits from every instruction set.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/dense.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 256 };

static void *room(size_t n, size_t size)
{
    struct ram_err err = {0};
    void *p = ram_calloc(n, size, &err);
    assert_non_null(p);
    return p;
}

/* a = H diag(values) H, H a random reflection: a full symmetric matrix of these eigenvalues. */
static float *with_eigenvalues(const double *values, size_t n)
{
    const size_t stride = ram_dense_stride(n);
    float *a = room(n * stride, sizeof *a), *v = room(n, sizeof *v);
    double sum = 0, mixed = 0;

    ram_rng_normal(ram_rng_for(1, "reflection"), 0, n, v);
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    for (size_t i = 0; i < n; i++)
        mixed += values[i] * (double)v[i] * (double)v[i] / sum;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            const double vv = 2 * (double)v[i] * (double)v[j] / sum;
            a[i * stride + j] =
                (float)((i == j ? values[i] : 0) - vv * (values[i] + values[j]) + 2 * vv * mixed);
        }
    free(v);
    return a;
}

static void known_eigenvalues(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 8, 15, 16, 17, 100, 255, 256, 511, 512};
    (void)state;

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s], k = n / 10 ? n / 10 : 1;
        for (int decay = 0; decay < 3; decay++) {
            double *values = room(n, sizeof *values), top = 0, all = 0;
            for (size_t i = 0; i < n; i++) {
                const double x = (double)(n - i) / (double)n;
                values[i] = 1e-3 * (decay == 0 ? 1 : decay == 1 ? x : pow(x, 12));
                all += values[i];
                top += i < k ? values[i] : 0;
            }
            float *a = with_eigenvalues(values, n);
            struct ram_dense_spectrum found;
            ram_dense_eigen(a, n, k, &found);
            assert_true(fabs(found.top / top - 1) < 2e-6);
            assert_true(fabs(found.all / all - 1) < 1e-6);
            assert_true(fabs(found.largest / values[0] - 1) < 2e-6);
            assert_true(fabs(found.smallest - values[n - 1]) < 2e-6 * values[0]);
            free(a);
            free(values);
        }
    }
}

/* Second differences: eigenvalues 2 - 2 cos(pi i / (n + 1)), all distinct, tridiagonal already. */
static void tridiagonal_already(void **state)
{
    const size_t n = 100, stride = ram_dense_stride(n);
    const double pi = acos(-1);
    float *a = room(n * stride, sizeof *a);
    struct ram_dense_spectrum found;
    double top = 0;
    (void)state;

    for (size_t i = 0; i < n; i++) {
        a[i * stride + i] = 2;
        if (i)
            a[i * stride + i - 1] = a[(i - 1) * stride + i] = -1;
    }
    for (size_t i = n - 9; i <= n; i++)
        top += 2 - 2 * cos(pi * (double)i / (double)(n + 1));
    ram_dense_eigen(a, n, 10, &found);
    assert_true(fabs(found.top / top - 1) < 1e-6);
    assert_true(found.all == 2 * (double)n);
    memset(a, 0, n * stride * sizeof *a);
    ram_dense_eigen(a, n, 10, &found);
    assert_true(found.top == 0 && found.all == 0);
    free(a);
}

/* x [rows, N] normal, column j a mixture of itself and all before it, `near` from dependent. */
static float *columns(size_t rows, double near)
{
    float *x = room(rows * N, sizeof *x);

    ram_rng_normal(ram_rng_for(2, "columns"), 0, rows * N, x);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 1; j < N; j++)
            x[i * N + j] = (float)((double)x[i * N] + near * (double)x[i * N + j]);
    return x;
}

/* Largest entry of |w^T s w - 1| and the number of columns that were left out. */
static double distance_from_one(const double *s, const float *w, size_t *n_dropped)
{
    double *p = room(N * N, sizeof *p), worst = 0;

    *n_dropped = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < N; k++) {
            const double sik = i <= k ? s[i * N + k] : s[k * N + i];
            for (size_t j = k; j < N; j++)
                p[i * N + j] += sik * (double)w[k * N + j];
        }
    for (size_t i = 0; i < N; i++) {
        const bool dropped = w[i * N + i] == 0;
        *n_dropped += dropped;
        for (size_t j = i; j < N; j++) {
            double sum = 0;
            for (size_t k = 0; k <= i; k++)
                sum += (double)w[k * N + i] * p[k * N + j];
            worst = fmax(worst, fabs(sum - (i == j && !dropped)));
        }
    }
    free(p);
    return worst;
}

static void whitening(void **state)
{
    double *s = room(N * N, sizeof *s), *copy = room(N * N, sizeof *s);
    double *scratch = room(N * N, sizeof *s);
    float *w = room(N * N, sizeof *w);
    size_t n_dropped;
    (void)state;

    for (double near = 1; near > 1e-6; near /= 10) {
        float *x = columns(700, near);
        ram_dense_gram(x, 700, N, s);
        for (size_t i = 0; i < N; i += 31)
            for (size_t j = i; j < N; j += 17) {
                double sum = 0;
                for (size_t r = 0; r < 700; r++)
                    sum += (double)x[r * N + i] * (double)x[r * N + j];
                assert_true(fabs(s[i * N + j] - sum) <= 1e-12 * 700);
            }
        memcpy(copy, s, N * N * sizeof *s);
        const double pivot = ram_dense_whiten(s, N, 1e-14, w, scratch);
        /* w is rounded to floats and s as badly conditioned as near says. */
        assert_true(distance_from_one(copy, w, &n_dropped) < 1e-6 / near);
        assert_int_equal(n_dropped, 0);
        assert_true(pivot > 0.1 * near * near && pivot < 2 * near * near);
        free(x);
    }
    /* Every third column a copy of another. */
    float *x = columns(700, 1);
    for (size_t i = 0; i < 700; i++)
        for (size_t j = 5; j < N; j += 3)
            x[i * N + j] = x[i * N + j - 4];
    ram_dense_gram(x, 700, N, s);
    memcpy(copy, s, N * N * sizeof *s);
    ram_dense_whiten(s, N, 1e-6, w, scratch);
    assert_true(distance_from_one(copy, w, &n_dropped) < 1e-5);
    assert_int_equal(n_dropped, (N - 5 + 2) / 3);
    free(x);
    free(s);
    free(copy);
    free(scratch);
    free(w);
}

/* Everything once, in a process that sees only this instruction set; writes a digest. */
static void digest_of(const char *level, int fd)
{
    setenv("RAM_CPU", level, 1);
    float *x = columns(300, 0.3), *w = room(N * N, sizeof *w);
    double *s = room(N * N, sizeof *s), *scratch = room(N * N, sizeof *s), values[100];
    char hex[RAM_SHA256_HEX];
    struct {
        struct ram_dense_spectrum found;
        double pivot;
        float w[N * N];
    } *all = room(1, sizeof *all);

    ram_dense_gram(x, 300, N, s);
    all->pivot = ram_dense_whiten(s, N, 1e-6, w, scratch);
    memcpy(all->w, w, sizeof all->w);
    for (int i = 0; i < 100; i++)
        values[i] = 1.0 / (1 + i);
    ram_dense_eigen(with_eigenvalues(values, 100), 100, 10, &all->found);
    ram_sha256(all, sizeof *all, hex);
    _exit(write(fd, hex, sizeof hex) == (ssize_t)sizeof hex ? 0 : 1);
}

static void same_bits_everywhere(void **state)
{
    static const char *const levels[] = {"ref", "avx2", "avx512"};
    char digests[3][RAM_SHA256_HEX];
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        int ends[2], result;
        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        if (child == 0)
            digest_of(levels[i], ends[1]);
        assert_int_equal(read(ends[0], digests[i], sizeof digests[i]), sizeof digests[i]);
        assert_int_equal(waitpid(child, &result, 0), child);
        assert_int_equal(result, 0);
        close(ends[0]);
        close(ends[1]);
        assert_string_equal(digests[i], digests[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: later ones find out what the processor is. */
        cmocka_unit_test(same_bits_everywhere),
        cmocka_unit_test(known_eigenvalues),
        cmocka_unit_test(tridiagonal_already),
        cmocka_unit_test(whitening),
    };
    return cmocka_run_group_tests_name("kern/dense", tests, NULL, NULL);
}
