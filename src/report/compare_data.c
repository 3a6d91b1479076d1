/* compare_data.c - scores beside each other, for programs: CSV and JSON. */
#include "report/compare_layout.h"

#include <math.h>
#include <string.h>

/* ---- CSV ---------------------------------------------------------------------------------- */

/* RFC 4180: quoted where a comma, a quote or a line end is in it. */
static void put_field(struct ram_buf *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        ram_buf_puts(out, text);
        return;
    }
    ram_buf_puts(out, "\"");
    for (; *text; text++)
        ram_buf_printf(out, *text == '"' ? "\"\"" : "%c", *text);
    ram_buf_puts(out, "\"");
}

static void put_csv_heads(const struct ram_comparison *all, struct ram_buf *out)
{
    struct ram_buf head = {0};

    ram_buf_puts(out, "model,bytes,bits_per_weight");
    for (size_t g = 0; g < all->n; g++) {
        const char *label = all->pairings[g].label;
        for (size_t f = 0; f < ram_compare_n_keys && all->pairings[g].base == g; f++) {
            if (!ram_compare_any_has(all, g, ram_compare_keys[f]))
                continue;
            head.size = 0;
            ram_buf_printf(&head, "%s%s%s%s_%s", all->scores[g]->task, label[0] ? " (" : "", label,
                           label[0] ? ")" : "", ram_compare_keys[f]);
            ram_buf_puts(out, ",");
            put_field(out, head.data ? head.data : "");
        }
    }
    ram_buf_puts(out, "\n");
    out->failed = out->failed || head.failed;
    ram_buf_release(&head);
}

int ram_compare_csv(const struct ram_compare_layout *layout, char **out, struct ram_err *err)
{
    const struct ram_comparison *all = layout->all;
    struct ram_buf buf = {0};

    put_csv_heads(all, &buf);
    for (size_t r = 0; r < layout->n_rows; r++) {
        const struct ram_score_model *model = &all->scores[layout->rows[r].first]->model;
        put_field(&buf, layout->rows[r].label);
        if (model->bytes)
            ram_buf_printf(&buf, ",%llu,%.6g", (unsigned long long)model->bytes,
                           model->effective_bits);
        else
            ram_buf_puts(&buf, ",,");
        for (size_t g = 0; g < all->n; g++) {
            const size_t i =
                all->pairings[g].base == g ? ram_compare_score_at(layout, r, g) : all->n;
            for (size_t f = 0; f < ram_compare_n_keys && all->pairings[g].base == g; f++) {
                if (!ram_compare_any_has(all, g, ram_compare_keys[f]))
                    continue;
                const double x = i < all->n ? ram_compare_value(all, i, ram_compare_keys[f]) : NAN;
                ram_buf_puts(&buf, ",");
                if (!isnan(x))
                    ram_buf_printf(&buf, "%.10g", x);
            }
        }
        ram_buf_puts(&buf, "\n");
    }
    return ram_buf_take(&buf, out, err);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static json_t *score_value(const struct ram_compare_layout *layout, size_t i)
{
    const struct ram_comparison *all = layout->all;
    const struct ram_score *score = all->scores[i];
    const struct ram_pairing *pairing = &all->pairings[i];
    struct ram_made value =
        ram_made_from(json_pack("{s:s, s:s, s:s, s:I, s:o}", "name", all->names[i], "model",
                                layout->rows[layout->row_of[i]].label, "task", score->task, "bytes",
                                (json_int_t)score->model.bytes, "effective_bits",
                                ram_json_real(score->model.effective_bits)));

    ram_made_put(&value, "results", json_incref(score->results));
    ram_made_put(&value, "compared_with",
                 pairing->base == i ? json_null() : json_string(all->names[pairing->base]));
    if (pairing->base == i && pairing->label[0])
        ram_made_put(&value, "different_settings", json_string(pairing->difference));
    if (pairing->same_windows) {
        ram_made_put(&value, "ppl_change", ram_json_real(pairing->ppl_change));
        ram_made_put(
            &value, "ppl_change_ci95",
            json_pack("[o, o]", ram_json_real(pairing->ppl_low), ram_json_real(pairing->ppl_high)));
        ram_made_put(&value, "efficiency", ram_json_real(ram_compare_value(all, i, "efficiency")));
    }
    if (pairing->same_documents)
        ram_made_put(&value, "mcnemar",
                     json_pack("{s:I, s:I, s:o}", "lost", (json_int_t)pairing->n_lost, "won",
                               (json_int_t)pairing->n_won, "p_value",
                               ram_json_real(pairing->p_value)));
    return ram_made_take(&value);
}

int ram_compare_json(const struct ram_compare_layout *layout, char **out, struct ram_err *err)
{
    const struct ram_comparison *all = layout->all;
    struct ram_made list = ram_made_array(), models = ram_made_array();

    for (size_t i = 0; i < all->n; i++)
        ram_made_add(&list, score_value(layout, i));
    for (size_t r = 0; r < layout->n_rows; r++) {
        const struct ram_score_model *model = &all->scores[layout->rows[r].first]->model;
        struct ram_made places = ram_made_array();
        for (size_t i = 0; i < all->n; i++)
            if (layout->row_of[i] == r)
                ram_made_add(&places, json_integer((json_int_t)i));
        ram_made_add(&models, json_pack("{s:s, s:s?, s:I, s:o, s:o}", "name", layout->rows[r].label,
                                        "path", model->path, "bytes", (json_int_t)model->bytes,
                                        "effective_bits", ram_json_real(model->effective_bits),
                                        "scores", ram_made_take(&places)));
    }
    json_t *root =
        json_pack("{s:o, s:o}", "models", ram_made_take(&models), "scores", ram_made_take(&list));
    const int status = ram_json_text(root, 2, false, out, err);
    json_decref(root);
    return status;
}
