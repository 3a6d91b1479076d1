/*
 * score_report.c - see score_report.h.
 *
 * One score is told line by line; several are a table, which compare_report.c makes.
 */
#include "report/score_report.h"

#include "report/compare_report.h"
#include "report/numbers.h"

#include <math.h>

/* ---- one score -------------------------------------------------------------------------- */

static void tell_perplexity(const struct ram_score *score, struct ram_buf *out)
{
    const json_t *outliers = json_object_get(score->results, "outliers");

    ram_buf_printf(out, "  windows     %.0f of %.0f, %.0f tokens scored\n",
                   ram_score_result(score, "windows"), ram_score_result(score, "windows_available"),
                   ram_score_result(score, "tokens"));
    ram_buf_printf(
        out, "  PPL         mean %.4f +- %.4f, median %.4f, trimmed mean %.4f, highest %.2f\n",
        ram_score_result(score, "ppl_mean"), ram_score_result(score, "ppl_stderr"),
        ram_score_result(score, "ppl_median"), ram_score_result(score, "ppl_trimmed"),
        ram_score_result(score, "ppl_max"));
    if (json_array_size(outliers)) {
        ram_buf_printf(out, "  above 100   PPL of %zu windows:", json_array_size(outliers));
        for (size_t i = 0; i < json_array_size(outliers); i++) {
            if (i == 8) {
                ram_buf_puts(out, " ...");
                break;
            }
            ram_buf_printf(out, " %lld",
                           (long long)json_integer_value(json_array_get(outliers, i)));
        }
        ram_buf_puts(out, "\n");
    }
}

static void tell_divergence(const struct ram_score *score, struct ram_buf *out)
{
    const json_t *interval = json_object_get(score->results, "ppl_change_ci95");
    const char *const reference = score->reference.path;

    ram_buf_printf(out, "  reference   %s, PPL %.4f\n", reference ? reference : "not named",
                   ram_score_result(score, "ppl_mean_reference"));
    ram_buf_printf(out,
                   "  KLD         mean %.6f +- %.6f nats/token, median %.6f, 99th percentile %.5f, "
                   "highest %.4f\n",
                   ram_score_result(score, "kld_mean"), ram_score_result(score, "kld_stderr"),
                   ram_score_result(score, "kld_median"), ram_score_result(score, "kld_p99"),
                   ram_score_result(score, "kld_max"));
    ram_buf_printf(out, "  same top    %.3f %% of positions have the same most likely token\n",
                   100 * ram_score_result(score, "top1_agreement"));
    ram_buf_printf(out, "  PPL change  %+.3f %%, 95 %% interval %+.3f to %+.3f\n",
                   100 * ram_score_result(score, "ppl_change"),
                   100 * json_number_value(json_array_get(interval, 0)),
                   100 * json_number_value(json_array_get(interval, 1)));
}

static void tell(const struct ram_score *score, const char *name, struct ram_buf *out)
{
    ram_buf_printf(out, "%s, %s\n\n", name, score->task);
    ram_buf_printf(out, "  size        %s, %.3f bits per weight\n",
                   ram_number_binary(score->model.bytes).s, score->model.effective_bits);
    if (!isnan(ram_score_result(score, "ppl_mean")))
        tell_perplexity(score, out);
    if (!isnan(ram_score_result(score, "kld_mean")))
        tell_divergence(score, out);
    if (!isnan(ram_score_result(score, "acc")))
        ram_buf_printf(out,
                       "  documents   %.0f\n"
                       "  acc         %.2f %% +- %.2f\n"
                       "  acc_norm    %.2f %% +- %.2f\n",
                       ram_score_result(score, "documents"), 100 * ram_score_result(score, "acc"),
                       100 * ram_score_result(score, "acc_stderr"),
                       100 * ram_score_result(score, "acc_norm"),
                       100 * ram_score_result(score, "acc_norm_stderr"));
    ram_buf_printf(out, "  run         %.1f s, %.0f tokens/s, peak memory %s\n", score->seconds,
                   score->tokens_per_second, ram_number_binary(score->peak_memory_bytes).s);
}

int ram_report_scores(const struct ram_score *const *scores, const char *const *names,
                      const struct ram_pairing *pairings, size_t n, enum ram_markup markup,
                      char **out, struct ram_err *err)
{
    const struct ram_comparison all = {scores, names, pairings, n};
    struct ram_buf buf = {0};

    if (n == 1 && markup == RAM_JSON)
        return ram_score_text(scores[0], out, err);
    if (n > 1 || markup != RAM_TEXT)
        return ram_report_comparison(&all, markup, out, err);
    tell(scores[0], names[0], &buf);
    return ram_buf_take(&buf, out, err);
}
