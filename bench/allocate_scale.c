/*
 * allocate_scale.c - manifests of large mixtures of experts: written, read, allocated.
 *
 * 18,867 tensors are Qwen3-30B-A3B's; 46,467 are more than GLM-4.7's. Wanted: read and allocated
 * in less than a second. Processor time, since machines are shared. The rival is the same text as a
 * jansson tree, which is where a reader without one of its own would begin.
 */
#include "golden/inventory.h"

#include <sys/resource.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static long peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static void measure(int layers, int experts)
{
    static const char *const methods[] = {"uniform", "v1", "v2", "v3", "v3-opt"};
    struct ram_manifest *m = inventory_of(inventory_moe_config(layers, experts));
    struct ram_manifest *back = NULL;
    struct ram_err err = {0};
    char *text = NULL;
    json_t *tree;

    inventory_measure(m);
    const double start = now();
    inventory_check(ram_manifest_text(m, &text, &err), err.message);
    const double written = now();
    const size_t size = strlen(text);
    inventory_check(ram_manifest_parse(&back, text, size, "bench", &err), err.message);
    const double read = now();
    printf("%zu tensors, %.1f MB: write %.3f s, read %.3f s (%.0f MB/s, %ld MiB resident)\n",
           m->n_entries, (double)size / 1e6, written - start, read - written,
           (double)size / 1e6 / (read - written), peak_mib());
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct ram_allocate_opts opts = {.method = methods[i], .search = i > 0};
        struct ram_plan *plan = NULL;
        const double before = now();
        inventory_check(ram_allocate(back, &opts, &plan, &err), err.message);
        printf("  allocate %-8s%s %.3f s\n", methods[i], opts.search ? " --search" : "         ",
               now() - before);
        ram_plan_free(plan);
    }
    const double before = now();
    inventory_check(ram_json_parse(&tree, text, size, "bench", &err), err.message);
    const double parsed = now();
    json_decref(tree);
    printf("  the same text as a jansson tree: read %.3f s, free %.3f s (%ld MiB resident)\n",
           parsed - before, now() - parsed, peak_mib());
    free(text);
    ram_manifest_free(m);
    ram_manifest_free(back);
}

int main(void)
{
    measure(48, 128);
    measure(60, 256);
    return 0;
}
