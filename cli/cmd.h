/* cmd.h - the verbs. Each is one file, cmd_<verb>.c, and one line of the table in main.c. */
#ifndef RAM_CLI_CMD_H
#define RAM_CLI_CMD_H

#include <stddef.h>

/* args: everything after "ram" but the verb. Returns the exit code. */
typedef int cmd_fn(char **args, size_t n_args);

cmd_fn cmd_quantize;
cmd_fn cmd_inspect;
cmd_fn cmd_analyze;
cmd_fn cmd_allocate;
cmd_fn cmd_convert;
cmd_fn cmd_verify;
cmd_fn cmd_evaluate;
cmd_fn cmd_compare;
cmd_fn cmd_generate;
cmd_fn cmd_synthesize;
cmd_fn cmd_tokenize;

#endif
