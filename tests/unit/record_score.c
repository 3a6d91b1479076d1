/* Scores survive the way through JSON, and broken ones are refused with a reason. */
#include "record/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_score_survives_a_round_trip(void **state)
{
    struct ram_err err = {0};
    struct ram_score *score = NULL, *again = NULL;
    char *text = NULL, *second = NULL;
    (void)state;

    assert_int_equal(ram_score_new(&score, &err), RAM_OK);
    score->version = "1.2.3";
    score->task = "wikitext";
    score->model = (struct ram_score_model){"/m", 123456789012345, 4.531234567890123, "abc"};
    json_object_set_new(score->results, "nll", json_real(0.1 + 0.2));
    score->seconds = 1.0 / 3;
    score->peak_memory_bytes = 42;
    assert_int_equal(ram_score_text(score, &text, &err), RAM_OK);
    assert_int_equal(ram_score_parse(&again, text, strlen(text), "test", &err), RAM_OK);
    assert_string_equal(again->task, "wikitext");
    assert_int_equal(again->model.bytes, score->model.bytes);
    assert_true(again->model.effective_bits == score->model.effective_bits);
    assert_int_equal(again->reference.bytes, 0);
    assert_true(json_number_value(json_object_get(again->results, "nll")) == 0.1 + 0.2);
    assert_int_equal(ram_score_text(again, &second, &err), RAM_OK);
    assert_string_equal(text, second);
    free(text);
    free(second);
    ram_score_free(score);
    ram_score_free(again);
}

static void broken_scores_are_refused(void **state)
{
    static const char *const broken[] = {
        "",
        "[]",
        "{}",
        "{\"schema\": \"ram.score/2\"}",
        "{\"schema\": 1}",
        "{\"schema\": \"ram.score/1\", \"ram\": \"x\", \"task\": \"text\", \"model\": 3}",
        "{\"schema\": \"ram.score/1\", \"schema\": \"ram.score/1\"}"};
    (void)state;

    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct ram_err err = {0};
        struct ram_score *score = NULL;
        assert_int_equal(ram_score_parse(&score, broken[i], strlen(broken[i]), "test", &err),
                         RAM_EFORMAT);
        assert_null(score);
        assert_memory_equal(err.message, "test: ", 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_survives_a_round_trip),
        cmocka_unit_test(broken_scores_are_refused),
    };
    return cmocka_run_group_tests_name("record/score", tests, NULL, NULL);
}
