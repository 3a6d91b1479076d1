/*
 * json_schema.c - checks JSON against a schema for the shell tests, which may not count on Python.
 *
 *   json_schema [-l] SCHEMA FILE     -l: every line of FILE is a document
 *
 * The part of JSON Schema (draft 2020-12) that docs/schema uses: type, const, enum, properties,
 * required, additionalProperties, propertyNames, items, minItems, maxItems, minimum, maximum,
 * pattern (an extended regular expression), anyOf, and $ref to a file beside SCHEMA or a place in
 * one ("common.json#/$defs/bits"). Any other keyword is an error, so that none is passed over.
 * Exit code 1 if FILE is not as the schema says (every difference is told), 2 for a bad schema.
 */
#include <jansson.h>
#include <libgen.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 32, MAX_PATH = 1024, MAX_DEPTH = 64 };

static struct {
    char name[128];
    json_t *root;
} files[MAX_FILES];
static size_t n_files;
static char directory[MAX_PATH];
static unsigned n_errors, n_trials; /* n_trials: alternatives being tried, in silence */

static void fail_schema(const char *what, const char *which)
{
    fprintf(stderr, "bad schema: %s: %s\n", what, which);
    exit(2);
}

static json_t *open_schema(const char *name)
{
    char path[2 * MAX_PATH];
    json_error_t at;

    for (size_t i = 0; i < n_files; i++)
        if (!strcmp(files[i].name, name))
            return files[i].root;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    if (!root || n_files == MAX_FILES)
        fail_schema(path, root ? "too many files" : at.text);
    snprintf(files[n_files].name, sizeof files[n_files].name, "%s", name);
    files[n_files++].root = root;
    return root;
}

/* What a reference points to; *base becomes the file that it is in. */
static json_t *resolve(const char *ref, json_t **base)
{
    char copy[MAX_PATH];

    snprintf(copy, sizeof copy, "%s", ref);
    char *place = strchr(copy, '#');
    if (place)
        *place++ = '\0';
    if (*copy)
        *base = open_schema(copy);
    json_t *found = *base;
    for (char *key = place ? strtok(place, "/") : NULL; key; key = strtok(NULL, "/"))
        found = json_object_get(found, key);
    if (!found)
        fail_schema("$ref leads nowhere", ref);
    return found;
}

static void differ(const char *path, const char *what, json_t *value)
{
    n_errors++;
    if (n_trials)
        return;
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    fprintf(stderr, "%s: %s%s%.60s\n", *path ? path : "/", what, text ? ": " : "",
            text ? text : "");
    free(text);
}

static int is_type(json_t *value, const char *type)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",   [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "integer", [JSON_REAL] = "number", [JSON_TRUE] = "boolean",
        [JSON_FALSE] = "boolean",   [JSON_NULL] = "null"};

    /* 1.0 is an integer, and every integer is a number. */
    return !strcmp(names[json_typeof(value)], type) ||
           (json_is_integer(value) && !strcmp(type, "number")) ||
           (json_is_real(value) && !strcmp(type, "integer") &&
            json_real_value(value) == floor(json_real_value(value)));
}

static int has_type(json_t *value, json_t *types)
{
    size_t i;
    json_t *type;

    if (json_is_string(types))
        return is_type(value, json_string_value(types));
    json_array_foreach(types, i, type)
    {
        if (is_type(value, json_string_value(type)))
            return 1;
    }
    return 0;
}

/* 1 and 1.0 are equal. */
static int same(json_t *a, json_t *b)
{
    return json_equal(a, b) ||
           (json_is_number(a) && json_is_number(b) && json_number_value(a) == json_number_value(b));
}

static int is_among(json_t *value, json_t *list)
{
    size_t i;
    json_t *item;

    json_array_foreach(list, i, item)
    {
        if (same(value, item))
            return 1;
    }
    return 0;
}

static int matches(const char *text, const char *pattern)
{
    regex_t compiled;

    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB))
        fail_schema("pattern", pattern);
    const int found = !regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    return found;
}

static void check(json_t *schema, json_t *base, json_t *value, const char *path, unsigned depth);

static void check_object(json_t *schema, json_t *base, json_t *value, const char *path,
                         unsigned depth)
{
    json_t *properties = json_object_get(schema, "properties");
    json_t *others = json_object_get(schema, "additionalProperties");
    json_t *names = json_object_get(schema, "propertyNames");
    const char *key;
    char below[MAX_PATH];
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(schema, "required"), i, item)
    {
        snprintf(below, sizeof below, "%s/%s", path, json_string_value(item));
        if (!json_object_get(value, json_string_value(item)))
            differ(below, "is missing", NULL);
    }
    json_object_foreach(value, key, item)
    {
        json_t *property = json_object_get(properties, key);
        snprintf(below, sizeof below, "%s/%s", path, key);
        if (names) {
            json_t *name = json_string(key);
            check(names, base, name, below, depth + 1);
            json_decref(name);
        }
        if (property || json_is_object(others))
            check(property ? property : others, base, item, below, depth + 1);
        else if (json_is_false(others))
            differ(below, "is not in the schema", NULL);
    }
}

static void check_array(json_t *schema, json_t *base, json_t *value, const char *path,
                        unsigned depth)
{
    json_t *items = json_object_get(schema, "items");
    json_t *least = json_object_get(schema, "minItems");
    json_t *most = json_object_get(schema, "maxItems");
    const json_int_t n = (json_int_t)json_array_size(value);
    char below[MAX_PATH];
    json_t *item;
    size_t i;

    if ((least && n < json_integer_value(least)) || (most && n > json_integer_value(most)))
        differ(path, "has too few or too many items", value);
    json_array_foreach(value, i, item)
    {
        snprintf(below, sizeof below, "%s/%zu", path, i);
        if (items)
            check(items, base, item, below, depth + 1);
    }
}

static void check_any(json_t *list, json_t *base, json_t *value, const char *path, unsigned depth)
{
    const unsigned before = n_errors;
    size_t i;
    json_t *item;

    json_array_foreach(list, i, item)
    {
        n_trials++;
        check(item, base, value, path, depth + 1);
        n_trials--;
        if (n_errors == before)
            return;
        n_errors = before;
    }
    differ(path, "is none of the alternatives", value);
}

static void check_keywords(json_t *schema)
{
    static const char *const known[] = {"$schema",
                                        "$defs",
                                        "$ref",
                                        "title",
                                        "description",
                                        "type",
                                        "const",
                                        "enum",
                                        "properties",
                                        "required",
                                        "additionalProperties",
                                        "propertyNames",
                                        "items",
                                        "minItems",
                                        "maxItems",
                                        "minimum",
                                        "maximum",
                                        "pattern",
                                        "anyOf"};
    const char *key;
    json_t *item;

    json_object_foreach(schema, key, item)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(known[i], key) != 0)
            i++;
        if (i == sizeof known / sizeof *known)
            fail_schema("keyword that this program does not know", key);
    }
}

static void check(json_t *schema, json_t *base, json_t *value, const char *path, unsigned depth)
{
    json_t *type = json_object_get(schema, "type"), *ref = json_object_get(schema, "$ref");
    json_t *only = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    json_t *least = json_object_get(schema, "minimum");
    json_t *most = json_object_get(schema, "maximum");
    json_t *pattern = json_object_get(schema, "pattern");
    json_t *any = json_object_get(schema, "anyOf");

    if (!json_is_object(schema) || depth > MAX_DEPTH)
        fail_schema("no schema, or one without an end", path);
    check_keywords(schema);
    if (ref) {
        json_t *there = base;
        json_t *found = resolve(json_string_value(ref), &there);
        check(found, there, value, path, depth + 1);
    }
    if (type && !has_type(value, type))
        differ(path, "has another type than the schema says", value);
    if (only && !same(value, only))
        differ(path, "is not the one value it can have", value);
    if (list && !is_among(value, list))
        differ(path, "is none of the values it can have", value);
    if (least && json_is_number(value) && json_number_value(value) < json_number_value(least))
        differ(path, "is too small", value);
    if (most && json_is_number(value) && json_number_value(value) > json_number_value(most))
        differ(path, "is too large", value);
    if (pattern && json_is_string(value) &&
        !matches(json_string_value(value), json_string_value(pattern)))
        differ(path, "does not match its pattern", value);
    if (any)
        check_any(any, base, value, path, depth);
    if (json_is_object(value))
        check_object(schema, base, value, path, depth);
    if (json_is_array(value))
        check_array(schema, base, value, path, depth);
}

static int check_lines(json_t *schema, const char *path)
{
    FILE *in = fopen(path, "r");
    char *line = NULL, place[32];
    size_t room = 0, n = 0;
    json_error_t at;

    while (in && getline(&line, &room, in) > 0) {
        json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, &at);
        snprintf(place, sizeof place, "line %zu", ++n);
        if (value)
            check(schema, schema, value, place, 0);
        else
            differ(place, at.text, NULL);
        json_decref(value);
    }
    free(line);
    if (in)
        fclose(in);
    return n == 0;
}

int main(int argc, char **argv)
{
    const int lines = argc > 1 && !strcmp(argv[1], "-l");
    char copy[MAX_PATH], name[MAX_PATH];
    json_error_t at;

    if (argc != 3 + lines) {
        fprintf(stderr, "usage: json_schema [-l] SCHEMA FILE\n");
        return 2;
    }
    snprintf(copy, sizeof copy, "%s", argv[1 + lines]);
    snprintf(name, sizeof name, "%s", argv[1 + lines]);
    snprintf(directory, sizeof directory, "%s", dirname(copy));
    json_t *schema = open_schema(basename(name));
    int failed = 0;
    if (lines) {
        failed = check_lines(schema, argv[2 + lines]);
    } else {
        json_t *value = json_load_file(argv[2], JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
        if (value)
            check(schema, schema, value, "", 0);
        else
            differ(argv[2], at.text, NULL);
        json_decref(value);
    }
    for (size_t i = 0; i < n_files; i++)
        json_decref(files[i].root);
    return failed || n_errors > 0;
}
