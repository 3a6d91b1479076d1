/* sidecar.c - ram.json, by which a converted directory explains itself. docs/formats.md lists its
 * keys. Nothing in it depends on the machine, the time or the number of threads. */
#include "convert/conversion.h"

#include "record/emit.h"

#include <stdlib.h>
#include <string.h>

static json_t *shape_of(const struct ram_target *target)
{
    struct ram_made shape = ram_made_array();
    for (int k = 0; k < target->n_dims; k++)
        ram_made_add(&shape, json_integer((json_int_t)target->shape[k]));
    return ram_made_take(&shape);
}

static json_t *checksums_of(const struct ram_conversion *c, size_t m)
{
    const struct ram_out_module *module = &c->outline->modules[m];
    struct ram_made sums = ram_made_object();

    for (size_t k = 0; k < ram_out_module_tensors(module); k++) {
        char text[RAM_CHECKSUM_HEX];
        ram_checksum_text(&c->results[m].sums[k], text);
        ram_made_put(&sums, c->outline->tensors[module->tensor + k].name, json_string(text));
    }
    return ram_made_take(&sums);
}

static json_t *module_entry(const struct ram_conversion *c, size_t m)
{
    const struct ram_out_module *module = &c->outline->modules[m];
    const struct ram_module_result *result = &c->results[m];
    struct ram_made entry = ram_made_object();

    ram_made_put(&entry, "name", json_string(c->outline->tensors[module->tensor].name));
    ram_made_put(&entry, "module", json_string(module->target->module));
    ram_made_put(&entry, "unit", json_string(module->unit->name));
    ram_made_put(&entry, "role", json_string(module->unit->role));
    ram_made_put(&entry, "shape", shape_of(module->target));
    ram_made_put(&entry, "dtype", json_string(ram_dtypes[module->target->dtype].name));
    ram_made_put(&entry, "bits", json_integer(module->as.form->bits));
    ram_made_put(&entry, "group", json_integer(module->as.form->group));
    if (!ram_form_is_plain(module->as.form))
        ram_made_put(&entry, "form", json_string(module->as.form->id));
    if (module->fallback)
        ram_made_put(&entry, "fallback", json_string(module->fallback));
    ram_made_put(&entry, "bytes",
                 json_integer((json_int_t)ram_out_module_bytes(c->outline, module)));
    ram_made_put(&entry, "relative_error",
                 ram_json_real(ram_relative_error(result->squared_error, result->squared)));
    ram_made_put(&entry, "checksums", checksums_of(c, m));
    return ram_made_take(&entry);
}

static json_t *source_of(const struct ram_conversion *c)
{
    struct ram_made files = ram_made_array();
    for (size_t i = 0; i < c->ckpt->n_files; i++)
        ram_made_add(&files,
                     json_pack("{s:o, s:I, s:s}", "name", ram_json_string(c->ckpt->files[i].name),
                               "bytes", (json_int_t)c->ckpt->files[i].map.size, "header_sha256",
                               c->ckpt->files[i].header_sha256));
    return json_pack("{s:o, s:s, s:o}", "name", ram_json_string(c->ckpt->name), "model_type",
                     c->layout->model_type, "files", ram_made_take(&files));
}

static json_t *settings_of(const struct ram_conversion *c)
{
    struct ram_made settings = ram_made_from(json_pack(
        "{s:s, s:s, s:s, s:I}", "format", c->format->id, "encoder", c->encoder->name, "profile",
        ram_profile_name(c->opts->profile), "shard_size", (json_int_t)c->outline->shard_size));
    if (c->encoder->wants_inputs)
        ram_made_put(&settings, "inputs", c->inputs->settings(c->inputs->ctx));
    if (c->encoded_on)
        ram_made_put(&settings, "calibration", json_incref(c->encoded_on));
    else if (ram_plan_calibration(c->plan))
        ram_made_put(&settings, "calibration",
                     json_incref((json_t *)(uintptr_t)ram_plan_calibration(c->plan)));
    return ram_made_take(&settings);
}

static int plan_of(const struct ram_conversion *c, json_t **out, struct ram_err *err)
{
    char *text = NULL;
    int status = ram_plan_text(c->plan, &text, err);
    if (!status)
        status = ram_json_parse(out, text, strlen(text), "plan", err);
    free(text);
    return status;
}

double ram_conversion_error(const struct ram_conversion *c)
{
    double squared_error = 0, squared = 0;

    for (size_t m = 0; c->results && m < c->outline->n_modules; m++) {
        if (!c->outline->modules[m].quantized)
            continue;
        squared_error += c->results[m].squared_error;
        squared += c->results[m].squared;
    }
    return ram_relative_error(squared_error, squared);
}

int ram_sidecar_text(const struct ram_conversion *c, char **out, struct ram_err *err)
{
    json_t *plan = NULL;
    int status = plan_of(c, &plan, err);
    if (status)
        return status;

    struct ram_made root = ram_made_object();
    struct ram_made tensors = ram_made_array();
    ram_made_put(&root, "schema", json_string("ram.converted/1"));
    ram_made_put(&root, "ram", json_string(RAM_VERSION));
    ram_made_put(&root, "source", source_of(c));
    ram_made_put(&root, "settings", settings_of(c));
    ram_made_put(&root, "parameters", json_integer((json_int_t)c->outline->parameters));
    ram_made_put(&root, "bytes", json_integer((json_int_t)c->outline->bytes));
    ram_made_put(&root, "relative_error", ram_json_real(ram_conversion_error(c)));
    for (size_t m = 0; m < c->outline->n_modules; m++)
        ram_made_add(&tensors, module_entry(c, m));
    ram_made_put(&root, "tensors", ram_made_take(&tensors));
    ram_made_put(&root, "plan", plan);
    return ram_emit_text(ram_made_take(&root), out, err);
}
