/*
 * quantize.c - a checkpoint quantised through libram: what `ram quantize` does, in fifty lines.
 *
 *   cc quantize.c $(pkg-config --cflags --libs --static ram) -o quantize && ./quantize MODEL DIR
 */
#include <ram.h>
#include <stdio.h>
#include <stdlib.h>

static void show(void *user, const struct ram_progress *p)
{
    (void)user;
    fprintf(stderr, "\r\033[K%s %3.0f%% %s", p->stage,
            p->total ? 100.0 * (double)p->done / (double)p->total : 0, p->item ? p->item : "");
}

int main(int argc, char **argv)
{
    const struct ram_analyze_opts measure = {0}; /* zeros are defaults, here and below */
    const struct ram_allocate_opts decide = {.method = "auto"};
    const struct ram_convert_opts write = {0};
    const struct ram_run run = {.progress = show};
    struct ram_ckpt *model = NULL;
    struct ram_manifest *manifest = NULL;
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    char *table = NULL;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL DIR\n", argv[0]);
        return 2;
    }
    int status = ram_ckpt_open(&model, argv[1], &err);
    if (!status)
        status = ram_analyze(model, &measure, &run, &manifest, &err);
    if (!status)
        status = ram_allocate(manifest, &decide, &plan, &err);
    if (!status)
        status = ram_plan_describe(plan, RAM_TEXT, false, &table, &err);
    if (!status)
        status = ram_convert(model, plan, argv[2], &write, &run, RAM_TEXT, NULL, &err);
    if (!status)
        status = ram_verify(argv[2], model, plan, &run, RAM_TEXT, NULL, &err);
    fputs("\r\033[K", stderr);
    if (status)
        fprintf(stderr, "%s\n", err.message);
    else
        printf("%s", table);
    free(table);
    ram_plan_free(plan);
    ram_manifest_free(manifest);
    ram_ckpt_close(model);
    return ram_exit_code(status);
}
