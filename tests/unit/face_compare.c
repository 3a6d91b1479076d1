/* Scores beside each other: what shares a row, what shares a column, what is not compared. */
#include "record/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_SCORES = 6 };

struct set {
    struct ram_score *scores[MAX_SCORES];
    const char *names[MAX_SCORES];
    size_t n;
};

/* path and sha256 of the model, task, settings and results. */
static void add(struct set *set, const char *name, const char *path, const char *sha,
                const char *reference, const char *task, const char *settings, const char *results)
{
    char text[2048], other[256] = "null";
    struct ram_err err = {0};

    if (reference)
        snprintf(other, sizeof other,
                 "{\"path\": \"ref\", \"bytes\": 9, \"effective_bits\": 16, \"sha256\": \"%s\"}",
                 reference);
    snprintf(
        text, sizeof text,
        "{\"schema\": \"ram.score/1\", \"ram\": \"0\", \"task\": \"%s\", \"model\": {\"path\": "
        "\"%s\", \"bytes\": 1048576, \"effective_bits\": 4.5, \"sha256\": \"%s\"}, "
        "\"reference\": %s, \"settings\": {%s}, \"machine\": {}, \"results\": {%s}, "
        "\"peak_memory_bytes\": 0, \"seconds\": 1, \"tokens_per_second\": 1}",
        task, path, sha, other, settings, results);
    if (ram_score_parse(&set->scores[set->n], text, strlen(text), name, &err))
        fail_msg("%s", err.message);
    set->names[set->n++] = name;
}

static char *describe(struct set *set, enum ram_markup markup)
{
    struct ram_err err = {0};
    char *text = NULL;

    if (ram_scores_describe((const struct ram_score *const *)set->scores, set->names, set->n,
                            markup, &text, &err))
        fail_msg("%s", err.message);
    return text;
}

static void release(struct set *set)
{
    for (size_t i = 0; i < set->n; i++)
        ram_score_free(set->scores[i]);
}

static void check_says(struct set *set, enum ram_markup markup, const char *const *says)
{
    char *text = describe(set, markup);

    for (size_t i = 0; says[i]; i++)
        if (!strstr(text, says[i]))
            fail_msg("no \"%s\" in:\n%s", says[i], text);
    free(text);
}

#define SETTINGS  "\"data_sha256\": \"d\", \"data\": \"w.txt\", \"data_tokens\": 99, \"seq_len\": 64"
#define WINDOWS   "\"windows\": 2, \"window_index\": [0, 1], "
#define QUESTIONS "\"data_sha256\": \"q\", \"shots\": 0"

static void make_two_models(struct set *set)
{
    add(set, "a-w.json", "dir/a", "1", NULL, "text", SETTINGS,
        WINDOWS "\"ppl_mean\": 7.5, \"ppl_stderr\": 0.25, \"window_nll\": [2.0, 2.2]");
    add(set, "b-w.json", "./dir//b/", "2", "9", "text", SETTINGS,
        WINDOWS "\"ppl_mean\": 8, \"window_nll\": [2.1, 2.3], \"kld_mean\": 0.125");
    add(set, "a-q.json", "dir/a/", "1", NULL, "arc_challenge", QUESTIONS,
        "\"documents\": 3, \"acc\": 0.5, \"acc_norm\": 0.25, \"document_acc_norm\": [1, 0, 0]");
    add(set, "b-q.json", "dir/b", "2", NULL, "arc_challenge", QUESTIONS,
        "\"documents\": 3, \"acc\": 0.5, \"acc_norm\": 0.75, \"document_acc_norm\": [1, 1, 0]");
}

static void a_model_is_a_row(void **state)
{
    static const char *const text[] = {
        "  a      1.00 MiB  4.500  7.5000 +- 0.250 ",
        "  b      1.00 MiB  4.500           8.0000   +10.517",
        "text: PPL",
        "arc_challenge: acc %",
        "arc_challenge: b against a: 0 questions lost, 1 won",
        "What the columns mean",
        "  KLD            mean KL divergence from the reference model",
        "  TASK: ...      begins the columns of that task",
        NULL};
    static const char *const markdown[] = {"| a     |", "| b     |", "|-------|",
                                           "\n* **KLD**: mean KL divergence", NULL};
    static const char *const csv[] = {
        "model,bytes,bits_per_weight,text_ppl_mean,text_ppl_stderr,text_ppl_change,"
        "text_ppl_change_low,text_ppl_change_high,text_kld_mean,text_efficiency,arc_challenge_acc,"
        "arc_challenge_acc_norm,arc_challenge_acc_norm_change,arc_challenge_questions_lost,"
        "arc_challenge_questions_won,arc_challenge_p_value\n",
        "\na,1048576,4.5,7.5,0.25,,,,,,0.5,0.25,,,,\n",
        "\nb,1048576,4.5,8,,0.1051709181,0.1051709181,0.1051709181,0.125,2.957932071,0.5,0.75,0.5,"
        "0,1,1\n",
        NULL};
    static const char *const json[] = {"\"name\": \"a\",",
                                       "\"scores\": [\n        1,\n        3\n      ]",
                                       "\"compared_with\": \"a-q.json\"", NULL};
    struct set set = {.n = 0};
    (void)state;

    make_two_models(&set);
    check_says(&set, RAM_TEXT, text);
    check_says(&set, RAM_MARKDOWN, markdown);
    check_says(&set, RAM_CSV, csv);
    check_says(&set, RAM_JSON, json);
    release(&set);
}

static void other_settings_are_not_compared(void **state)
{
    static const struct {
        const char *settings, *results, *says;
    } cases[] = {
        {"\"data_sha256\": \"d\", \"data_tokens\": 99, \"seq_len\": 128", WINDOWS,
         "text: b and a: different settings (seq_len 128, not 64); not compared"},
        {"\"data_sha256\": \"e\", \"data\": \"x/other.txt\", \"data_tokens\": 9, \"seq_len\": 64",
         WINDOWS, "different settings (another data file (other.txt)); not compared"},
        {"\"data_sha256\": \"d\", \"data_tokens\": 98, \"seq_len\": 64", WINDOWS,
         "(data_tokens 98, not 99: another tokenizer)"},
        {SETTINGS ", \"precision\": \"f32\"", WINDOWS, "(precision f32, not none)"},
        {SETTINGS, "\"windows\": 2, \"window_index\": [0, 2], ", "(other windows of the text)"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct set set = {.n = 0};
        char results[200];
        add(&set, "a.json", "a", "1", NULL, "text", SETTINGS,
            WINDOWS "\"ppl_mean\": 7, \"window_nll\": [2, 3]");
        snprintf(results, sizeof results, "%s\"ppl_mean\": 8, \"window_nll\": [2, 3]",
                 cases[i].results);
        add(&set, "b.json", "b", "2", NULL, "text", cases[i].settings, results);
        char *text = describe(&set, RAM_TEXT);
        if (!strstr(text, cases[i].says) || strstr(text, "change %"))
            fail_msg("case %zu, expected \"%s\":\n%s", i, cases[i].says, text);
        free(text);
        release(&set);
    }
}

/* Equal headers do not make two directories one model, and names are as long as they must be. */
static void names_tell_models_apart(void **state)
{
    static const char hub[] = "/c/models--org--x/snapshots/0123";
    static const char *const says[] = {"  run1/out ",     "  run2/out ",     "  org/x ",
                                       "  out (z.json) ", "  out (y.json) ", NULL};
    struct set set = {.n = 0};
    (void)state;

    add(&set, "a.json", "run1/out", "1", NULL, "text", SETTINGS, "\"ppl_mean\": 7");
    add(&set, "b.json", "run2/out", "1", NULL, "text", SETTINGS, "\"ppl_mean\": 8");
    add(&set, "c.json", hub, "1", NULL, "text", SETTINGS, "\"ppl_mean\": 9");
    add(&set, "y.json", "out", "1", NULL, "text", SETTINGS, "\"ppl_mean\": 9");
    add(&set, "z.json", "out", "1", NULL, "text", SETTINGS, "\"ppl_mean\": 9");
    check_says(&set, RAM_TEXT, says);
    release(&set);
}

static void another_reference_is_marked(void **state)
{
    static const char *const says[] = {"0.250000 *", "A KLD with * is measured from another", NULL};
    struct set set = {.n = 0};
    (void)state;

    add(&set, "a.json", "a", "1", "8", "text", SETTINGS, "\"kld_mean\": 0.5");
    add(&set, "b.json", "b", "1", "9", "text", SETTINGS, "\"kld_mean\": 0.25");
    check_says(&set, RAM_TEXT, says);
    release(&set);
}

static void names_do_not_break_tables(void **state)
{
    static const char *const csv[] = {"\n\"a,\"\"b|\",", NULL};
    static const char *const markdown[] = {"| a,\"b\\| |", NULL};
    struct set set = {.n = 0};
    (void)state;

    add(&set, "a.json", "a,\\\"b|", "1", NULL, "text", SETTINGS, "\"ppl_mean\": 7");
    check_says(&set, RAM_CSV, csv);
    check_says(&set, RAM_MARKDOWN, markdown);
    release(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_a_row),
        cmocka_unit_test(other_settings_are_not_compared),
        cmocka_unit_test(names_tell_models_apart),
        cmocka_unit_test(another_reference_is_marked),
        cmocka_unit_test(names_do_not_break_tables),
    };
    return cmocka_run_group_tests_name("face/compare", tests, NULL, NULL);
}
