/* analyze_args.h - the options that say how to measure, shared by analyze and quantize. */
#ifndef RAM_CLI_ANALYZE_ARGS_H
#define RAM_CLI_ANALYZE_ARGS_H

#include "job.h"
#include "opt.h"
#include "ram.h"

#define ANALYZE_ARGS_DEFAULT                                                                       \
    {                                                                                              \
        .seed = 42                                                                                 \
    }

extern const struct opt analyze_args_table[]; /* of a struct ram_analyze_opts */

/* OPT_GO, or 2 after a message. */
int analyze_args_check(const struct ram_analyze_opts *opts, const char *verb);

/* Says so if the partial file of an earlier run is about to be given up. */
void analyze_args_announce(const struct ram_analyze_opts *opts, const struct job *job);

#endif
