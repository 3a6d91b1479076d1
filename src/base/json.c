/* json.c - see json.h. */
#include "base/json.h"

#include "base/file.h"
#include "base/utf8.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Jansson may lose memory without a word: its lexer drops the rest of a string or number of more
 * than 15 bytes if its buffer cannot grow, and the load succeeds. Elsewhere it reports a lack of
 * memory as a mistake in the text. A value that could not be made is left out of an object or array
 * if its caller does not look. So jansson's allocator is watched, whichever the process has set.
 */
static json_malloc_t process_malloc;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *watched_malloc(size_t size)
{
    void *p = process_malloc(size);
    if (!p)
        ram_note_loss();
    return p;
}

static void watch(void)
{
    json_free_t process_free;

    json_get_alloc_funcs(&process_malloc, &process_free);
    json_set_alloc_funcs(watched_malloc, process_free);
}

int ram_json_load(json_t **out, const char *text, size_t size, size_t flags, json_error_t *at)
{
    pthread_once(&once, watch);
    const unsigned before = ram_losses();
    *out = json_loadb(text, size, flags, at);
    if (ram_losses() == before)
        return *out ? RAM_OK : RAM_EFORMAT;
    json_decref(*out);
    *out = NULL;
    snprintf(at->text, sizeof at->text, "no memory for a JSON value");
    return RAM_ENOMEM;
}

int ram_json_parse(json_t **out, const char *text, size_t size, const char *where,
                   struct ram_err *err)
{
    json_error_t at;

    const int status = ram_json_load(out, text, size, JSON_REJECT_DUPLICATES, &at);
    if (status)
        return ram_fail(err, status, "%s: line %d, column %d: %s", where, at.line, at.column,
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

    pthread_once(&once, watch);
    if (!value || json_dump_callback(value, append, &buf, flags)) {
        const bool memory = !value || ram_losses();
        ram_buf_release(&buf);
        return ram_fail(err, memory ? RAM_ENOMEM : RAM_EINTERNAL, "cannot write a value as JSON%s",
                        memory ? ": no memory" : "");
    }
    return ram_buf_take(&buf, out, err);
}

json_t *ram_json_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *ram_json_string(const char *s)
{
    struct ram_buf repaired = {0};
    const size_t size = s ? strlen(s) : 0;

    if (!s)
        return json_null();
    if (ram_utf8_valid((const uint8_t *)s, size) == size)
        return json_stringn(s, size);
    ram_utf8_repair((const uint8_t *)s, size, &repaired);
    json_t *const string = repaired.failed ? NULL : json_stringn(repaired.data, repaired.size);
    ram_buf_release(&repaired);
    return string;
}

struct ram_made ram_made_from(json_t *json)
{
    return (struct ram_made){json, !json};
}

struct ram_made ram_made_object(void)
{
    return ram_made_from(json_object());
}

struct ram_made ram_made_array(void)
{
    return ram_made_from(json_array());
}

struct ram_made ram_made_into(json_t *object)
{
    return ram_made_from(json_incref(object));
}

int ram_made_end(struct ram_made *made, struct ram_err *err)
{
    json_t *const json = ram_made_take(made);

    json_decref(json);
    return json ? RAM_OK : ram_fail(err, RAM_ENOMEM, "no memory for a record");
}

void ram_made_put(struct ram_made *made, const char *key, json_t *value)
{
    if (made->failed)
        json_decref(value);
    else
        made->failed = json_object_set_new(made->json, key, value) != 0;
}

void ram_made_add(struct ram_made *made, json_t *value)
{
    if (made->failed)
        json_decref(value);
    else
        made->failed = json_array_append_new(made->json, value) != 0;
}

void ram_made_update(struct ram_made *made, json_t *object)
{
    made->failed = made->failed || !object || json_object_update(made->json, object) != 0;
    json_decref(object);
}

json_t *ram_made_take(struct ram_made *made)
{
    json_t *const json = made->json;

    made->json = NULL;
    if (!made->failed)
        return json;
    json_decref(json);
    return NULL;
}

int ram_json_put(json_t *object, const char *key, json_t *value, struct ram_err *err)
{
    if (json_object_set_new(object, key, value))
        return ram_fail(err, RAM_ENOMEM, "no memory for \"%s\"", key);
    return RAM_OK;
}
