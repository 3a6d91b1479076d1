/* convert_args.h - the options that say how to write, shared by convert and quantize. */
#ifndef RAM_CLI_CONVERT_ARGS_H
#define RAM_CLI_CONVERT_ARGS_H

#include "opt.h"
#include "ram.h"

struct convert_args {
    const char *output;
    const char *format, *encoder, *text;
    int profile; /* index in the choices: enum ram_profile */
    uint64_t shard_size;
    bool dry_run;
};

/* Where to write, and how; both of a struct convert_args. */
extern const struct opt convert_args_table[];
extern const struct opt convert_more_table[];

struct ram_convert_opts convert_args_opts(const struct convert_args *args, bool force);

#endif
