/*
 * ram_records.c - the parts of ram.h that show several plans of the same manifest. The allocator
 * makes them and the reports print them; neither depends on the other.
 */
#include "allocate/candidates.h"
#include "report/report.h"

int ram_allocate_compare(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                         enum ram_markup markup, char **out, struct ram_err *err)
{
    struct ram_candidates all = {0};

    int status = ram_candidates_methods(&all, manifest, opts, err);
    if (!status)
        status = ram_report_compare(manifest, all.items, all.n, markup, out, err);
    ram_candidates_release(&all);
    return status;
}

int ram_allocate_family(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                        enum ram_markup markup, char **out, struct ram_err *err)
{
    struct ram_candidates all = {0};

    int status = ram_candidates_family(&all, manifest, opts, err);
    if (!status)
        status = ram_report_family(manifest, all.items, all.n, markup, out, err);
    ram_candidates_release(&all);
    return status;
}

int ram_manifest_describe(const struct ram_manifest *manifest, enum ram_markup markup, bool tensors,
                          char **out, struct ram_err *err)
{
    struct ram_candidates all = {0};

    int status = ram_candidates_sizes(&all, manifest, err);
    if (!status)
        status = ram_report_manifest(manifest, all.items, all.n, markup, tensors, out, err);
    ram_candidates_release(&all);
    return status;
}
