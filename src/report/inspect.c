/* inspect.c - what a checkpoint holds and what sizes it could have. */
#include "base/table.h"
#include "record/emit.h"
#include "report/numbers.h"
#include "report/report.h"
#include "report/roles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DTYPES = 24 };

struct digest {
    struct ram_roles roles;      /* of what the output stores */
    struct ram_role_row dropped; /* the rest ... */
    struct ram_role_row scales; /* ... but the scales of FP8 weights, which are applied when read */
    const char *dtypes[MAX_DTYPES];
    struct ram_share by_dtype[MAX_DTYPES];
    size_t n_dtypes, n_measured, n_scored;
    uint64_t bytes; /* of all tensors in the source */
    int layers, experts;
    uint64_t expert_parameters;
};

static void count_dtype(struct digest *digest, const struct ram_entry *entry)
{
    size_t i = 0;

    while (i < digest->n_dtypes && strcmp(digest->dtypes[i], entry->dtype) != 0)
        i++;
    if (i == MAX_DTYPES)
        return; /* more than the format has */
    if (i == digest->n_dtypes)
        digest->dtypes[digest->n_dtypes++] = entry->dtype;
    digest->by_dtype[i].parameters += entry->parameters;
    digest->by_dtype[i].tensors++;
}

/* Weights by the bits of their codes; all floats count as 16. */
static void count_width(struct ram_role_row *role, const struct ram_entry *entry)
{
    const int bits = entry->source.bits > 8 ? 16 : entry->source.bits;

    if (bits < 0 || entry->source.part)
        return;
    role->shares[bits].parameters += entry->parameters;
    role->shares[bits].tensors++;
}

static int digest_manifest(const struct ram_manifest *manifest, struct digest *digest,
                           struct ram_err *err)
{
    for (size_t i = 0; i < manifest->n_entries; i++) {
        const struct ram_entry *const entry = &manifest->entries[i];
        struct ram_role_row *role = &digest->dropped;
        if (entry->n_stored)
            role = ram_roles_at(&digest->roles, entry->role, entry->expert >= 0, err);
        else if (entry->source.scales)
            role = &digest->scales;
        if (!role)
            return RAM_ENOMEM;
        role->tensors += !(manifest->coded && entry->source.part);
        role->parameters += entry->parameters;
        role->bytes += manifest->coded ? entry->source.bytes
                                       : entry->parameters * (uint64_t)entry->stored_size;
        digest->bytes += entry->source.bytes;
        count_width(role, entry);
        count_dtype(digest, entry);
        digest->n_measured += entry->measured;
        digest->n_scored += entry->skip == RAM_SKIP_NONE;
        if (!entry->n_stored)
            continue;
        digest->layers = entry->layer >= digest->layers ? entry->layer + 1 : digest->layers;
        digest->experts = entry->expert >= digest->experts ? entry->expert + 1 : digest->experts;
        digest->expert_parameters += entry->expert >= 0 ? entry->parameters : 0;
    }
    ram_roles_sort(&digest->roles);
    return RAM_OK;
}

/* "4 and 8 bits, groups of 64" is what a person wants to know first of coded weights. */
static void put_widths(const struct ram_role_row *role, struct ram_buf *out)
{
    uint64_t all = 0;
    size_t n = 0;

    for (int b = ram_form_next_bits(0); b; b = ram_form_next_bits(b))
        all += role->shares[b].parameters;
    for (int b = ram_form_next_bits(0); b && all; b = ram_form_next_bits(b)) {
        const uint64_t own = role->shares[b].parameters;
        if (!own)
            continue;
        ram_buf_printf(out, "%s%d", n++ ? ", " : "", b);
        if (own != all)
            ram_buf_printf(out, " (%s %%)", ram_number_percent((double)own, (double)all).s);
    }
}

/* ---- text and Markdown --------------------------------------------------------------------------
 */

/* Of a survey: scales and biases included, headers not, as plans count. A manifest that was read
 * from a file does not know; then the files are divided. */
static double bits_per_weight(const struct ram_manifest *m, const struct digest *digest)
{
    const uint64_t bytes = digest->bytes ? digest->bytes : m->bytes;
    return m->parameters ? (double)bytes * 8 / (double)m->parameters : 0;
}

static void put_facts(const struct ram_manifest *m, const struct digest *digest,
                      enum ram_markup markup, struct ram_buf *out)
{
    struct ram_buf dtypes = {0};
    struct ram_table table = {0};

    ram_table_column(&table, markup == RAM_MARKDOWN ? "model" : "");
    ram_table_column(&table, markup == RAM_MARKDOWN ? m->model_name : "");
    ram_table_cell(&table, "architecture");
    ram_table_cell(&table, "%s%s%s", m->model_type, *m->architecture ? ", " : "", m->architecture);
    ram_table_cell(&table, "parameters");
    ram_table_cell(&table, "%s (%s)", ram_number_count(m->parameters).s,
                   ram_number_short(m->parameters).s);
    if (m->coding) {
        ram_table_cell(&table, "coding");
        ram_table_cell(&table, "%s", m->coding);
    }
    if (m->coded && m->parameters) {
        ram_table_cell(&table, "bits a weight");
        ram_table_cell(&table, "%.2f", bits_per_weight(m, digest));
    }
    ram_table_cell(&table, "weight files");
    ram_table_cell(&table, "%s (%s), %s bytes in %zu file%s", ram_number_binary(m->bytes).s,
                   ram_number_decimal(m->bytes).s, ram_number_count(m->bytes).s, m->n_files,
                   m->n_files == 1 ? "" : "s");
    for (size_t i = 0; i < digest->n_dtypes; i++)
        ram_buf_printf(&dtypes, "%s%s %s", i ? ", " : "", digest->dtypes[i],
                       ram_number_count(digest->by_dtype[i].tensors).s);
    ram_table_cell(&table, "tensors");
    ram_table_cell(&table, "%s: %s", ram_number_count(m->n_entries).s,
                   dtypes.data ? dtypes.data : "none");
    ram_buf_release(&dtypes);
    ram_table_cell(&table, "layers");
    ram_table_cell(&table, "%d", digest->layers);
    if (digest->experts) {
        ram_table_cell(&table, "experts");
        ram_table_cell(
            &table, "%d, %s %% of all parameters", digest->experts,
            ram_number_percent((double)digest->expert_parameters, (double)m->parameters).s);
    }
    if (digest->scales.tensors) {
        ram_table_cell(&table, "scales");
        ram_table_cell(&table, "%s tensors: scales of FP8 weights; applied when read",
                       ram_number_count(digest->scales.tensors).s);
    }
    if (digest->dropped.tensors) {
        ram_table_cell(&table, "left out");
        ram_table_cell(&table, "%s tensors, %s parameters: the output has no place for them",
                       ram_number_count(digest->dropped.tensors).s,
                       ram_number_short(digest->dropped.parameters).s);
    }
    if (digest->n_measured) { /* a survey measures nothing, and that is no finding */
        ram_table_cell(&table, "measured");
        ram_table_cell(&table, "%s of %s matrices", ram_number_count(digest->n_measured).s,
                       ram_number_count(digest->n_scored).s);
    }
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

/* coded: a column of widths, too. */
static void put_roles(const struct digest *digest, bool coded, enum ram_markup markup,
                      struct ram_buf *out)
{
    const char *heads[] = {"role", ">tensors", ">parameters", ">%", NULL, ">bits"};
    struct ram_table table = {0};
    struct ram_role_row all = {.name = "all"};
    char size[8];

    for (size_t i = 0; i < digest->roles.n; i++) {
        all.tensors += digest->roles.items[i].tensors;
        all.parameters += digest->roles.items[i].parameters;
        all.bytes += digest->roles.items[i].bytes;
        for (int k = 0; k <= RAM_MAX_BITS; k++)
            all.shares[k].parameters += digest->roles.items[i].shares[k].parameters;
    }
    snprintf(size, sizeof size, ">%s", ram_number_unit(all.bytes));
    heads[4] = size;
    for (size_t i = 0; i < sizeof heads / sizeof *heads - !coded; i++)
        ram_table_column(&table, heads[i]);
    for (size_t i = 0; i <= digest->roles.n; i++) {
        const struct ram_role_row *const r = i < digest->roles.n ? &digest->roles.items[i] : &all;
        if (r == &all)
            ram_table_rule(&table);
        ram_table_cell(&table, "%s", r->name);
        ram_table_cell(&table, "%s", ram_number_count(r->tensors).s);
        ram_table_cell(&table, "%s", ram_number_count(r->parameters).s);
        ram_table_cell(&table, "%s",
                       ram_number_percent((double)r->parameters, (double)all.parameters).s);
        ram_table_cell(&table, "%s", ram_number_in_unit(r->bytes, all.bytes).s);
        if (coded) {
            struct ram_buf widths = {0};
            put_widths(r, &widths);
            ram_table_cell(&table, "%s", widths.data ? widths.data : "");
            ram_buf_release(&widths);
        }
    }
    ram_table_heading(out, markup, "By role");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

static void put_sizes(const struct ram_candidate *candidates, size_t n, enum ram_markup markup,
                      struct ram_buf *out)
{
    static const char *const heads[] = {"method", ">effective bits", ">size", ">compression"};
    struct ram_table table = {0};

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        ram_table_column(&table, heads[i]);
    for (size_t i = 0; i < n; i++) {
        const struct ram_totals *const t = &candidates[i].plan->totals;
        if (i && candidates[i].uniform != candidates[i - 1].uniform)
            ram_table_rule(&table);
        ram_table_cell(&table, "%s", candidates[i].label);
        ram_table_cell(&table, "%.2f", t->effective_bits);
        ram_table_cell(&table, "%s", ram_number_binary(t->bytes).s);
        ram_table_cell(&table, "%.2f x", t->compression);
    }
    ram_table_heading(out, markup, "Sizes it could have");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

static void put_shape(struct ram_table *table, const struct ram_entry *entry)
{
    struct ram_buf shape = {0};

    for (int i = 0; i < entry->n_dims; i++)
        ram_buf_printf(&shape, "%s%llu", i ? " x " : "", (unsigned long long)entry->shape[i]);
    ram_table_cell(table, "%s", shape.data ? shape.data : "");
    ram_buf_release(&shape);
}

static void put_tensors(const struct ram_manifest *m, bool measured, enum ram_markup markup,
                        struct ram_buf *out)
{
    static const char *const heads[] = {"tensor", "shape",     "dtype",   "role",
                                        ">svd",   ">kurtosis", ">output", ">error"};
    struct ram_table table = {0};

    for (size_t i = 0; i < (measured ? 8 : 4); i++)
        ram_table_column(&table, heads[i]);
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct ram_entry *const e = &m->entries[i];
        const double metrics[] = {e->metrics.svd, e->metrics.kurtosis, e->metrics.output,
                                  e->metrics.error};
        ram_table_cell(&table, "%s", e->name);
        put_shape(&table, e);
        ram_table_cell(&table, "%s", e->dtype);
        ram_table_cell(&table, "%s%s%s%s", e->role, e->skip ? " (" : "",
                       e->skip ? ram_skip_name(e->skip) : "", e->skip ? ")" : "");
        for (size_t k = 0; measured && k < 4; k++) {
            if (e->measured)
                ram_table_cell(&table, "%.4f", metrics[k]);
            else
                ram_table_cell(&table, "%s", "");
        }
    }
    ram_table_heading(out, markup, "Tensors");
    ram_table_print(&table, markup, out);
    ram_table_release(&table);
}

/* ---- JSON
 * ----------------------------------------------------------------------------------------- */

static json_t *role_json(const struct ram_role_row *r)
{
    return json_pack("{ss sI sI sI}", "role", r->name, "tensors", (json_int_t)r->tensors,
                     "parameters", (json_int_t)r->parameters, "bytes", (json_int_t)r->bytes);
}

static json_t *tensor_json(const struct ram_entry *e)
{
    struct ram_made shape = ram_made_array();

    for (int i = 0; i < e->n_dims; i++)
        ram_made_add(&shape, json_integer((json_int_t)e->shape[i]));
    struct ram_made tensor = ram_made_from(
        json_pack("{ss so ss sI ss ss ss ss?}", "name", e->name, "shape", ram_made_take(&shape),
                  "dtype", e->dtype, "parameters", (json_int_t)e->parameters, "file", e->file,
                  "role", e->role, "unit", e->unit, "skip", ram_skip_name(e->skip)));
    json_t *const metrics =
        e->measured
            ? json_pack("{so so so so}", "svd", ram_json_real(e->metrics.svd), "kurtosis",
                        ram_json_real(e->metrics.kurtosis), "output",
                        ram_json_real(e->metrics.output), "error", ram_json_real(e->metrics.error))
            : json_null();
    ram_made_put(&tensor, "metrics", metrics);
    return ram_made_take(&tensor);
}

static json_t *tensors_json(const struct ram_manifest *m)
{
    struct ram_made list = ram_made_array();

    for (size_t i = 0; i < m->n_entries; i++)
        ram_made_add(&list, tensor_json(&m->entries[i]));
    return ram_made_take(&list);
}

static json_t *manifest_json(const struct ram_manifest *m, const struct digest *digest,
                             const struct ram_candidate *candidates, size_t n, bool tensors)
{
    struct ram_made dtypes = ram_made_object(), roles = ram_made_array();
    struct ram_made sizes = ram_made_array();

    for (size_t i = 0; i < digest->n_dtypes; i++)
        ram_made_put(&dtypes, digest->dtypes[i],
                     json_integer((json_int_t)digest->by_dtype[i].tensors));
    for (size_t i = 0; i < digest->roles.n; i++)
        ram_made_add(&roles, role_json(&digest->roles.items[i]));
    for (size_t i = 0; i < n; i++) {
        const struct ram_totals *const t = &candidates[i].plan->totals;
        ram_made_add(&sizes, json_pack("{ss sI so so}", "method", candidates[i].label, "bytes",
                                       (json_int_t)t->bytes, "gib",
                                       ram_json_real((double)t->bytes / (1 << 30)),
                                       "effective_bits", ram_json_real(t->effective_bits)));
    }
    struct ram_made root = ram_made_from(json_pack(
        "{ss ss ss sI sI sI sI si si sI so so so}", "name", m->model_name, "model_type",
        m->model_type, "architecture", m->architecture, "parameters", (json_int_t)m->parameters,
        "bytes", (json_int_t)m->bytes, "files", (json_int_t)m->n_files, "tensors",
        (json_int_t)m->n_entries, "layers", digest->layers, "experts", digest->experts, "measured",
        (json_int_t)digest->n_measured, "dtypes", ram_made_take(&dtypes), "roles",
        ram_made_take(&roles), "sizes", ram_made_take(&sizes)));
    ram_made_put(&root, "coding", m->coding ? json_string(m->coding) : json_null());
    ram_made_put(&root, "bits_per_weight", ram_json_real(bits_per_weight(m, digest)));
    ram_made_put(&root, "obstacle", m->obstacle ? json_string(m->obstacle) : json_null());
    if (tensors)
        ram_made_put(&root, "tensor_list", tensors_json(m));
    return ram_made_take(&root);
}

int ram_report_manifest(const struct ram_manifest *manifest, const struct ram_candidate *candidates,
                        size_t n_candidates, enum ram_markup markup, bool tensors, char **out,
                        struct ram_err *err)
{
    struct digest *const digest = ram_calloc(1, sizeof *digest, err);
    struct ram_buf text = {0};

    int status = digest ? digest_manifest(manifest, digest, err) : RAM_ENOMEM;
    if (status)
        goto done;
    if (markup == RAM_JSON) {
        status = ram_emit_text(manifest_json(manifest, digest, candidates, n_candidates, tensors),
                               out, err);
        goto done;
    }
    ram_buf_printf(&text, markup == RAM_MARKDOWN ? "## %s\n\n" : "%s\n\n", manifest->model_name);
    put_facts(manifest, digest, markup, &text);
    put_roles(digest, manifest->coded, markup, &text);
    if (n_candidates)
        put_sizes(candidates, n_candidates, markup, &text);
    if (manifest->obstacle)
        ram_buf_printf(&text, "\nIt cannot be converted: %s.\n", manifest->obstacle);
    if (tensors)
        put_tensors(manifest, digest->n_measured > 0, markup, &text);
    status = ram_buf_take(&text, out, err);
done:
    if (digest)
        ram_roles_release(&digest->roles);
    free(digest);
    return status;
}
