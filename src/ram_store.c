/* ram_store.c - ram.h: finished work that is kept beside an output. */
#include "ckpt/subject.h"

int ram_store_open(struct ram_store **out, const char *path, const struct ram_ckpt *ckpt,
                   bool resume, const struct ram_run *run, struct ram_err *err)
{
    struct ram_exec exec;

    *out = NULL;
    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_subject_open(out, path, ckpt, resume, &exec, err);
    ram_exec_end(&exec);
    return status;
}

bool ram_store_close(struct ram_store *store, bool finished)
{
    return ram_store_free(store, finished);
}
