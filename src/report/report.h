/*
 * report.h - records as text, Markdown or JSON.
 *
 * A report reads only records. Reports that compare plans get the plans as arguments, because a
 * report does not decide anything: allocate/candidates.h makes them.
 */
#ifndef RAM_REPORT_REPORT_H
#define RAM_REPORT_REPORT_H

#include "record/plan.h"

/* What the checkpoint contains, and its sizes under uniform quantisation. tensors: one line for
 * each tensor, too. */
int ram_report_manifest(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                        size_t n_candidates, enum ram_markup markup, bool tensors, char **out,
                        struct ram_err *err);

/* A table of candidates, each with its rival. */
int ram_report_compare(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                       size_t n_candidates, enum ram_markup markup, char **out,
                       struct ram_err *err);

/* Plans of method budget, from small to large. */
int ram_report_family(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                      size_t n_candidates, enum ram_markup markup, char **out, struct ram_err *err);

#endif
