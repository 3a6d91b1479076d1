/*
 * card.c - README.md, the model card: the front matter that hubs read, what was done in a table,
 * and how to run the result.
 *
 * Of the source's own card only the licence is taken over; a new card should not repeat what the
 * base model's page says better.
 */
#include "convert/directory.h"

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
    ram_buf_puts(buf, "\nbase_model_relation: quantized\nlibrary_name: mlx\n"
                      "pipeline_tag: text-generation\n");
    add_licence(buf, c->ckpt->dir);
    ram_buf_puts(buf, "tags:\n- mlx\n- ram\n- mixed-precision\n- quantized\n---\n\n");
}

/* ---- the table --------------------------------------------------------------------------------
 */

struct role_row {
    const char *role;
    uint64_t modules, weights, bytes;
    uint64_t by_bits[RAM_N_BITS + 1]; /* weights */
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
        row->by_bits[ram_share_index(module->quantized ? module->affine.bits : 16)] += weights;
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

    for (int b = 0; b <= RAM_N_BITS; b++) {
        const int bits = b < RAM_N_BITS ? ram_bits_grid[b] : 16;
        if (!row->by_bits[b])
            continue;
        ram_buf_printf(buf, "%s%d", first ? "" : ", ", bits);
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
        for (int b = 0; b <= RAM_N_BITS; b++)
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

static void add_body(struct ram_buf *buf, const struct ram_conversion *c)
{
    const struct ram_outline *o = c->outline;
    const char *const name = c->output_name;

    ram_buf_printf(buf, "# %s\n\n", name);
    ram_buf_printf(buf,
                   "`%s`, quantised for MLX with mixed precision by RAM %s. How many bits each "
                   "matrix has was decided from the weights alone, by method `%s`; no calibration "
                   "data was used.\n\n",
                   c->ckpt->name, RAM_VERSION, c->plan->method ? c->plan->method : "unknown");
    ram_buf_printf(buf, "%.3f bits a weight, ",
                   o->parameters ? 8.0 * (double)o->bytes / (double)o->parameters : 0.0);
    add_size(buf, o->bytes);
    ram_buf_puts(buf, " (");
    ram_buf_grouped(buf, o->bytes);
    ram_buf_puts(buf, " bytes of tensors), ");
    ram_buf_grouped(buf, o->parameters);
    ram_buf_puts(buf, " weights.\n\n## What was done\n\n");
    add_table(buf, c);
    ram_buf_puts(buf,
                 "\nThe relative error is the root mean square of (stored - original) over that of "
                 "the original weights, of what is quantised. `ram.json` holds the whole plan, and "
                 "error and checksum of every tensor.\n\nMade with\n\n```\n");
    ram_mlx_command(c, name, buf);
    ram_buf_puts(buf, "\n```\n\nand the plan that `ram.json` holds.\n\n## How to run it\n\n");
    if (!c->carried.tokenizer)
        ram_buf_puts(buf,
                     "The original has no tokenizer, and text cannot be generated without one: "
                     "copy the tokenizer's files into this directory first.\n\n");
    ram_buf_puts(buf, "```\npip install mlx-lm\n");
    ram_buf_printf(buf, "mlx_lm.generate --model %s --prompt \"Once upon a time\"\n```\n", name);
}

int ram_mlx_card(const struct ram_conversion *conversion, char **out, struct ram_err *err)
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
