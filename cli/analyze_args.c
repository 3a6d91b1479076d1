/* analyze_args.c - see analyze_args.h. */
#include "analyze_args.h"

#include "message.h"

#include <stdlib.h>
#include <unistd.h>

#define AT(member) offsetof(struct ram_analyze_opts, member)
const struct opt analyze_args_table[] = {
    {"expert-sample", 0, OPT_UNSIGNED, AT(expert_sample), "N",
     "score only N experts of a stack, spread evenly (default: all)", NULL},
    {"output-probes", 0, OPT_UNSIGNED, AT(output_probes), "N",
     "sample the `output` metric with N random columns instead of its closed form", NULL},
    {"seed", 0, OPT_U64, AT(seed), "S", "of every random draw (default: 42)", NULL},
    {"resume", 0, OPT_FLAG, AT(resume), NULL, "continue an interrupted run", NULL},
    {0},
};
#undef AT

int analyze_args_check(const struct ram_analyze_opts *opts, const char *verb)
{
    /* To the library 0 means the default, which is not what was typed. */
    if (opts->seed != 0)
        return OPT_GO;
    message("%s: --seed 0: expected a whole number of at least 1", verb);
    return 2;
}

int analyze_args_announce(const struct ram_analyze_opts *opts, const struct ram_ckpt *ckpt,
                          const struct job *job, struct ram_err *err)
{
    struct ram_manifest *survey = NULL;
    char *text = NULL;

    if (opts->partial && !opts->resume && !job->progress.quiet && access(opts->partial, F_OK) == 0)
        message("note: starting over; --resume would have continued from %s", opts->partial);
    if (job->silent || job->form != RAM_TEXT)
        return RAM_OK;
    int status = ram_survey(ckpt, &survey, err);
    if (!status)
        status = ram_manifest_describe(survey, job->form, false, &text, err);
    if (!status)
        result_print(text);
    free(text);
    ram_manifest_free(survey);
    return status;
}
