/* score.c - see score.h. */
#include "record/score.h"

#include "base/file.h"
#include "record/field.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA "ram.score/1"

enum { MAX_SCORE = 256 * 1024 * 1024 };

int ram_score_new(struct ram_score **out, struct ram_err *err)
{
    *out = ram_calloc(1, sizeof **out, err);
    if (!*out)
        return RAM_ENOMEM;
    (*out)->settings = json_object();
    (*out)->machine = json_object();
    (*out)->results = json_object();
    if ((*out)->settings && (*out)->machine && (*out)->results)
        return RAM_OK;
    ram_score_free(*out);
    *out = NULL;
    return ram_fail(err, RAM_ENOMEM, "no memory for a score");
}

void ram_score_free(struct ram_score *score)
{
    if (!score)
        return;
    json_decref(score->settings);
    json_decref(score->machine);
    json_decref(score->results);
    ram_arena_release(&score->arena);
    free(score);
}

/* ---- writing ---------------------------------------------------------------------------- */

static json_t *model_value(const struct ram_score_model *model)
{
    if (!model->bytes)
        return json_null();
    return json_pack("{s:s, s:I, s:o, s:s}", "path", model->path, "bytes", (json_int_t)model->bytes,
                     "effective_bits", ram_json_real(model->effective_bits), "sha256",
                     model->header_sha256);
}

int ram_score_text(const struct ram_score *score, char **out, struct ram_err *err)
{
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:O, s:O, s:O, s:I, s:o, s:o}", "schema", SCHEMA,
                  "ram", score->version, "task", score->task, "model", model_value(&score->model),
                  "reference", model_value(&score->reference), "settings", score->settings,
                  "machine", score->machine, "results", score->results, "peak_memory_bytes",
                  (json_int_t)score->peak_memory_bytes, "seconds", ram_json_real(score->seconds),
                  "tokens_per_second", ram_json_real(score->tokens_per_second));
    const int status = root ? ram_json_text(root, 2, false, out, err)
                            : ram_fail(err, RAM_ENOMEM, "no memory for a score's text");
    json_decref(root);
    return status;
}

/* ---- reading ---------------------------------------------------------------------------- */

static int read_string(struct ram_score *score, const json_t *obj, const char *key,
                       const char **out, const char *where, struct ram_err *err)
{
    const char *s;
    const int status = ram_json_get_string(obj, key, &s, where, err);
    if (status)
        return status;
    *out = ram_arena_strdup(&score->arena, s, err);
    return *out ? RAM_OK : RAM_ENOMEM;
}

static int read_model(struct ram_score *score, const json_t *root, const char *key,
                      struct ram_score_model *model, const char *where, struct ram_err *err)
{
    json_t *obj;

    if (json_is_null(json_object_get(root, key)))
        return RAM_OK;
    int status = ram_json_get_object(root, key, &obj, where, err);
    if (!status)
        status = read_string(score, obj, "path", &model->path, where, err);
    if (!status)
        status = ram_json_get_uint(obj, "bytes", INT64_MAX, &model->bytes, where, err);
    if (!status)
        status = ram_json_get_number(obj, "effective_bits", &model->effective_bits, where, err);
    return status ? status : read_string(score, obj, "sha256", &model->header_sha256, where, err);
}

static int read_object(const json_t *root, const char *key, json_t **out, const char *where,
                       struct ram_err *err)
{
    json_t *obj;
    const int status = ram_json_get_object(root, key, &obj, where, err);
    if (status)
        return status;
    json_decref(*out);
    *out = json_incref(obj);
    return RAM_OK;
}

static int read_root(struct ram_score *score, const json_t *root, const char *where,
                     struct ram_err *err)
{
    const char *schema = NULL;
    int status = ram_json_get_string(root, "schema", &schema, where, err);

    if (!status && strcmp(schema, SCHEMA) != 0) {
        char text[300];
        ram_schema_text(schema, SCHEMA, text, sizeof text);
        status = ram_fail(err, RAM_EFORMAT, "%s: %s", where, text);
    }
    if (!status)
        status = read_string(score, root, "ram", &score->version, where, err);
    if (!status)
        status = read_string(score, root, "task", &score->task, where, err);
    if (!status)
        status = read_model(score, root, "model", &score->model, where, err);
    if (!status)
        status = read_model(score, root, "reference", &score->reference, where, err);
    if (!status)
        status = read_object(root, "settings", &score->settings, where, err);
    if (!status)
        status = read_object(root, "machine", &score->machine, where, err);
    if (!status)
        status = read_object(root, "results", &score->results, where, err);
    if (!status)
        status = ram_json_get_uint(root, "peak_memory_bytes", INT64_MAX, &score->peak_memory_bytes,
                                   where, err);
    if (!status)
        status = ram_json_get_number(root, "seconds", &score->seconds, where, err);
    if (!status)
        status =
            ram_json_get_number(root, "tokens_per_second", &score->tokens_per_second, where, err);
    return status;
}

int ram_score_parse(struct ram_score **out, const char *text, size_t size, const char *where,
                    struct ram_err *err)
{
    json_t *root = NULL;
    struct ram_score *score = NULL;

    int status = ram_json_parse(&root, text, size, where, err);
    if (!status)
        status = ram_score_new(&score, err);
    if (!status)
        status = read_root(score, root, where, err);
    json_decref(root);
    if (status) {
        ram_score_free(score);
        return status;
    }
    *out = score;
    return RAM_OK;
}

/* ---- files ------------------------------------------------------------------------------ */

int ram_score_read(struct ram_score **out, const char *path, struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0;

    int status = ram_file_read(path, MAX_SCORE, &text, &size, err);
    if (!status)
        status = ram_score_parse(out, text, size, path, err);
    free(text);
    return status;
}

int ram_score_write(const struct ram_score *score, const char *path, bool force,
                    struct ram_err *err)
{
    char *text = NULL;

    int status = ram_score_text(score, &text, err);
    if (!status) {
        struct ram_buf buf = {0};
        ram_buf_puts(&buf, text);
        ram_buf_puts(&buf, "\n");
        status = buf.failed ? ram_fail(err, RAM_ENOMEM, "no memory for a score's text")
                            : ram_file_write(path, buf.data, buf.size, force, err);
        ram_buf_release(&buf);
    }
    free(text);
    return status;
}
