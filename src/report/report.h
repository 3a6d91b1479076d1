/*
 * report.h - records as text, Markdown or JSON.
 *
 * A report reads records and nothing else. Those that set plans beside each other are handed
 * them, since deciding is not a report's business (src/ram_records.c does both).
 */
#ifndef RAM_REPORT_REPORT_H
#define RAM_REPORT_REPORT_H

#include "record/plan.h"

/* One of several plans of one model. */
struct ram_candidate {
    char label[32]; /* "v3-opt", "4-bit g128" */
    bool uniform;
    struct ram_plan *plan;
};

/* What the checkpoint holds, and the sizes it could have. tensors: a line for each of them too. */
int ram_report_manifest(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                        size_t n_candidates, enum ram_form form, bool tensors, char **out,
                        struct ram_err *err);

/* Candidates beside each other, and which uniform one is the best of no more bytes. */
int ram_report_compare(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                       size_t n_candidates, enum ram_form form, char **out, struct ram_err *err);

/* Plans of method budget, from small to large. */
int ram_report_family(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                      size_t n_candidates, enum ram_form form, char **out, struct ram_err *err);

#endif
