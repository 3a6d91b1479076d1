/* analyze_args.c - see analyze_args.h. */
#include "analyze_args.h"

#include "message.h"

#define AT(member) offsetof(struct ram_analyze_opts, member)
const struct opt analyze_args_table[] = {
    {"expert-sample", 0, OPT_UNSIGNED, AT(expert_sample), "N",
     "measure only N experts of each layer, spread evenly (default: all)", NULL},
    {"output-probes", 0, OPT_UNSIGNED, AT(output_probes), "N",
     "estimate the metric output from N random columns instead of computing it exactly", NULL},
    {"no-svd", 0, OPT_FLAG, AT(no_svd), NULL,
     "leave out the metric svd, which takes most of the time; methods budget and uniform do not "
     "use "
     "it",
     NULL},
    {"seed", 0, OPT_U64, AT(seed), "S", "random seed (default: 42)", NULL},
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
