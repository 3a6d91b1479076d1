/*
 * subject.h - a store of finished work (base/store.h) for a checkpoint: whether what lies in it was
 * measured from these weights.
 */
#ifndef RAM_CKPT_SUBJECT_H
#define RAM_CKPT_SUBJECT_H

#include "base/exec.h"
#include "ckpt/ckpt.h"

/* The contract of ram_store_open. */
int ram_subject_open(struct ram_store **out, const char *path, const struct ram_ckpt *ckpt,
                     bool resume, const struct ram_exec *exec, struct ram_err *err);

#endif
