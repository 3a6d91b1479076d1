/* cmd_synthesize.c - the text that measurements run a model on, so that it can be read. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
    struct ram_synthesize_opts opts;
    const char *output;
};

#define AT(member) offsetof(struct args, member)
static const struct opt table[] = {
    {"output", 'o', OPT_TEXT, AT(output), "FILE",
     "the file to write; - (default): the standard output", NULL},
    {"sequences", 0, OPT_COUNT, AT(opts.sequences), "N",
     "sequences (default: as many as --effort best uses for this model)", NULL},
    {"length", 0, OPT_COUNT, AT(opts.length), "L",
     "tokens of each sequence (default: as many as --effort best uses for this model)", NULL},
    {"seed", 0, OPT_U64, AT(opts.seed), "S", "random seed of the sampling (default: 42)", NULL},
    {"ids", 0, OPT_FLAG, AT(opts.ids), NULL,
     "write token ids, one line for each sequence; needs no tokenizer", NULL},
    {0},
};
#undef AT

static const struct opt_usage usage = {
    .verb = "synthesize",
    .synopsis = "MODEL [-o FILE] [options]",
    .about = "Writes the text that measurements run a model on, so that it can be read: exact\n"
             "samples of the model at temperature 1, which begin with the start of a\n"
             "document, with a user's turn of the chat template where there is one, or with a\n"
             "random token. Without options these are the sequences by which ram quantize\n"
             "--effort best measures error curves and encodes. A line before each sequence\n"
             "says what it begins with; --json gives text and ids. FILE appears only when it\n"
             "is complete.",
    .examples = "ram synthesize Qwen/Qwen3-0.6B -o text\n"
                "ram synthesize Qwen/Qwen3-0.6B --sequences 8 --length 64\n"
                "ram synthesize Qwen/Qwen3-0.6B --ids -o ids",
    .min_operands = 1,
    .max_operands = 1,
};

static int run(const char *path, const struct args *args, bool force, struct job *job,
               struct ram_err *err)
{
    struct result_speech speech = {.terminal = isatty(STDOUT_FILENO)};
    struct ram_ckpt *ckpt = NULL;
    char *text = NULL;
    size_t size = 0;

    int status = job_open_model(job, path, &ckpt, err);
    if (!status && args->output)
        status = ram_check_output(args->output, force, ckpt, NULL, err);
    if (!status)
        status = job_stage_done(
            job, ram_synthesize(ckpt, &args->opts, &job->run, job->markup, &text, &size, err));
    if (!status && args->output)
        status = ram_text_write(args->output, text, size, force, err);
    else if (!status)
        result_say(&speech, text, size);
    if (!status && args->output && !job->progress.quiet)
        message("wrote %s", args->output);
    free(text);
    ram_ckpt_close(ckpt);
    return status;
}

int cmd_synthesize(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status != OPT_GO)
        return status;
    if (args.output && !strcmp(args.output, "-"))
        args.output = NULL;
    job_init(&job, &common);
    status = run(argv[0], &args, common.force, &job, &err);
    return status ? message_failure(&err) : 0;
}
