/* analyze_args.h - the options that say how to measure, shared by analyze and quantize. */
#ifndef RAM_CLI_ANALYZE_ARGS_H
#define RAM_CLI_ANALYZE_ARGS_H

#include "opt.h"
#include "ram.h"

#define ANALYZE_ARGS_DEFAULT                                                                       \
    {                                                                                              \
        .seed = 42                                                                                 \
    }

extern const struct opt analyze_args_table[]; /* of a struct ram_analyze_opts */

/* OPT_GO, or 2 after a message. */
int analyze_args_check(const struct ram_analyze_opts *opts, const char *verb);

#endif
