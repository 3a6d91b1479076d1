/* pairing.c - see pairing.h. */
#include "evaluate/pairing.h"

#include "evaluate/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BOOTSTRAP_SEED = 42 };

/* Both have the member, and the same value of it. */
static bool same(const json_t *a, const json_t *b, const char *key)
{
    const json_t *value = json_object_get(a, key);
    return value && json_equal(value, json_object_get(b, key));
}

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

    if (n == 0 || json_array_size(b) != n ||
        !same(score->results, other->results, "window_index") ||
        !same(score->settings, other->settings, "data_sha256") ||
        !same(score->settings, other->settings, "seq_len"))
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

    if (n == 0 || json_array_size(b) != n || strcmp(score->task, other->task) ||
        !same(score->settings, other->settings, "data_sha256"))
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

int ram_scores_pair(const struct ram_score *score, const struct ram_score *other,
                    struct ram_pairing *out, struct ram_err *err)
{
    *out = (struct ram_pairing){0};
    pair_documents(score, other, out);
    return pair_windows(score, other, out, err);
}
