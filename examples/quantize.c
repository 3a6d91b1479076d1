/*
 * quantize.c - a checkpoint quantised through libram: the same bytes as `ram quantize MODEL -o
 * DIR`.
 *
 *   cc quantize.c $(pkg-config --cflags --libs ram) -o quantize && ./quantize MODEL DIR
 */
#include <ram.h>
#include <stdio.h>

static void show(void *user, const struct ram_progress *p)
{
    (void)user;
    fprintf(stderr, "\r\033[K%s %3.0f%% %s", p->stage,
            p->total ? 100.0 * (double)p->done / (double)p->total : 0, p->item ? p->item : "");
}

int main(int argc, char **argv)
{
    struct ram_quantize_opts opts = {0}; /* zeros are the defaults of the command */
    struct ram_run run = {0};
    struct ram_quantized result = {0};
    struct ram_ckpt *model = NULL;
    struct ram_err err = {0};

    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s MODEL DIR [fast|normal|best]\n", argv[0]);
        return 2;
    }
    run.progress = show;
    opts.effort = argv[3]; /* NULL: the usual effort for this model */
    int status = ram_ckpt_open(&model, argv[1], &err);
    if (!status)
        status = ram_quantize(model, argv[2], &opts, &run, &result, &err);
    fputs("\r\033[K", stderr);
    if (status)
        fprintf(stderr, "%s\n", err.message);
    else
        fputs(result.plan_text, stdout);
    ram_quantized_release(&result);
    ram_ckpt_close(model);
    return ram_exit_code(status);
}
