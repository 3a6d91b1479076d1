/*
 * json_get.c - looks into JSON for the shell tests, which may not count on Python or jq.
 *
 *   json_get FILE [KEY...]      the value there: strings as they are, anything else as JSON
 *   json_get -n FILE [KEY...]   how many members it has
 *
 * A key is a member's name, or an index in an array. Exit code 1 if FILE is not exactly one JSON
 * value, or has nothing there.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *step(const json_t *value, const char *key)
{
    return json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10))
                                : json_object_get(value, key);
}

static int print(const json_t *value)
{
    if (json_is_string(value))
        return puts(json_string_value(value)) < 0;
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    const int failed = !text || puts(text) < 0;
    free(text);
    return failed;
}

int main(int argc, char **argv)
{
    const int count = argc > 1 && !strcmp(argv[1], "-n");
    json_error_t error;

    if (argc < 2 + count) {
        fprintf(stderr, "usage: json_get [-n] FILE [KEY...]\n");
        return 2;
    }
    const char *path = argv[1 + count];
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root) {
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        return 1;
    }
    const json_t *value = root;
    for (int i = 2 + count; i < argc && value; i++)
        value = step(value, argv[i]);
    int status = 1;
    if (!value)
        fprintf(stderr, "%s: nothing at that place\n", path);
    else if (count)
        status = printf("%zu\n", json_array_size(value) + json_object_size(value)) < 0;
    else
        status = print(value);
    json_decref(root);
    return status;
}
