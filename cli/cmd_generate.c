/* cmd_generate.c - generated text, as a quick check of a model. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT(member) offsetof(struct ram_generate_opts, member)
static const struct opt table[] = {
    {"prompt", 'p', OPT_TEXT, AT(prompt), "TEXT", "the text to continue", NULL},
    {"max-tokens", 0, OPT_U64, AT(max_tokens), "N",
     "maximum number of tokens to generate (default: 100)", NULL},
    {"temperature", 0, OPT_REAL, AT(temperature), "T",
     "0 (default): always the most likely token; 1: sample from the probabilities of the model",
     NULL},
    {"seed", 0, OPT_U64, AT(seed), "S", "random seed of the sampling (default: 42)", NULL},
    {0},
};
#undef AT

static const struct opt_usage usage = {
    .verb = "generate",
    .synopsis = "MODEL --prompt TEXT [options]",
    .about = "Generates text, as a quick sanity check of a checkpoint. The prompt is continued\n"
             "as it stands, without a chat template; the output is the prompt and what\n"
             "follows.",
    .examples = "ram generate qwen3-8b-ram --prompt \"The sea is\"",
    .min_operands = 1,
    .max_operands = 1,
};

/* What the model says, as it comes; for JSON until it is all there. */
struct speech {
    const char *prompt; /* is shown before the first words; NULL: was shown, or is not */
    struct result_speech out;
    char *text;
    size_t size;
    bool failed;
};

static void show_prompt(struct speech *speech)
{
    if (speech->prompt)
        fputs(speech->prompt, stdout);
    speech->prompt = NULL;
}

static void say(void *user, const char *bytes, size_t n)
{
    struct speech *speech = user;

    show_prompt(speech);
    result_say(&speech->out, bytes, n);
}

static void gather(void *user, const char *bytes, size_t n)
{
    struct speech *speech = user;
    char *text = realloc(speech->text, speech->size + n + 1);

    speech->failed |= !text;
    if (!text)
        return;
    memcpy(text + speech->size, bytes, n);
    speech->text = text;
    speech->size += n;
    text[speech->size] = '\0';
}

static int print_json(const char *prompt, const struct speech *speech, struct ram_err *err)
{
    if (speech->failed) {
        err->status = RAM_ENOMEM;
        snprintf(err->message, sizeof err->message, "no memory for the text");
        return err->status;
    }
    printf("{\"prompt\": ");
    result_print_json_string(prompt, strlen(prompt));
    printf(", \"text\": ");
    result_print_json_string(speech->text ? speech->text : "", speech->size);
    printf("}\n");
    return RAM_OK;
}

static int run(const char *path, const struct ram_generate_opts *opts, struct job *job,
               struct ram_err *err)
{
    struct speech speech = {.out.terminal = isatty(STDOUT_FILENO)};
    struct ram_ckpt *ckpt = NULL;
    const bool json = job->markup == RAM_JSON;

    speech.prompt = json ? NULL : opts->prompt;
    int status = job_open_model(job, path, &ckpt, err);
    if (!status)
        status = ram_generate(ckpt, opts, &job->run, json ? gather : say, &speech, err);
    if (!status)
        show_prompt(&speech); /* of a model that says nothing at all */
    if (!json && !speech.prompt)
        putchar('\n');
    if (!status && json)
        status = print_json(opts->prompt, &speech, err);
    free(speech.text);
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
