/* pairing.c - see pairing.h. */
#include "evaluate/pairing.h"

#include "evaluate/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOOTSTRAP_SEED = 42 };

/* ---- how a score was run ---------------------------------------------------------------- */

/* Settings that two scores must share to be compared. */
static const struct setting {
    const char *key;
    /* The file that the key is a digest of; NULL: the value itself is shown. */
    const char *name;
    const char *what; /* "another text" */
} compared[] = {
    {"data_sha256", "data", "another data file"},
    {"data_tokens", NULL, NULL}, /* of the same text: another tokenizer */
    {"seq_len", NULL, NULL},
    {"precision", NULL, NULL},
    {"shots", NULL, NULL},
    {"fewshot_data_sha256", "fewshot_data", "another file of examples"},
    {"max_length", NULL, NULL},
};
enum { N_COMPARED = sizeof compared / sizeof *compared };

/* Both lack the member, or have the same value of it. */
static bool same(const json_t *a, const json_t *b, const char *key)
{
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    return x ? json_equal(x, y) : !y;
}

static void value_text(const json_t *object, const char *key, char *out, size_t size)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_integer(value))
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_string(value))
        snprintf(out, size, "%.32s", json_string_value(value));
    else
        snprintf(out, size, "%s", value ? "?" : "none");
}

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "?";
}

/* Adds a difference to what is said of a score. */
static void differ(struct ram_pairing *out, const char *label, const char *difference)
{
    const size_t n = strlen(out->difference);

    if (!out->label[0])
        snprintf(out->label, sizeof out->label, "%s", label);
    snprintf(out->difference + n, sizeof out->difference - n, "%s%s", n ? ", " : "", difference);
}

static void compare_setting(const struct ram_score *score, const struct ram_score *other,
                            const struct setting *setting, struct ram_pairing *out)
{
    char here[40], there[40], label[128], text[256];

    if (setting->name) {
        const char *name =
            base_name(json_string_value(json_object_get(score->settings, setting->name)));
        snprintf(text, sizeof text, "%s (%.80s)", setting->what, name);
        differ(out, name, text);
        return;
    }
    value_text(score->settings, setting->key, here, sizeof here);
    value_text(other->settings, setting->key, there, sizeof there);
    snprintf(label, sizeof label, "%s %s", setting->key, here);
    snprintf(text, sizeof text, "%s %s, not %s%s", setting->key, here, there,
             strcmp(setting->key, "data_tokens") != 0 ? "" : ": another tokenizer");
    differ(out, label, text);
}

/* What a score of the same task was asked otherwise; nothing is said if it was asked the same. */
static void find_differences(const struct ram_score *score, const struct ram_score *other,
                             struct ram_pairing *out)
{
    const bool same_data = same(score->settings, other->settings, "data_sha256");
    char here[40], there[40], label[64], text[128];

    out->label[0] = out->difference[0] = '\0';
    for (size_t i = 0; i < N_COMPARED; i++) {
        if (same(score->settings, other->settings, compared[i].key))
            continue;
        if (strcmp(compared[i].key, "data_tokens") != 0 || same_data)
            compare_setting(score, other, &compared[i], out);
    }
    if (out->label[0])
        return;
    if (!same(score->results, other->results, "documents")) {
        value_text(score->results, "documents", here, sizeof here);
        value_text(other->results, "documents", there, sizeof there);
        snprintf(label, sizeof label, "%s documents", here);
        snprintf(text, sizeof text, "%s documents, not %s", here, there);
        differ(out, label, text);
    } else if (!same(score->results, other->results, "window_index")) {
        value_text(score->results, "windows", here, sizeof here);
        snprintf(label, sizeof label, "%s windows", here);
        differ(out, label, "other windows of the text");
    }
}

/* ---- tests in pairs --------------------------------------------------------------------- */

static int numbers(const json_t *array, double **out, struct ram_err *err)
{
    const size_t n = json_array_size(array);

    *out = ram_calloc(n, sizeof **out, err);
    for (size_t i = 0; *out && i < n; i++)
        (*out)[i] = json_number_value(json_array_get(array, i));
    return *out ? RAM_OK : RAM_ENOMEM;
}

static int pair_windows(const struct ram_score *score, const struct ram_score *other,
                        struct ram_pairing *out, struct ram_err *err)
{
    const json_t *a = json_object_get(score->results, "window_nll");
    const json_t *b = json_object_get(other->results, "window_nll");
    const size_t n = json_array_size(a);
    struct ram_interval difference, ratio;
    double *x = NULL, *y = NULL;

    if (n == 0 || json_array_size(b) != n)
        return RAM_OK;
    int status = numbers(a, &x, err);
    if (!status)
        status = numbers(b, &y, err);
    if (!status)
        status = ram_bootstrap_pairs(x, y, n, 1, BOOTSTRAP_SEED, &difference, &ratio, err);
    if (!status) {
        out->same_windows = true;
        out->ppl_change = exp(ram_mean_of(x, n).mean - ram_mean_of(y, n).mean) - 1;
        out->ppl_low = exp(difference.low) - 1;
        out->ppl_high = exp(difference.high) - 1;
    }
    free(x);
    free(y);
    return status;
}

static void pair_documents(const struct ram_score *score, const struct ram_score *other,
                           struct ram_pairing *out)
{
    const json_t *a = json_object_get(score->results, "document_acc_norm");
    const json_t *b = json_object_get(other->results, "document_acc_norm");
    const size_t n = json_array_size(a);

    if (n == 0 || json_array_size(b) != n)
        return;
    out->same_documents = true;
    for (size_t i = 0; i < n; i++) {
        const json_int_t now = json_integer_value(json_array_get(a, i));
        const json_int_t before = json_integer_value(json_array_get(b, i));
        out->n_lost += before && !now;
        out->n_won += now && !before;
    }
    out->p_value = ram_mcnemar(out->n_lost, out->n_won);
}

/* Finds the first score that was run as score i was. */
static void find_base(const struct ram_score *const *scores, size_t i, struct ram_pairing *pairings)
{
    struct ram_pairing first_unlike = {.unlike = i};

    for (size_t j = 0; j < i; j++) {
        if (pairings[j].base != j || strcmp(scores[i]->task, scores[j]->task) != 0)
            continue;
        struct ram_pairing found = {.base = j, .unlike = j};
        find_differences(scores[i], scores[j], &found);
        if (!found.label[0]) {
            pairings[i] = found;
            return;
        }
        if (first_unlike.unlike == i)
            first_unlike = found;
    }
    pairings[i] = first_unlike;
    pairings[i].base = i;
}

int ram_scores_pair(const struct ram_score *const *scores, size_t n, struct ram_pairing *pairings,
                    struct ram_err *err)
{
    int status = RAM_OK;

    for (size_t i = 0; i < n && !status; i++) {
        find_base(scores, i, pairings);
        if (pairings[i].base == i)
            continue;
        const struct ram_score *base = scores[pairings[i].base];
        pair_documents(scores[i], base, &pairings[i]);
        status = pair_windows(scores[i], base, &pairings[i], err);
    }
    return status;
}
