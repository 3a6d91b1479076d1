/* cmd_evaluate.c - checkpoint + task -> score. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum precision { PRECISION_BF16, PRECISION_F32 };

struct args {
    struct ram_evaluate_opts evaluate;
    unsigned shots; /* UINT_MAX: not given */
    int precision;
    const char *reference, *output;
};

static const char *precision(size_t i)
{
    static const char *const names[] = {[PRECISION_BF16] = "bf16", [PRECISION_F32] = "f32"};

    return i < sizeof names / sizeof *names ? names[i] : NULL;
}

#define AT(member) offsetof(struct args, member)
static const struct opt table[] = {
    {"task", 't', OPT_TEXT, AT(evaluate.task), "TASK",
     "wikitext or text: perplexity of a text; arc_challenge or hellaswag: accuracy", NULL},
    {"data", 'd', OPT_TEXT, AT(evaluate.data), "FILE",
     "the text, or the questions of the task (its test or validation split)", NULL},
    {"reference", 'r', OPT_TEXT, AT(reference), "MODEL",
     "also measure the KL divergence from this model, at every position of the text", NULL},
    {"output", 'o', OPT_TEXT, AT(output), "SCORE", "write the score to this file", NULL},
    {"seq-len", 0, OPT_U64, AT(evaluate.seq_len), "N",
     "tokens in a window of the text (default: 2048)", NULL},
    {"windows", 0, OPT_U64, AT(evaluate.windows), "N",
     "maximum number of windows; if the text has more, --seed chooses which (default: 256)", NULL},
    {"limit", 0, OPT_U64, AT(evaluate.limit), "N", "evaluate only the first N windows or questions",
     NULL},
    {"seed", 0, OPT_UNSIGNED, AT(evaluate.seed), "S", "seed of the choice of windows (default: 42)",
     NULL},
    {"precision", 0, OPT_CHOICE, AT(precision), "P",
     "bf16 (default): matrix products in bf16, summed in f32; f32: everything in f32, to compare "
     "with other programs",
     precision},
    {"fewshot-data", 0, OPT_TEXT, AT(evaluate.fewshot_data), "FILE",
     "the file that examples are drawn from (the training split of the task)", NULL},
    {"shots", 0, OPT_UNSIGNED, AT(shots), "K",
     "examples before each question (default: 25 for arc_challenge, 10 for hellaswag)", NULL},
    {"log-samples", 0, OPT_TEXT, AT(evaluate.log_samples), "FILE",
     "write a line of JSON for every window or question", NULL},
    {0},
};
#undef AT

static const struct opt_usage usage = {
    .verb = "evaluate",
    .synopsis = "MODEL --task TASK --data FILE [options]",
    .about = "Evaluates a checkpoint, quantised or not: perplexity of a text (mean and\n"
             "median), KL divergence from a reference model, or accuracy on multiple-choice\n"
             "questions. Weights are read layer by layer, so the model need not fit into\n"
             "memory. Scores that were written with -o can be compared (ram compare).\n\n"
             "Texts are UTF-8 and are read as Python reads them (line ends, byte order mark).\n"
             "Documents are JSON, one object a line or one array, in the fields of the data\n"
             "sets as they are published; HellaSwag may also be llama.cpp's text of six lines\n"
             "a question. FILE may be - for the standard input.",
    .examples = "ram evaluate qwen3-8b-ram --task wikitext --data wiki.test.raw -o ram.json\n"
                "ram evaluate qwen3-8b-ram --reference Qwen/Qwen3-8B --task wikitext \\\n"
                "    --data wiki.test.raw",
    .min_operands = 1,
    .max_operands = 1,
};

static int run(const char *path, const struct args *args, struct job *job, bool force,
               struct ram_err *err)
{
    struct ram_ckpt *ckpt = NULL, *reference = NULL;
    struct ram_score *score = NULL;
    char *text = NULL;
    int status = RAM_OK;

    if (args->output)
        status = job_check_output(args->output, force, err);
    if (!status)
        status = job_open_model(job, path, &ckpt, err);
    if (!status && args->reference)
        status = job_open_model(job, args->reference, &reference, err);
    if (!status)
        status = job_stage_done(
            job, ram_evaluate(ckpt, reference, &args->evaluate, &job->run, &score, err));
    if (!status && args->output)
        status = ram_score_write(score, args->output, force, err);
    if (!status && !job->silent)
        status = ram_scores_describe((const struct ram_score *const *)&score, &path, 1, job->markup,
                                     &text, err);
    if (text)
        result_print(text);
    free(text);
    ram_score_free(score);
    ram_ckpt_close(reference);
    ram_ckpt_close(ckpt);
    return status;
}

/* As ram.h counts them: 0 for the task's own number, -1 for none. */
static int shots_of(unsigned given)
{
    if (given == UINT_MAX)
        return 0;
    return given == 0 ? -1 : given > INT_MAX ? INT_MAX : (int)given;
}

int cmd_evaluate(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {.shots = UINT_MAX};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status == OPT_GO)
        status = opt_require(&usage, "--task TASK", args.evaluate.task);
    if (status == OPT_GO)
        status = opt_require(&usage, "--data FILE", args.evaluate.data);
    if (status != OPT_GO)
        return status;
    args.evaluate.f32 = args.precision == PRECISION_F32;
    args.evaluate.shots = shots_of(args.shots);
    job_init(&job, &common);
    status = run(argv[0], &args, &job, common.force, &err);
    return status ? message_failure(&err) : 0;
}
