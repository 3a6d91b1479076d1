/* What Python does to text, which examples stand before a question, and where a prompt ends and a
 * choice begins. Vectors: Python 3.11.7 and lm-evaluation-harness 0.4.11 (its preprocess(), its
 * TemplateLM._encode_pair() over transformers' tokenizer of the shipped model). */
#include "evaluate/prompt.h"
#include "evaluate/prompt_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- text ------------------------------------------------------------------------------- */

struct vector {
    const char *text, *expected;
};

static void check_text(void (*function)(const char *, struct ram_buf *), const struct vector *v,
                       size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ram_buf buf = {0};
        function(v[i].text, &buf);
        assert_string_equal(buf.data ? buf.data : "", v[i].expected);
        ram_buf_release(&buf);
    }
}

static void capitals(void **state)
{
    static const struct vector vectors[] = {
        {"", ""},
        {"he SAW", "He saw"},
        {" HE", " he"},
        {"ßTRASSE", "Sstrasse"},
        {"ǆ Ǆ", "ǅ ǆ"},           /* title case is not upper case */
        {"ΟΔΟΣ ΣΑΣ", "Οδος σας"}, /* a final sigma, and one that is not */
        {"ΑΣ.Β Σ", "Ασ.β σ"},     /* a stop inside a word does not end it */
        {"AİI", "Ai̇i"},
        {"ŉx", "ʼNx"},
        {"ﬁN", "Fin"},
        {"日本 X", "日本 x"},
    };
    (void)state;

    check_text(ram_text_capitalize, vectors, sizeof vectors / sizeof *vectors);
}

static void cleaning(void **state)
{
    static const struct vector vectors[] = {
        {"", ""},
        {" \xE3\x80\x80 a \x1C\xC2\x85", "a"}, /* U+3000, U+001C, U+0085 are white space */
        {"[header] A [title] b", " A. b"},     /* not stripped again */
        {"a [step] b", "a b"},                 /* the two spaces that are left become one */
        {"a   b    c", "a  b  c"},             /* once */
        {"[a [b] c]", " c]"},                  /* not greedy */
        {"[a\nb] [c]", "[a\nb] "},             /* not across lines */
        {"[[", "[["},
        {"x]", "x]"},
        {"[title]", ""},
    };
    (void)state;

    check_text(ram_text_clean, vectors, sizeof vectors / sizeof *vectors);
}

static void lengths_and_ends(void **state)
{
    (void)state;

    assert_int_equal(ram_text_length("na\xC3\xAFve \xF0\x9F\x98\x80", 11), 7);
    assert_int_equal(ram_text_length("", 0), 0);
    assert_int_equal(ram_text_space_at_end("a \xE3\x80\x80\n", 6), 5);
    assert_int_equal(ram_text_space_at_end("\xE2\x80\x8B", 3), 0); /* zero width: not white space */
    assert_int_equal(ram_text_space_at_end(" \t", 2), 2);
    assert_int_equal(ram_text_space_at_end("\x80\x80 ", 3), 1); /* not UTF-8 */
}

/* ---- examples --------------------------------------------------------------------------- */

/* n questions "q0" ... with the answer "a". */
static void make_pool(struct ram_documents *pool, size_t n)
{
    struct ram_buf text = {0};
    struct ram_err err = {0};

    for (size_t i = 0; i < n; i++)
        ram_buf_printf(&text, "{\"query\":\"q%zu\",\"choices\":[\"a\",\"b\"],\"gold\":0}\n", i);
    assert_int_equal(ram_documents_parse(pool, text.data, text.size,
                                         &(struct ram_documents_opts){.task = RAM_ARC_CHALLENGE},
                                         "pool", &err),
                     RAM_OK);
    ram_buf_release(&text);
}

/* r = Random(1234); r.sample(range(1119), 25), twice */
static void one_generator_serves_all_documents(void **state)
{
    static const size_t first[] = {902, 239, 15, 185, 71}, second[] = {954, 140, 182, 1054, 94};
    struct ram_documents pool;
    struct ram_fewshot fewshot;
    struct ram_err err = {0};
    (void)state;

    make_pool(&pool, 1119);
    assert_int_equal(ram_fewshot_init(&fewshot, &pool, 25, false, &err), RAM_OK);
    assert_int_equal(ram_fewshot_draw(&fewshot, &pool.items[0], &err), RAM_OK);
    assert_memory_equal(fewshot.drawn, first, sizeof first);
    assert_int_equal(ram_fewshot_draw(&fewshot, &pool.items[1], &err), RAM_OK);
    assert_memory_equal(fewshot.drawn, second, sizeof second);
    ram_fewshot_release(&fewshot);
    ram_documents_release(&pool);
}

/* Random(1234).sample(range(4), 3) is [3, 0, 2] */
static void a_question_is_not_its_own_example(void **state)
{
    struct ram_documents pool;
    struct ram_fewshot fewshot;
    struct ram_buf prompt = {0};
    struct ram_err err = {0};
    (void)state;

    make_pool(&pool, 4);
    assert_int_equal(ram_fewshot_init(&fewshot, &pool, 2, true, &err), RAM_OK);
    assert_int_equal(ram_fewshot_draw(&fewshot, &pool.items[3], &err), RAM_OK);
    ram_prompt_write(&fewshot, &pool.items[3], &prompt);
    assert_string_equal(prompt.data, "q0 a\n\nq2 a\n\nq3");
    ram_buf_release(&prompt);
    ram_fewshot_release(&fewshot);

    assert_int_equal(ram_fewshot_init(&fewshot, &pool, 2, true, &err), RAM_OK);
    assert_int_equal(ram_fewshot_draw(&fewshot, &pool.items[2], &err), RAM_OK);
    ram_prompt_write(&fewshot, &pool.items[2], &prompt);
    assert_string_equal(prompt.data, "q3 a\n\nq0 a\n\nq2");
    ram_buf_release(&prompt);
    ram_fewshot_release(&fewshot);

    assert_int_equal(ram_fewshot_init(&fewshot, &pool, 4, true, &err), RAM_ERANGE);
    assert_non_null(strstr(err.message, "5 are drawn"));
    ram_documents_release(&pool);
}

/* ---- tokens ----------------------------------------------------------------------------- */

struct fixture {
    struct ram_tokenizer *tokenizer;
    struct ram_encoder *encoder;
    struct ram_prompt_ids ids;
};

static int open_tokenizer(void **state)
{
    static struct fixture fixture;
    struct ram_err err = {0};
    char path[4096];

    snprintf(path, sizeof path, "%s/examples/tiny-qwen3", getenv("RAM_SOURCE"));
    *state = &fixture;
    return ram_tokenizer_read(&fixture.tokenizer, path, &err) ||
           ram_encoder_new(&fixture.encoder, fixture.tokenizer, &err);
}

static int close_tokenizer(void **state)
{
    struct fixture *fixture = *state;

    ram_prompt_ids_release(&fixture->ids);
    ram_encoder_free(fixture->encoder);
    ram_tokenizer_free(fixture->tokenizer);
    return 0;
}

static int encode(struct fixture *fixture, const char *prompt, const char *first,
                  const char *second, struct ram_err *err)
{
    const char *choices[] = {first, second};
    const struct ram_document document = {.choices = choices, .n_choices = 2};
    struct ram_buf buf = {0};

    *err = (struct ram_err){0};
    ram_buf_puts(&buf, prompt);
    const int status = ram_prompt_encode(fixture->encoder, fixture->tokenizer, &buf, &document,
                                         &fixture->ids, err);
    ram_buf_release(&buf);
    return status;
}

static void check_ids(const uint32_t *ids, size_t n, const uint32_t *expected, size_t n_expected)
{
    assert_int_equal(n, n_expected);
    assert_memory_equal(ids, expected, n * sizeof *ids);
}

static void choices_continue_the_prompt(void **state)
{
    static const uint32_t context[] = {48, 84,  388, 290, 25,   1102, 88,
                                       30, 198, 32,  77,  3208, 261,  25};
    static const uint32_t choices[] = {1051, 551, 260, 2429, 554};
    struct fixture *fixture = *state;
    const struct ram_prompt_ids *ids = &fixture->ids;
    struct ram_err err;

    assert_int_equal(encode(fixture, "Question: Why?\nAnswer:", "blue", "the red one", &err), 0);
    check_ids(ids->context.items, ids->context.n, context, 14);
    check_ids(ids->choices.items, ids->choices.n, choices, 5);
    assert_int_equal(ids->ends[0], 2);
    assert_int_equal(ids->ends[1], 5);
}

static void white_space_goes_to_the_choices(void **state)
{
    static const uint32_t context[] = {46, 67, 67, 25, 258, 284};
    static const uint32_t choices[] = {220, 159, 222, 222, 220, 1051, 551,
                                       220, 159, 222, 222, 220, 220};
    struct fixture *fixture = *state;
    const struct ram_prompt_ids *ids = &fixture->ids;
    struct ram_err err;

    assert_int_equal(encode(fixture, "Odd: a b \xE3\x80\x80 ", "blue", "", &err), 0);
    check_ids(ids->context.items, ids->context.n, context, 6);
    check_ids(ids->choices.items, ids->choices.n, choices, 13);
    assert_int_equal(ids->ends[0], 7);
    assert_int_equal(encode(fixture, " \n", "blue", "", &err), RAM_EFORMAT);
    assert_non_null(strstr(err.message, "white space"));
}

static void an_empty_prompt_is_the_prefix_token(void **state)
{
    static const uint32_t context[] = {4095}, choices[] = {1051, 551, 220, 4095, 87};
    struct fixture *fixture = *state;
    const struct ram_prompt_ids *ids = &fixture->ids;
    struct ram_err err;

    assert_int_equal(encode(fixture, "", "blue", "<|im_end|>x", &err), 0);
    check_ids(ids->context.items, ids->context.n, context, 1);
    check_ids(ids->choices.items, ids->choices.n, choices, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capitals),
        cmocka_unit_test(cleaning),
        cmocka_unit_test(lengths_and_ends),
        cmocka_unit_test(one_generator_serves_all_documents),
        cmocka_unit_test(a_question_is_not_its_own_example),
        cmocka_unit_test(choices_continue_the_prompt),
        cmocka_unit_test(white_space_goes_to_the_choices),
        cmocka_unit_test(an_empty_prompt_is_the_prefix_token),
    };
    return cmocka_run_group_tests_name("evaluate/prompt", tests, open_tokenizer, close_tokenizer);
}
