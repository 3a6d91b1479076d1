/* Whatever scores were taken can be compared and shown, with names or without: two of them in one
 * input, with a NUL between. */
#include "record/score.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The JSON form has both, unless it is too deep to be read back. */
static void check_json(const char *text)
{
    json_t *const root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    if (root && json_array_size(json_object_get(root, "scores")) != 2)
        abort();
    json_decref(root);
}

static void show(const struct ram_score *const scores[2])
{
    static const char *const names[2] = {"a", "b"};
    static const enum ram_markup forms[] = {RAM_TEXT, RAM_MARKDOWN, RAM_JSON, RAM_CSV};
    struct ram_err err = {0};

    for (size_t i = 0; i < 2 * sizeof forms / sizeof *forms; i++) {
        char *text = NULL;
        const size_t n = 1 + i % 2;
        if (ram_scores_describe(scores, n == 1 ? names : NULL, n, forms[i / 2], &text, &err) ||
            !*text)
            abort();
        if (n == 2 && forms[i / 2] == RAM_JSON)
            check_json(text);
        free(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *const text = (const char *)data;
    const char *const cut = size ? memchr(text, 0, size) : NULL;
    const size_t first = cut ? (size_t)(cut - text) : size;
    struct ram_score *scores[2] = {NULL, NULL};
    struct ram_err err = {0};

    const int status = ram_score_parse(&scores[0], text, first, "first", &err);
    if (!status && cut)
        ram_score_parse(&scores[1], cut + 1, size - first - 1, "second", &err);
    else if (!status)
        ram_score_parse(&scores[1], text, first, "first again", &err);
    if (scores[0] && scores[1])
        show((const struct ram_score *const[2]){scores[0], scores[1]});
    ram_score_free(scores[0]);
    ram_score_free(scores[1]);
    return 0;
}
