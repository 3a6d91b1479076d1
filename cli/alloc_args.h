/* alloc_args.h - the options that say how to decide bits, shared by allocate and quantize. */
#ifndef RAM_CLI_ALLOC_ARGS_H
#define RAM_CLI_ALLOC_ARGS_H

#include "opt.h"
#include "ram.h"

struct alloc_args {
    struct ram_allocate_opts opts; /* what the options set directly; the rest after _finish */
    struct opt_list protect, sensitive, set;
    const char *weights; /* "svd=.2,kurtosis=.45" */
};

/* How large the result may be; and how to decide. Both of a struct alloc_args. */
extern const struct opt alloc_size_table[];
extern const struct opt alloc_args_table[];

/* Completes opts from the lists and the weights; OPT_GO, or 2 after a message. */
int alloc_args_finish(struct alloc_args *args, const char *verb);
void alloc_args_release(struct alloc_args *args);

#endif
