/*
 * effort.h - the efforts: what is probed, on how many tokens, with which encoder, and how long it
 * takes.
 *
 * Work is counted from the shapes in a manifest and divided by this machine's speed, which a matrix
 * product of a few milliseconds measures. The default effort depends only on the
 * model, so that the same command gives the same bytes on every machine.
 */
#ifndef RAM_PROBE_EFFORT_H
#define RAM_PROBE_EFFORT_H

#include "base/pool.h"
#include "record/manifest.h"

/* efforts [3]: fast, normal, best. */
int ram_efforts_plan(const struct ram_manifest *manifest, struct ram_pool *pool,
                     struct ram_effort efforts[RAM_N_EFFORTS], enum ram_effort_level *usual,
                     struct ram_err *err);

/* Name and description of effort i; NULL behind the last. */
const char *ram_effort_at(size_t i, const char **what);

/* Sequences and their length that the effort of this tier probes the model on. */
void ram_effort_tokens(const struct ram_manifest *manifest, struct ram_probe_opts *opts);

#endif
