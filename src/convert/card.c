/*
 * card.c - README.md, the model card: the front matter that hubs read, what was done in a table,
 * and how to run the result.
 *
 * Of the source's own card only the licence is taken over; a new card should not repeat what the
 * base model's page says better.
 */
#include "convert/conversion.h"

#include "record/emit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CARD = 4 << 20, MAX_LINE = 400, MAX_ROLES = 64 };

/* ---- front matter -----------------------------------------------------------------------------
 */

/* Is it one line of plain text, fit to be copied into the front matter? */
static bool harmless(const char *line, size_t size)
{
    if (size > MAX_LINE)
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)line[i] < 0x20)
            return false;
    return true;
}

/* Copies the lines "license: ...", "license_name: ...", "license_link: ..." between the two "---"
 * of the source's card. A card that cannot be read has no licence to tell. */
static void add_licence(struct ram_buf *buf, const char *dir)
{
    struct ram_err ignored = {0};
    char *text = NULL, *path = ram_path_join(dir, "README.md", &ignored);
    size_t size = 0;

    if (!path || ram_file_read(path, MAX_CARD, &text, &size, &ignored))
        goto done;
    const char *line = text;
    for (size_t n = 0; *line; n++) {
        size_t length = strcspn(line, "\n");
        const char *next = line + length + (line[length] != '\0');
        length -= length && line[length - 1] == '\r';
        const bool fence = length == 3 && !memcmp(line, "---", 3);
        if (n == 0 ? !fence : fence)
            break;
        if (!strncmp(line, "license", 7) && harmless(line, length)) {
            ram_buf_add(buf, line, length);
            ram_buf_puts(buf, "\n");
        }
        line = next;
    }
done:
    free(text);
    free(path);
}

static void add_front_matter(struct ram_buf *buf, const struct ram_conversion *c)
{
    ram_buf_puts(buf, "---\nbase_model: ");
    ram_emit_string(buf, c->ckpt->name);
    ram_buf_printf(buf,
                   "\nbase_model_relation: quantized\nlibrary_name: %s\n"
                   "pipeline_tag: text-generation\n",
                   c->format->library);
    add_licence(buf, c->ckpt->dir);
    ram_buf_printf(buf, "tags:\n- %s\n- ram\n- mixed-precision\n- quantized\n---\n\n",
                   c->format->library);
}

/* ---- the table --------------------------------------------------------------------------------
 */

struct role_row {
    const char *role;
    uint64_t modules, weights, bytes;
    uint64_t by_bits[RAM_MAX_BITS + 1]; /* weights */
    double squared_error, squared;
};

static struct role_row *find_role(struct role_row *rows, size_t *n, const char *role)
{
    size_t i = 0;
    while (i < *n && strcmp(rows[i].role, role))
        i++;
    if (i == *n && *n < MAX_ROLES)
        rows[(*n)++] = (struct role_row){.role = role};
    return &rows[i < *n ? i : *n - 1];
}

static size_t collect(const struct ram_conversion *c, struct role_row *rows)
{
    size_t n = 0;

    for (size_t m = 0; m < c->outline->n_modules; m++) {
        const struct ram_out_module *module = &c->outline->modules[m];
        const uint64_t weights = module->rows * module->cols;
        struct role_row *row =
            find_role(rows, &n, module->unit->role ? module->unit->role : "other");
        row->modules++;
        row->weights += weights;
        row->bytes += ram_out_module_bytes(c->outline, module);
        row->by_bits[module->as.form->bits] += weights;
        if (module->quantized && c->results) {
            row->squared_error += c->results[m].squared_error;
            row->squared += c->results[m].squared;
        }
    }
    return n;
}

/* "4" or "4: 83 %, 8: 17 %" */
static void add_widths(struct ram_buf *buf, const struct role_row *row)
{
    bool first = true;

    for (int b = 0; b <= RAM_MAX_BITS; b++) {
        if (!row->by_bits[b])
            continue;
        ram_buf_printf(buf, "%s%d", first ? "" : ", ", b);
        if (row->by_bits[b] != row->weights)
            ram_buf_printf(buf, ": %.3g %%",
                           100.0 * (double)row->by_bits[b] / (double)row->weights);
        first = false;
    }
}

static void add_row(struct ram_buf *buf, const struct role_row *row)
{
    ram_buf_printf(buf, "| %s | ", row->role);
    ram_buf_grouped(buf, row->modules);
    ram_buf_puts(buf, " | ");
    ram_buf_grouped(buf, row->weights);
    ram_buf_puts(buf, " | ");
    add_widths(buf, row);
    ram_buf_puts(buf, " | ");
    ram_buf_grouped(buf, row->bytes);
    if (row->weights)
        ram_buf_printf(buf, " | %.3f | ", 8.0 * (double)row->bytes / (double)row->weights);
    else
        ram_buf_puts(buf, " | | ");
    if (row->squared > 0)
        ram_buf_printf(buf, "%.5f |\n", ram_relative_error(row->squared_error, row->squared));
    else
        ram_buf_puts(buf, "0 |\n");
}

static void add_table(struct ram_buf *buf, const struct ram_conversion *c)
{
    struct role_row rows[MAX_ROLES], all = {.role = "**all**"};
    const size_t n = collect(c, rows);

    ram_buf_puts(buf,
                 "| role | modules | weights | bits | bytes | bits a weight, all bytes counted "
                 "| relative error |\n|---|---:|---:|---|---:|---:|---:|\n");
    for (size_t i = 0; i < n; i++) {
        add_row(buf, &rows[i]);
        all.modules += rows[i].modules;
        all.weights += rows[i].weights;
        all.bytes += rows[i].bytes;
        all.squared_error += rows[i].squared_error;
        all.squared += rows[i].squared;
        for (int b = 0; b <= RAM_MAX_BITS; b++)
            all.by_bits[b] += rows[i].by_bits[b];
    }
    add_row(buf, &all);
}

/* ---- text -------------------------------------------------------------------------------------
 */

/* "5.88 GiB"; small models in MiB. */
static void add_size(struct ram_buf *buf, uint64_t bytes)
{
    if (bytes >= UINT64_C(1) << 30)
        ram_buf_printf(buf, "%.2f GiB", (double)bytes / 0x1p30);
    else
        ram_buf_printf(buf, "%.2f MiB", (double)bytes / 0x1p20);
}

const json_t *ram_plan_calibration(const struct ram_plan *plan)
{
    return json_object_get(json_object_get(plan->settings, "measured"), "calibration");
}

static void add_text_name(struct ram_buf *buf, const json_t *text)
{
    const char *path = json_string_value(json_object_get(text, "file"));
    const char *slash = path ? strrchr(path, '/') : NULL;

    ram_buf_printf(buf, "the calibration text `%s` (%lld bytes, SHA-256 `%s`)",
                   slash  ? slash + 1
                   : path ? path
                          : "?",
                   (long long)json_integer_value(json_object_get(text, "bytes")),
                   json_string_value(json_object_get(text, "sha256")));
}

/* By what the widths were decided and the weights encoded, and whether any data was needed. */
static void add_origin(struct ram_buf *buf, const struct ram_conversion *c)
{
    const json_t *settings = c->plan->settings, *decided_by = ram_plan_calibration(c->plan);
    const char *tier = json_string_value(json_object_get(settings, "tier"));
    const bool probed = tier && !strncmp(tier, "probed", 6);
    const char *method = c->plan->method && *c->plan->method ? c->plan->method : "unknown";

    const bool by_text = probed && decided_by;

    ram_buf_printf(buf, "Bit widths were chosen by RAM's method `%s`, from the weights", method);
    if (by_text) {
        ram_buf_puts(buf, " and from ");
        add_text_name(buf, decided_by);
    } else {
        ram_buf_puts(buf, probed ? " and from text that the model generated itself" : " alone");
    }
    ram_buf_puts(buf, by_text || c->encoded_on ? "." : "; no calibration data was used.");
    if (json_is_true(json_object_get(settings, "fell_back")))
        ram_buf_puts(buf, " The budget method was asked for, but on unseen text this plain uniform "
                          "width did better.");
    if (c->encoder->wants_inputs) {
        ram_buf_printf(buf, " The encoder `%s` used ", c->encoder->name);
        if (c->encoded_on)
            add_text_name(buf, c->encoded_on);
        else
            ram_buf_puts(buf, "text that the model generated itself");
        ram_buf_puts(buf, ".");
    }
    ram_buf_puts(buf, "\n\n");
}

static void add_prediction(struct ram_buf *buf, const struct ram_conversion *c)
{
    const double kld = ram_plan_predicted(c->plan, "kld");
    const double uniform = ram_plan_predicted(c->plan, "kld_uniform");
    const char *name = json_string_value(json_object_get(c->plan->predicted, "uniform"));
    enum ram_plan_origin origin = RAM_PLAN_UNSEALED;
    struct ram_err ignored = {0};

    if (ram_plan_origin(c->plan, &origin, &ignored) || origin == RAM_PLAN_EDITED || isnan(kld))
        return;
    ram_buf_printf(buf, "Predicted KL divergence from the original: %.3g nats/token", kld);
    if (isfinite(uniform) && name)
        ram_buf_printf(buf, " (plain %s, the best uniform option of this size: %.3g)", name,
                       uniform);
    ram_buf_puts(buf, ".\n\n");
}

static void add_command(struct ram_buf *buf, const struct ram_conversion *c)
{
    struct ram_buf command = {0};
    const enum ram_remade how = ram_command_text(c, c->output_name, &command);

    if (how == RAM_REMADE_FROM_PLAN)
        ram_buf_puts(buf,
                     "The plan was edited by hand after it was decided, so that no option makes "
                     "it again. It is the member `plan` of `ram.json`; saved as `plan.json`, "
                     "it makes this directory with\n\n```\n");
    else
        ram_buf_puts(buf, "Made with\n\n```\n");
    ram_buf_puts(buf, command.data ? command.data : "");
    ram_buf_puts(buf, "\n```\n\n");
    if (how == RAM_REMADE_PERHAPS)
        ram_buf_puts(buf, "if the plan was not edited. ");
    if (how != RAM_REMADE_FROM_PLAN)
        ram_buf_puts(buf, "`ram.json` holds the plan itself.\n\n");
    ram_buf_release(&command);
}

/* What the self-check tells stands in front of it. */
static const char first_section[] = "## What was done\n\n";

static void add_body(struct ram_buf *buf, const struct ram_conversion *c)
{
    const struct ram_outline *o = c->outline;
    const char *const name = c->output_name;

    ram_buf_printf(buf, "# %s\n\n", name);
    ram_buf_printf(buf, "`%s`, quantised for %s with mixed precision by RAM %s. ", c->ckpt->name,
                   c->format->target, RAM_VERSION);
    add_origin(buf, c);
    ram_buf_printf(buf, "%.3f bits/weight, ",
                   o->parameters ? 8.0 * (double)o->bytes / (double)o->parameters : 0.0);
    add_size(buf, o->bytes);
    ram_buf_puts(buf, " (");
    ram_buf_grouped(buf, o->bytes);
    ram_buf_puts(buf, " bytes of tensors), ");
    ram_buf_grouped(buf, o->parameters);
    ram_buf_puts(buf, " weights.\n\n");
    add_prediction(buf, c);
    ram_buf_puts(buf, first_section);
    add_table(buf, c);
    ram_buf_puts(buf, "\nThe relative error is RMS(quantised - original) / RMS(original), of the "
                      "quantised tensors only. `ram.json` holds the whole plan, and the error and "
                      "checksum of every tensor.\n\n");
    add_command(buf, c);
    ram_buf_puts(buf, "## How to run it\n\n");
    if (!c->carried.tokenizer)
        ram_buf_puts(buf,
                     "The original has no tokenizer, and text cannot be generated without one: "
                     "copy the tokenizer's files into this directory first.\n\n");
    c->format->usage(buf, name);
}

int ram_card_text(const struct ram_conversion *conversion, char **out, struct ram_err *err)
{
    struct ram_buf buf = {0};
    struct ram_c_locale locale;

    const int status = ram_c_locale_enter(&locale, err);
    if (status)
        return status;
    add_front_matter(&buf, conversion);
    add_body(&buf, conversion);
    ram_c_locale_leave(&locale);
    return ram_buf_take(&buf, out, err);
}

/* ---- the self-check ----------------------------------------------------------------------- */

/* At the beginning of a line: lines that come from elsewhere begin otherwise. */
static const char check_begins[] = "\nEstimated on the model's own text";

/* Two digits: what instruction sets differ by must not show. */
static void add_figure(struct ram_buf *buf, double mean, double error)
{
    ram_buf_printf(buf, "%.2g nats/token", mean);
    if (isfinite(error))
        ram_buf_printf(buf, " (%.2g to %.2g)", fmax(0, mean - 2 * error), mean + 2 * error);
}

/* The paragraph; after a fallback the directory holds the uniform width. */
static void add_check(struct ram_buf *buf, const struct ram_kld_check *c, bool fell_back)
{
    ram_buf_printf(buf, "%s, ", check_begins + 1);
    ram_buf_grouped(buf, c->tokens);
    ram_buf_puts(buf, " tokens that decided nothing: KL divergence ");
    add_figure(buf, fell_back ? c->kld_uniform : c->kld,
               fell_back ? c->kld_uniform_error : c->kld_error);
    if (!fell_back && isfinite(c->kld_uniform)) {
        ram_buf_printf(buf, "; plain %d-bit g%d ", c->uniform_bits, c->uniform_group);
        add_figure(buf, c->kld_uniform, c->kld_uniform_error);
    }
    ram_buf_puts(buf, ". Intervals are two standard errors either way.\n\n");
}

int ram_card_add_check(const char *dir, const struct ram_kld_check *check, bool fell_back,
                       struct ram_err *err)
{
    char *text = NULL, *path = ram_path_join(dir, "README.md", err);
    struct ram_c_locale locale;
    struct ram_buf buf = {0};
    size_t size = 0;

    int status = path ? ram_file_read(path, MAX_CARD, &text, &size, err) : RAM_ENOMEM;
    const char *section = status ? NULL : strstr(text, first_section);
    if (!section)
        goto done;
    const char *earlier = strstr(text, check_begins);
    earlier = earlier && earlier < section ? earlier + 1 : section;
    ram_buf_add(&buf, text, (size_t)(earlier - text));
    status = ram_c_locale_enter(&locale, err);
    if (status)
        goto done;
    add_check(&buf, check, fell_back);
    ram_c_locale_leave(&locale);
    ram_buf_puts(&buf, section);
    status = buf.failed ? ram_fail(err, RAM_ENOMEM, "no memory for the model card")
                        : ram_file_write(path, buf.data, buf.size, true, err);
done:
    ram_buf_release(&buf);
    free(text);
    free(path);
    return status;
}
