/* cmd_generate.c - does a model still speak? */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdio.h>

#define AT(member) offsetof(struct ram_generate_opts, member)
static const struct opt table[] = {
    {"prompt", 'p', OPT_TEXT, AT(prompt), "TEXT", "what to continue", NULL},
    {"max-tokens", 0, OPT_U64, AT(max_tokens), "N", "say at most so many (100)", NULL},
    {"temperature", 0, OPT_REAL, AT(temperature), "T",
     "0: always the most likely token (0); 1: as likely as the model thinks", NULL},
    {"seed", 0, OPT_U64, AT(seed), "S", "of the sampling (42)", NULL},
    {0},
};
#undef AT

static const struct opt_usage usage = {
    .verb = "generate",
    .synopsis = "MODEL --prompt TEXT [options]",
    .about = "Continues a prompt as it stands, without a chat template, to see that a model\n"
             "still speaks. Prints the prompt and what follows it.",
    .examples = "ram generate qwen3-8b-ram --prompt \"The sea is\"",
    .min_operands = 1,
    .max_operands = 1,
};

static void print_bytes(void *user, const char *bytes, size_t n)
{
    (void)user;
    fwrite(bytes, 1, n, stdout);
    fflush(stdout);
}

static int run(const char *path, const struct ram_generate_opts *opts, struct job *job,
               struct ram_err *err)
{
    struct ram_ckpt *ckpt = NULL;

    int status = ram_ckpt_open(&ckpt, path, err);
    if (!status) {
        fputs(opts->prompt, stdout);
        status = ram_generate(ckpt, opts, &job->run, print_bytes, NULL, err);
        putchar('\n');
    }
    ram_ckpt_close(ckpt);
    return status;
}

int cmd_generate(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct ram_generate_opts opts = {0};
    const struct opt_group groups[] = {{"Options", table, &opts},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status == OPT_GO)
        status = opt_require(&usage, "--prompt TEXT", opts.prompt);
    if (status != OPT_GO)
        return status;
    job_init(&job, &common);
    status = run(argv[0], &opts, &job, &err);
    return status ? message_failure(&err) : 0;
}
