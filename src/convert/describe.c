/* describe.c - what a conversion writes, or would write, told to a person or a program. */
#include "convert/conversion.h"

#include "base/table.h"
#include "record/emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ram_buf_grouped(struct ram_buf *buf, uint64_t n)
{
    char digits[24];
    const int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < count; i++) {
        if (i && (count - i) % 3 == 0)
            ram_buf_puts(buf, ",");
        ram_buf_add(buf, &digits[i], 1);
    }
}

static json_t *file_entry(const char *name, uint64_t bytes)
{
    return json_pack("{s:o, s:I}", "name", ram_json_string(name), "bytes", (json_int_t)bytes);
}

/* Sizes that are known before and after alike; the card and ram.json hold measured errors, so that
 * their size is known only afterwards. */
static json_t *list_files(const struct ram_conversion *c, struct ram_err *err)
{
    struct ram_made files = ram_made_array();

    for (size_t i = 0; i < c->outline->n_files; i++)
        ram_made_add(&files, file_entry(c->outline->files[i].name, c->outline->files[i].size));
    for (const struct ram_format_text *text = c->format->texts; text->name; text++) {
        char *made = NULL;
        if (text->make(c->outline, &made, err)) {
            json_decref(ram_made_take(&files));
            return NULL;
        }
        ram_made_add(&files, file_entry(text->name, strlen(made)));
        free(made);
    }
    for (size_t i = 0; i < c->carried.n; i++)
        ram_made_add(&files, file_entry(c->carried.files[i].name, c->carried.files[i].size));
    ram_made_add(&files, json_pack("{s:s, s:n}", "name", "README.md", "bytes"));
    ram_made_add(&files, json_pack("{s:s, s:n}", "name", "ram.json", "bytes"));
    return ram_made_take(&files);
}

static json_t *list_fallbacks(const struct ram_conversion *c)
{
    struct ram_made list = ram_made_array();
    for (size_t m = 0; m < c->outline->n_modules; m++) {
        const struct ram_out_module *module = &c->outline->modules[m];
        if (module->fallback)
            ram_made_add(&list, json_pack("{s:s, s:s, s:s}", "module", module->target->module,
                                          "unit", module->unit->name, "stored", module->fallback));
    }
    return ram_made_take(&list);
}

static double effective_bits(const struct ram_outline *outline)
{
    return outline->parameters ? 8.0 * (double)outline->bytes / (double)outline->parameters : 0;
}

static json_t *as_json(const struct ram_conversion *c, struct ram_err *err)
{
    const struct ram_outline *o = c->outline;
    json_t *files = list_files(c, err);
    if (!files)
        return NULL;
    struct ram_made root = ram_made_object();
    ram_made_put(&root, "directory", ram_json_string(c->dir));
    ram_made_put(&root, "dry_run", json_boolean(!c->results));
    ram_made_put(&root, "encoder", json_string(c->encoder->name));
    ram_made_put(&root, "profile", json_string(ram_profile_name(c->opts->profile)));
    ram_made_put(&root, "parameters", json_integer((json_int_t)o->parameters));
    ram_made_put(&root, "bytes", json_integer((json_int_t)o->bytes));
    ram_made_put(&root, "weight_file_bytes", json_integer((json_int_t)o->disk_bytes));
    ram_made_put(&root, "effective_bits", ram_json_real(effective_bits(o)));
    ram_made_put(&root, "relative_error",
                 c->results ? ram_json_real(ram_conversion_error(c)) : json_null());
    if (c->encoded_on)
        ram_made_put(&root, "calibration", json_incref(c->encoded_on));
    ram_made_put(&root, "files", files);
    ram_made_put(&root, "fallbacks", list_fallbacks(c));
    return ram_made_take(&root);
}

static void as_text(const struct ram_conversion *c, json_t *root, enum ram_markup markup,
                    struct ram_buf *buf)
{
    const struct ram_outline *o = c->outline;
    const json_t *files = json_object_get(root, "files");
    const json_t *fallbacks = json_object_get(root, "fallbacks");

    struct ram_table table = {0};

    ram_table_column(&table, "file");
    ram_table_column(&table, ">bytes");
    ram_buf_printf(buf, markup == RAM_MARKDOWN ? "### %s %s\n\n" : "%s %s\n",
                   c->results ? "Wrote" : "Would write", c->dir);
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        const json_t *bytes = json_object_get(file, "bytes");
        struct ram_buf size = {0};
        if (json_is_integer(bytes))
            ram_buf_grouped(&size, (uint64_t)json_integer_value(bytes));
        ram_table_cell(&table, "%s", json_string_value(json_object_get(file, "name")));
        ram_table_cell(&table, "%s", size.data ? size.data : "");
        ram_buf_release(&size);
    }
    ram_table_print(&table, markup, buf);
    ram_table_release(&table);
    ram_buf_puts(buf, markup == RAM_MARKDOWN ? "\nTensors: " : "Tensors: ");
    ram_buf_grouped(buf, o->bytes);
    ram_buf_puts(buf, " bytes, ");
    ram_buf_grouped(buf, o->parameters);
    ram_buf_printf(buf, " weights, %.3f bits per weight; encoder %s, profile %s\n",
                   effective_bits(o), c->encoder->name, ram_profile_name(c->opts->profile));
    if (c->results && o->n_quantized)
        ram_buf_printf(buf, "Weight error: %.2f %% (RMS)\n", 100 * ram_conversion_error(c));
    if (c->encoded_on)
        ram_buf_printf(buf, "Encoded on the calibration text %s (%lld bytes, SHA-256 %s)\n",
                       json_string_value(json_object_get(c->encoded_on, "file")),
                       (long long)json_integer_value(json_object_get(c->encoded_on, "bytes")),
                       json_string_value(json_object_get(c->encoded_on, "sha256")));
    for (size_t i = 0; i < json_array_size(fallbacks); i++) {
        const json_t *entry = json_array_get(fallbacks, i);
        ram_buf_printf(buf,
                       markup == RAM_MARKDOWN ? "\nFallback: `%s`: %s\n" : "Fallback: %s: %s\n",
                       json_string_value(json_object_get(entry, "module")),
                       json_string_value(json_object_get(entry, "stored")));
    }
}

int ram_conversion_describe(const struct ram_conversion *conversion, enum ram_markup markup,
                            char **out, struct ram_err *err)
{
    struct ram_buf buf = {0};

    if (markup == RAM_MARKDOWN && conversion->results)
        return ram_card_text(conversion, out, err);
    json_t *root = as_json(conversion, err);
    if (!root)
        return err->status ? err->status
                           : ram_fail(err, RAM_ENOMEM, "no memory for a description of %s",
                                      conversion->dir);
    if (markup == RAM_JSON)
        return ram_emit_text(root, out, err);
    struct ram_c_locale locale;
    int status = ram_c_locale_enter(&locale, err);
    if (!status) {
        as_text(conversion, root, markup, &buf);
        ram_c_locale_leave(&locale);
        status = ram_buf_take(&buf, out, err);
    }
    json_decref(root);
    return status;
}
