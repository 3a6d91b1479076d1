/* sidecar.c - ram.json, by which a converted directory explains itself. docs/formats.md lists its
 * keys. Nothing in it depends on the machine, the time or the number of threads. */
#include "convert/conversion.h"

#include "record/emit.h"

#include <stdlib.h>
#include <string.h>

static json_t *shape_of(const struct ram_target *target)
{
    json_t *shape = json_array();
    for (int k = 0; k < target->n_dims; k++)
        json_array_append_new(shape, json_integer((json_int_t)target->shape[k]));
    return shape;
}

static json_t *checksums_of(const struct ram_conversion *c, size_t m)
{
    const struct ram_out_module *module = &c->outline->modules[m];
    json_t *sums = json_object();

    for (size_t k = 0; k < ram_out_module_tensors(module); k++) {
        char text[RAM_CHECKSUM_HEX];
        ram_checksum_text(&c->results[m].sums[k], text);
        json_object_set_new(sums, c->outline->tensors[module->tensor + k].name, json_string(text));
    }
    return sums;
}

static json_t *module_entry(const struct ram_conversion *c, size_t m)
{
    const struct ram_out_module *module = &c->outline->modules[m];
    const struct ram_module_result *result = &c->results[m];
    json_t *entry = json_object();

    json_object_set_new(entry, "name", json_string(c->outline->tensors[module->tensor].name));
    json_object_set_new(entry, "module", json_string(module->target->module));
    json_object_set_new(entry, "unit", json_string(module->unit->name));
    json_object_set_new(entry, "role", json_string(module->unit->role));
    json_object_set_new(entry, "shape", shape_of(module->target));
    json_object_set_new(entry, "dtype", json_string(ram_dtypes[module->target->dtype].name));
    json_object_set_new(entry, "bits", json_integer(module->as.form->bits));
    json_object_set_new(entry, "group", json_integer(module->as.form->group));
    if (module->fallback)
        json_object_set_new(entry, "fallback", json_string(module->fallback));
    json_object_set_new(entry, "bytes",
                        json_integer((json_int_t)ram_out_module_bytes(c->outline, module)));
    json_object_set_new(entry, "relative_error",
                        ram_json_real(ram_relative_error(result->squared_error, result->squared)));
    json_object_set_new(entry, "checksums", checksums_of(c, m));
    return entry;
}

static json_t *source_of(const struct ram_conversion *c)
{
    json_t *files = json_array();
    for (size_t i = 0; i < c->ckpt->n_files; i++)
        json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "name", c->ckpt->files[i].name,
                                               "bytes", (json_int_t)c->ckpt->files[i].map.size,
                                               "header_sha256", c->ckpt->files[i].header_sha256));
    return json_pack("{s:s, s:s, s:o}", "name", c->ckpt->name, "model_type", c->layout->model_type,
                     "files", files);
}

static json_t *settings_of(const struct ram_conversion *c)
{
    json_t *settings = json_pack("{s:s, s:s, s:s, s:I}", "format", c->format->id, "encoder",
                                 c->encoder->name, "profile", ram_profile_name(c->opts->profile),
                                 "shard_size", (json_int_t)c->outline->shard_size);
    if (c->encoder->wants_inputs)
        json_object_set_new(settings, "inputs", c->inputs->settings(c->inputs->ctx));
    if (c->encoded_on)
        json_object_set(settings, "calibration", c->encoded_on);
    else if (ram_plan_calibration(c->plan))
        json_object_set(settings, "calibration",
                        (json_t *)(uintptr_t)ram_plan_calibration(c->plan));
    return settings;
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

    json_t *root = json_object();
    json_t *tensors = json_array();
    json_object_set_new(root, "schema", json_string("ram.converted/1"));
    json_object_set_new(root, "ram", json_string(RAM_VERSION));
    json_object_set_new(root, "source", source_of(c));
    json_object_set_new(root, "settings", settings_of(c));
    json_object_set_new(root, "parameters", json_integer((json_int_t)c->outline->parameters));
    json_object_set_new(root, "bytes", json_integer((json_int_t)c->outline->bytes));
    json_object_set_new(root, "relative_error", ram_json_real(ram_conversion_error(c)));
    for (size_t m = 0; m < c->outline->n_modules; m++)
        json_array_append_new(tensors, module_entry(c, m));
    json_object_set_new(root, "tensors", tensors);
    json_object_set_new(root, "plan", plan);
    return ram_emit_text(root, out, err);
}
