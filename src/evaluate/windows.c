/*
 * windows.c - see windows.h.
 *
 * The standard error of the mean PPL is that of the token NLLs carried through exp, as mlx_lm and
 * llama.cpp print it; it takes tokens as independent. The paired interval does not: it resamples
 * whole windows.
 */
#include "evaluate/windows.h"

#include "evaluate/rng_mt.h"
#include "evaluate/statistics.h"

#include <math.h>
#include <stdlib.h>

#define OUTLIER_PPL   100.0
#define TRIMMED_SHARE 0.01
enum { BOOTSTRAP_SEED = 42 };

static int by_index(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

int ram_windows_cut(struct ram_windows *windows, size_t n_tokens, size_t length, size_t most,
                    uint32_t seed, size_t limit, struct ram_err *err)
{
    const size_t all = length ? n_tokens / length : 0;
    const size_t available = limit && limit < all ? limit : all;
    struct ram_mt mt;

    *windows = (struct ram_windows){.length = length, .n_available = all};
    if (length < 2)
        return ram_fail(err, RAM_EUSAGE, "a window needs at least 2 tokens; --seq-len is %zu",
                        length);
    if (available == 0)
        return ram_fail(
            err, RAM_EFORMAT,
            "the text has only %zu tokens, a window needs %zu; choose a longer text, or "
            "shorter windows with --seq-len %zu",
            n_tokens, length, n_tokens < 2 ? 2 : n_tokens);
    windows->first = ram_calloc(available, sizeof *windows->first, err);
    if (!windows->first)
        return RAM_ENOMEM;
    for (size_t i = 0; i < available; i++)
        windows->first[i] = i;
    windows->n = available;
    if (most && available > most) {
        ram_mt_seed(&mt, seed);
        ram_mt_shuffle(&mt, windows->first, available);
        qsort(windows->first, most, sizeof *windows->first, by_index);
        windows->n = most;
    }
    for (size_t i = 0; i < windows->n; i++)
        windows->first[i] *= length;
    return RAM_OK;
}

void ram_windows_release(struct ram_windows *windows)
{
    free(windows->first);
    *windows = (struct ram_windows){0};
}

/* ---- results ---------------------------------------------------------------------------- */

struct figures {
    size_t n, per_window;                               /* windows, scored tokens of one */
    double *nll, *nll_reference, *kld;                  /* [n * per_window] */
    double *window_nll, *window_reference, *window_kld; /* [n] sums over a window */
    uint64_t n_same_top;
};

static json_t *number_array(const double *x, size_t n, double scale)
{
    struct ram_made array = ram_made_array();

    for (size_t i = 0; i < n; i++)
        ram_made_add(&array, ram_json_real(x[i] * scale));
    return ram_made_take(&array);
}

static void set_real(struct ram_made *results, const char *key, double x)
{
    ram_made_put(results, key, ram_json_real(x));
}

static int put_perplexity(const struct figures *f, const struct ram_windows *windows,
                          struct ram_made *results, struct ram_err *err)
{
    const struct ram_mean nll = ram_mean_of(f->nll, f->n * f->per_window);
    double *ppl = ram_calloc(f->n, sizeof *ppl, err);
    struct ram_made outliers = ram_made_array();

    if (!ppl) {
        json_decref(ram_made_take(&outliers));
        return ram_fail(err, RAM_ENOMEM, "no memory for the figures of %zu windows", f->n);
    }
    for (size_t i = 0; i < f->n; i++) {
        ppl[i] = exp(f->window_nll[i] / (double)f->per_window);
        if (ppl[i] > OUTLIER_PPL)
            ram_made_add(&outliers,
                         json_integer((json_int_t)(windows->first[i] / windows->length)));
    }
    ram_sort(ppl, f->n);
    ram_made_put(results, "windows", json_integer((json_int_t)f->n));
    ram_made_put(results, "windows_available", json_integer((json_int_t)windows->n_available));
    ram_made_put(results, "tokens", json_integer((json_int_t)f->n * (json_int_t)f->per_window));
    set_real(results, "nll", nll.mean);
    set_real(results, "ppl_mean", exp(nll.mean));
    set_real(results, "ppl_stderr", exp(nll.mean) * nll.stderr_mean);
    set_real(results, "ppl_median", ram_quantile(ppl, f->n, 0.5));
    set_real(results, "ppl_trimmed", ram_trimmed_mean(ppl, f->n, TRIMMED_SHARE));
    set_real(results, "ppl_max", ppl[f->n - 1]);
    ram_made_put(results, "outliers", ram_made_take(&outliers));
    free(ppl);
    return RAM_OK;
}

static int put_divergence(struct figures *f, struct ram_made *results, struct ram_err *err)
{
    const size_t n = f->n * f->per_window;
    const double per_window = (double)f->per_window;
    const double nll = ram_mean_of(f->nll, n).mean;
    const double reference = ram_mean_of(f->nll_reference, n).mean;
    struct ram_interval change, ratio;

    /* Tokens of a window depend on each other: the error of the mean is that of window means. */
    const struct ram_mean by_window = ram_mean_of(f->window_kld, f->n);
    set_real(results, "kld_mean", by_window.mean / per_window);
    set_real(results, "kld_stderr", by_window.stderr_mean / per_window);
    ram_sort(f->kld, n);
    set_real(results, "kld_median", ram_quantile(f->kld, n, 0.5));
    set_real(results, "kld_p99", ram_quantile(f->kld, n, 0.99));
    set_real(results, "kld_max", f->kld[n - 1]);
    set_real(results, "top1_agreement", (double)f->n_same_top / (double)n);
    set_real(results, "nll_reference", reference);
    set_real(results, "ppl_mean_reference", exp(reference));
    const int status = ram_bootstrap_pairs(f->window_nll, f->window_reference, f->n, per_window,
                                           BOOTSTRAP_SEED, &change, &ratio, err);
    if (status)
        return status;
    set_real(results, "ppl_change", exp(nll - reference) - 1);
    ram_made_put(results, "ppl_change_ci95",
                 json_pack("[o, o]", ram_json_real(exp(change.low) - 1),
                           ram_json_real(exp(change.high) - 1)));
    return RAM_OK;
}

/* Everything later comparisons in pairs need. */
static void put_windows(const struct figures *f, const struct ram_windows *windows, bool reference,
                        struct ram_made *results)
{
    const double mean = 1 / (double)f->per_window;
    struct ram_made indices = ram_made_array();

    for (size_t i = 0; i < f->n; i++)
        ram_made_add(&indices, json_integer((json_int_t)(windows->first[i] / windows->length)));
    ram_made_put(results, "window_index", ram_made_take(&indices));
    ram_made_put(results, "window_nll", number_array(f->window_nll, f->n, mean));
    if (reference)
        ram_made_put(results, "window_kld", number_array(f->window_kld, f->n, mean));
}

static int put_results(struct figures *f, const struct ram_windows *windows, bool reference,
                       json_t *into, struct ram_err *err)
{
    struct ram_made results = ram_made_into(into);

    int status = put_perplexity(f, windows, &results, err);
    if (!status && reference)
        status = put_divergence(f, &results, err);
    if (!status)
        put_windows(f, windows, reference, &results);
    const int made = ram_made_end(&results, err);
    return status ? status : made;
}

/* Tokens of a window and what all but the first got, as a line of JSON. */
static int put_sample(const struct ram_windows *windows, size_t w, const uint32_t *tokens,
                      const struct ram_answer *answers, bool reference, struct ram_err *err)
{
    const size_t first = windows->first[w];
    struct ram_made ids = ram_made_array(), nll = ram_made_array(), kld = ram_made_array();
    char *text = NULL;

    for (size_t t = 0; t < windows->length; t++)
        ram_made_add(&ids, json_integer(tokens[first + t]));
    for (size_t t = 0; t + 1 < windows->length; t++) {
        ram_made_add(&nll, ram_json_real(answers[t].nll));
        ram_made_add(&kld, ram_json_real(answers[t].kld));
    }
    struct ram_made made =
        ram_made_from(json_pack("{s:I, s:o, s:o}", "window", (json_int_t)(first / windows->length),
                                "tokens", ram_made_take(&ids), "nll", ram_made_take(&nll)));
    json_t *const divergences = ram_made_take(&kld);
    if (reference)
        ram_made_put(&made, "kld", json_incref(divergences));
    json_decref(divergences);
    json_t *const sample = ram_made_take(&made);
    const int status = ram_json_text(sample, 0, false, &text, err);
    json_decref(sample);
    if (status)
        return status;
    ram_buf_printf(windows->samples, "%s\n", text);
    free(text);
    return windows->samples->failed ? ram_fail(err, RAM_ENOMEM, "no memory for the samples")
                                    : RAM_OK;
}

static int gather(struct figures *f, const struct ram_answer *answers, struct ram_err *err)
{
    const size_t n = f->n * f->per_window;

    f->nll = ram_calloc(3 * n + 3 * f->n, sizeof *f->nll, err);
    if (!f->nll)
        return RAM_ENOMEM;
    f->nll_reference = f->nll + n;
    f->kld = f->nll_reference + n;
    f->window_nll = f->kld + n;
    f->window_reference = f->window_nll + f->n;
    f->window_kld = f->window_reference + f->n;
    for (size_t i = 0; i < n; i++) {
        const size_t w = i / f->per_window;
        f->nll[i] = answers[i].nll;
        f->nll_reference[i] = answers[i].nll_reference;
        f->kld[i] = answers[i].kld;
        f->window_nll[w] += answers[i].nll;
        f->window_reference[w] += answers[i].nll_reference;
        f->window_kld[w] += answers[i].kld;
        f->n_same_top += answers[i].same_top;
    }
    return RAM_OK;
}

int ram_windows_score(const struct ram_windows *windows, const uint32_t *tokens,
                      const struct ram_model *model, const struct ram_model *reference,
                      const struct ram_likelihood_opts *opts, json_t *results, struct ram_err *err)
{
    const size_t per_window = windows->length - 1, n = windows->n * per_window;
    struct figures f = {.n = windows->n, .per_window = per_window};
    struct ram_span *spans = ram_calloc(windows->n, sizeof *spans, err);
    struct ram_query *queries = ram_calloc(n, sizeof *queries, err);
    struct ram_answer *answers = ram_calloc(n, sizeof *answers, err);
    int status = spans && queries && answers ? RAM_OK : RAM_ENOMEM;

    for (size_t w = 0; !status && w < windows->n; w++) {
        const uint32_t *window = tokens + windows->first[w];
        spans[w] = (struct ram_span){window, windows->length, RAM_NO_PARENT};
        for (size_t t = 0; t < per_window; t++)
            queries[w * per_window + t] = (struct ram_query){w, t, window[t + 1]};
    }
    if (!status)
        status =
            ram_likelihood(model, reference, spans, windows->n, queries, n, opts, answers, err);
    for (size_t w = 0; windows->samples && !status && w < windows->n; w++)
        status = put_sample(windows, w, tokens, answers + w * per_window, reference, err);
    if (!status)
        status = gather(&f, answers, err);
    if (!status)
        status = put_results(&f, windows, reference != NULL, results, err);
    free(spans);
    free(queries);
    free(answers);
    free(f.nll);
    return status;
}
