/* json.c - see json.h. */
#include "base/json.h"

#include "base/file.h"

#include <math.h>
#include <stdlib.h>

int ram_json_parse(json_t **out, const char *text, size_t size, const char *where,
                   struct ram_err *err)
{
    json_error_t at;

    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &at);
    if (!*out)
        return ram_fail(err, RAM_EFORMAT, "%s: line %d, column %d: %s", where, at.line, at.column,
                        at.text);
    return RAM_OK;
}

int ram_json_read(json_t **out, const char *path, size_t max, struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0;

    int status = ram_file_read(path, max, &text, &size, err);
    if (!status)
        status = ram_json_parse(out, text, size, path, err);
    free(text);
    return status;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real",    [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"};
    return ram_json_token(value) ? ram_json_token(value)
           : value               ? names[json_typeof(value)]
                                 : "nothing";
}

int ram_json_unexpected(const json_t *value, const char *key, const char *expected,
                        const char *where, struct ram_err *err)
{
    return ram_fail(err, RAM_EFORMAT, "%s: \"%s\" is %s, expected %s", where, key, type_name(value),
                    expected);
}

int ram_json_get_string(const json_t *obj, const char *key, const char **out, const char *where,
                        struct ram_err *err)
{
    const json_t *value = json_object_get(obj, key);
    if (!json_is_string(value))
        return ram_json_unexpected(value, key, "a string", where, err);
    *out = json_string_value(value);
    return RAM_OK;
}

int ram_json_get_uint(const json_t *obj, const char *key, uint64_t max, uint64_t *out,
                      const char *where, struct ram_err *err)
{
    const json_t *value = json_object_get(obj, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return ram_json_unexpected(value, key, "an integer of at least 0", where, err);
    const uint64_t n = (uint64_t)json_integer_value(value);
    if (n > max)
        return ram_fail(err, RAM_ERANGE, "%s: \"%s\" is %llu, at most %llu is allowed", where, key,
                        (unsigned long long)n, (unsigned long long)max);
    *out = n;
    return RAM_OK;
}

int ram_json_get_number(const json_t *obj, const char *key, double *out, const char *where,
                        struct ram_err *err)
{
    const json_t *value = json_object_get(obj, key);
    if (!json_is_number(value))
        return ram_json_unexpected(value, key, "a number", where, err);
    *out = json_number_value(value);
    return RAM_OK;
}

int ram_json_get_object(const json_t *obj, const char *key, json_t **out, const char *where,
                        struct ram_err *err)
{
    json_t *value = json_object_get(obj, key);
    if (!json_is_object(value))
        return ram_json_unexpected(value, key, "an object", where, err);
    *out = value;
    return RAM_OK;
}

int ram_json_get_array(const json_t *obj, const char *key, json_t **out, const char *where,
                       struct ram_err *err)
{
    json_t *value = json_object_get(obj, key);
    if (!json_is_array(value))
        return ram_json_unexpected(value, key, "an array", where, err);
    *out = value;
    return RAM_OK;
}

static int append(const char *data, size_t size, void *buf)
{
    ram_buf_add(buf, data, size);
    return 0;
}

int ram_json_text(const json_t *value, size_t indent, bool sorted, char **out, struct ram_err *err)
{
    struct ram_buf buf = {0};
    const size_t flags = JSON_ENCODE_ANY | JSON_INDENT(indent) | JSON_REAL_PRECISION(17) |
                         (sorted ? JSON_SORT_KEYS : 0) | (indent ? 0 : JSON_COMPACT);

    if (!value || json_dump_callback(value, append, &buf, flags)) {
        ram_buf_release(&buf);
        return ram_fail(err, RAM_EINTERNAL, "cannot write a value as JSON");
    }
    return ram_buf_take(&buf, out, err);
}

json_t *ram_json_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}
