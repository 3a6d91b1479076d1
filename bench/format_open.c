/*
 * Processor time and memory to open checkpoints and lay them out, beside what jansson takes to
 * parse the same headers. Checkpoints of true size without their data: bench_make_checkpoint
 * --headers-only.
 *
 *     bench_format_open DIR...
 */
#include "format/layout.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { REPEATS = 5 };

/* Processor time: all of it is computing in one thread, and other programs do not disturb it. */
static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static long peak_mib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* All headers of an open checkpoint once more, through jansson; bytes of them to *size. */
static double time_jansson(const struct ram_ckpt *ckpt, size_t *size)
{
    const double start = now();

    *size = 0;
    for (size_t i = 0; i < ckpt->n_files; i++) {
        const uint8_t *data = ckpt->files[i].map.data;
        size_t n = 0;
        for (int b = 7; b >= 0; b--)
            n = n << 8 | data[b];
        json_t *json = json_loadb((const char *)data + 8, n, JSON_REJECT_DUPLICATES, NULL);
        json_decref(json);
        *size += n;
    }
    return now() - start;
}

static int measure(const char *dir, struct ram_err *err)
{
    double open = 1e9, lay_out = 1e9;
    struct ram_ckpt *ckpt = NULL;
    struct ram_layout *layout = NULL;
    size_t size;

    for (int i = 0; i < REPEATS; i++) {
        ram_layout_free(layout);
        ram_ckpt_close(ckpt);
        layout = NULL;
        const double start = now();
        if (ram_ckpt_open(&ckpt, dir, err))
            return err->status;
        const double opened = now();
        open = least(open, opened - start);
        if (ram_layout_new(&layout, ckpt, ram_format_at(0), err))
            break;
        lay_out = least(lay_out, now() - opened);
    }
    const long peak = peak_mib();
    if (!err->status) {
        const double jansson = time_jansson(ckpt, &size);
        printf("%s: %zu tensors in %zu files, %.1f MB of headers\n", ckpt->name, ckpt->n_tensors,
               ckpt->n_files, (double)size / 1e6);
        printf("  open %.1f ms, lay out %.1f ms, peak %ld MiB; jansson alone %.1f ms\n", open,
               lay_out, peak, jansson);
    }
    ram_layout_free(layout);
    ram_ckpt_close(ckpt);
    return err->status;
}

int main(int argc, char **argv)
{
    struct ram_err err = {0};

    for (int i = 1; i < argc && !err.status; i++)
        measure(argv[i], &err);
    if (err.status)
        fprintf(stderr, "%s\n", err.message);
    return argc < 2 ? 2 : ram_exit_code(err.status);
}
