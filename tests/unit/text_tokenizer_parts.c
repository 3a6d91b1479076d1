/* The parts of a tokenizer, each against something that does not share its code: the Unicode
 * standard's own examples, utf8proc's whole normaliser, PCRE2, and merging by the definition. */
#include "text/tokenizer_added.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_split.h"
#include "text/tokenizer_text.h"

#include "base/mem.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define FFFD     "\xEF\xBF\xBD"

/* Random numbers of one test, in order. */
struct draw {
    struct ram_rng rng;
    uint64_t i;
};

static size_t below(struct draw *draw, size_t n)
{
    return (size_t)(ram_rng_u64(draw->rng, draw->i++) % n);
}

static void add_char(struct ram_buf *buf, uint32_t c)
{
    uint8_t utf8[4];
    ram_buf_add(buf, utf8, (size_t)utf8proc_encode_char((utf8proc_int32_t)c, utf8));
}

/* A code point that is no surrogate, near the start of Unicode more often than not. */
static uint32_t any_char(struct draw *draw)
{
    static const uint32_t ends[] = {0x80, 0x80, 0x250, 0x3000, 0x10000, 0x110000};
    uint32_t c;

    do
        c = (uint32_t)below(draw, ends[below(draw, COUNT(ends))]);
    while (c >= 0xD800 && c < 0xE000);
    return c;
}

/* ---- UTF-8 -------------------------------------------------------------------------------- */

static void repair_follows_the_standard(void **state)
{
    /* Tables 3-8 to 3-11 of the Unicode standard, and an empty and a valid text. */
    static const struct {
        const char *bytes, *repaired;
    } cases[] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A"},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A"},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", FFFD FFFD FFFD FFFD "A"},
        {"", ""},
        {"plain ascii, long enough for words of eight", "plain ascii, long enough for words of "
                                                        "eight"},
        {"\xF0\x9F\x98\x80 \xE4\xB8\x80 \xC3\xA9", "\xF0\x9F\x98\x80 \xE4\xB8\x80 \xC3\xA9"},
        {"\xF0\x9F\x98", FFFD},
        {"\xF0\x9F\x98\xF0\x9F\x98\x80", FFFD "\xF0\x9F\x98\x80"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ram_buf out = {0};
        ram_utf8_repair((const uint8_t *)cases[i].bytes, strlen(cases[i].bytes), &out);
        assert_string_equal(out.data ? out.data : "", cases[i].repaired);
        assert_int_equal(ram_utf8_valid((const uint8_t *)out.data, out.size), out.size);
        ram_buf_release(&out);
    }
}

/* ---- NFC ---------------------------------------------------------------------------------- */

static void assert_nfc(const char *text, size_t size, const char *expected, size_t n)
{
    struct ram_buf out = {0};
    struct ram_err err = {0};

    ram_buf_add(&out, "", 0);
    assert_int_equal(ram_nfc((const uint8_t *)text, size, &out, &err), RAM_OK);
    assert_int_equal(out.size, n);
    assert_memory_equal(out.data, expected, n);
    ram_buf_release(&out);
}

static void nfc_of_known_texts(void **state)
{
    /* From UAX #15 and NormalizationTest.txt. */
    static const char *const cases[][2] = {
        {"e\u0301", "\u00E9"},
        {"\u212B \u2126", "\u00C5 \u03A9"},            /* singletons */
        {"\u1F71", "\u03AC"},                          /* one whose parts compose */
        {"\u0958", "\u0915\u093C"},                    /* excluded from composition */
        {"\u1E9B\u0323", "\u1E9B\u0323"},              /* compatibility stays */
        {"q\u0307\u0323", "q\u0323\u0307"},            /* order */
        {"\u1E0B\u0323", "\u1E0D\u0307"},              /* composes with the other mark */
        {"\u1100\u1161\u11A8", "\uAC01"},              /* jamo */
        {"\uAC00\u11A8", "\uAC01"},                    /* syllable and jamo */
        {"\uAC00\u11A7", "\uAC00\u11A7"},              /* no jamo, though next to them */
        {"\u09C7\u09BE", "\u09CB"},                    /* two starters */
        {"a\u05B0\u0300\u0308", "\u00E0\u05B0\u0308"}, /* past a mark of another class */
        {"\U0001D15E", "\U0001D157\U0001D165"},
        {"\u0301\u0301", "\u0301\u0301"}, /* begins with marks */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_nfc(cases[i][0], strlen(cases[i][0]), cases[i][1], strlen(cases[i][1]));
}

/* Text in which characters that compose are frequent. */
static void composing_text(struct draw *draw, struct ram_buf *out)
{
    static const uint32_t starts[] = {'a',   'o',    0x915,  0x1100, 0x1161, 0x11A8, 0xAC00,
                                      0x391, 0x1F00, 0x212B, 0x9C7,  0xF900, 0x1E0B, 0x3046};
    const size_t n = 1 + below(draw, 12);
    for (size_t i = 0; i < n; i++) {
        const size_t kind = below(draw, 3);
        uint32_t c = kind == 0   ? any_char(draw)
                     : kind == 1 ? starts[below(draw, COUNT(starts))] + (uint32_t)below(draw, 3)
                                 : 0x300 + (uint32_t)below(draw, 0x70);
        if (c != 0x11A7) /* utf8proc is wrong there: tested above */
            add_char(out, c);
    }
}

static void nfc_as_utf8proc_does_the_whole(void **state)
{
    struct draw draw = {ram_rng_for(1, "nfc"), 0};
    (void)state;

    for (int round = 0; round < 40000; round++) {
        struct ram_buf text = {0};
        utf8proc_uint8_t *expected = NULL;
        composing_text(&draw, &text);
        if (!text.size)
            continue;
        const utf8proc_ssize_t n =
            utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.size,
                         &expected, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        assert_true(n >= 0);
        assert_nfc(text.data, text.size, (const char *)expected, (size_t)n);
        /* What counts as stable is not changed, whatever comes behind it. */
        const size_t stable = ram_nfc_stable((const uint8_t *)text.data, text.size);
        assert_true(stable <= (size_t)n);
        assert_memory_equal(text.data, expected, stable);
        free(expected);
        ram_buf_release(&text);
    }
}

static void nfc_of_many_marks_is_linear(void **state)
{
    enum { N = 400000 };
    struct ram_buf text = {0}, expected = {0};
    (void)state;

    /* Half of them belong before the other half: a bubble sort would take hours. */
    ram_buf_puts(&text, "q");
    ram_buf_puts(&expected, "q");
    for (size_t i = 0; i < 2 * N; i++) {
        add_char(&text, i < N ? 0x307 : 0x323);
        add_char(&expected, i < N ? 0x323 : 0x307);
    }
    assert_nfc(text.data, text.size, expected.data, expected.size);
    ram_buf_release(&text);
    ram_buf_release(&expected);
}

/* ---- patterns ------------------------------------------------------------------------------ */

static struct ram_split_rx *compile(const char *pattern)
{
    struct ram_split_rx *rx = NULL;
    struct ram_err err = {0};
    if (ram_split_rx_new(&rx, pattern, "test", &err))
        fail_msg("%s", err.message);
    return rx;
}

static bool find(const struct ram_split_rx *rx, const char *text, size_t size, size_t from,
                 struct ram_text_range *span)
{
    static struct ram_split_scratch *scratch;
    struct ram_err err = {0};

    if (!scratch)
        assert_int_equal(ram_split_scratch_new(&scratch, &err), RAM_OK);
    *span = (struct ram_text_range){from, from};
    const int found = ram_split_rx_find(rx, scratch, (const uint8_t *)text, size, span, &err);
    if (found < 0)
        fail_msg("%s", err.message);
    return found;
}

/* Do PCRE2 and utf8proc, of different Unicode versions, put c into the same class? */
static bool same_class(uint32_t c, struct ram_split_rx *const classes[3])
{
    char utf8[4];
    const size_t size = (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)utf8);
    struct ram_text_range span;
    enum ram_char_class class = RAM_CHAR_OTHER;

    for (int i = 0; i < 3; i++)
        if (find(classes[i], utf8, size, 0, &span))
            class =
                (const enum ram_char_class[]){RAM_CHAR_LETTER, RAM_CHAR_NUMBER, RAM_CHAR_SPACE}[i];
    return class == ram_char_class(c);
}

static void classes_agree_but_for_new_characters(void **state)
{
    struct ram_split_rx *classes[3] = {compile("\\p{L}"), compile("\\p{N}"), compile("\\s")};
    size_t n_different = 0;
    (void)state;

    for (uint32_t c = 0; c < 0x110000; c++)
        if ((c < 0xD800 || c >= 0xE000) && !same_class(c, classes)) {
            n_different++;
            assert_true(c >= 0x300); /* all of them were given out after 2020 */
        }
    assert_in_range(n_different, 0, 20000);
    for (int i = 0; i < 3; i++)
        ram_split_rx_free(classes[i]);
}

static void random_text(struct draw *draw, struct ram_split_rx *const classes[3],
                        struct ram_buf *out)
{
    static const char *const bits[] = {
        "'s",     "'S",         "'T",      "'re",    "'VE",    "'ll",    "'lL",      "'m",
        "'d",     "'\u017F",    "'",       "' ",     " ",      "  ",     "\t",       "\n",
        "\r\n",   " \n",        "\n ",     "\u00A0", "\u2028", "\u3000", "\xC2\x85", "\u180E",
        "1",      "12",         "1234567", "\u00BD", "\u0663", "a",      "abc",      "\u00E9",
        "\u4E00", "e\u0301",    "\u0301",  "(",      "...",    "!?",     "-",        "_",
        "\u2019", "\U0001F600", "\u200D",  "x1y2",   " a",     " 1",     " ("};
    const size_t n = 1 + below(draw, 20);

    for (size_t i = 0; i < n; i++) {
        const uint32_t c = any_char(draw);
        if (below(draw, 4))
            ram_buf_puts(out, bits[below(draw, COUNT(bits))]);
        else if (same_class(c, classes))
            add_char(out, c);
    }
}

static void styles_cut_as_their_patterns_do(void **state)
{
    struct ram_split_rx *classes[3] = {compile("\\p{L}"), compile("\\p{N}"), compile("\\s")};
    struct draw draw = {ram_rng_for(2, "split"), 0};
    (void)state;

    for (int style = 0; style < RAM_SPLIT_N_STYLES; style++) {
        struct ram_split_rx *rx = compile(ram_split_patterns[style]);
        for (int round = 0; round < 30000; round++) {
            struct ram_buf text = {0};
            random_text(&draw, classes, &text);
            for (size_t at = 0; at < text.size;) {
                struct ram_text_range span;
                assert_true(find(rx, text.data, text.size, at, &span));
                assert_int_equal(span.start, at); /* the patterns leave nothing out */
                const size_t n = ram_split_next((enum ram_split_style)style,
                                                (const uint8_t *)text.data + at, text.size - at);
                if (n != span.end - at)
                    fail_msg("style %d cuts \"%s\" at %zu after %zu bytes instead of %zu", style,
                             text.data, at, n, span.end - at);
                at += n;
            }
            ram_buf_release(&text);
        }
        ram_split_rx_free(rx);
    }
    for (int i = 0; i < 3; i++)
        ram_split_rx_free(classes[i]);
}

static void patterns_mean_what_oniguruma_means(void **state)
{
    /* Each checked with the library's own Split. end < 0: no match. */
    static const struct {
        const char *pattern, *text;
        int start, end;
    } cases[] = {
        {"\\s+", "a\u180Eb", -1, -1}, /* no white space since Unicode 6.3 */
        {"\\s+",
         "a\xC2\x85\u2028"
         "b",
         1, 6},
        {"[^\\S\\n]+", "a\n \u3000b", 2, 6},
        {"\\w+", "-e\u0301_\u24B6-", 1, 8},
        {"a\\b", "a\u0301", -1, -1},
        {"^b", "a\nb", 2, 3},
        {"a$", "a\nb", 0, 1},
        {"(?i:'s)", "'\u017F", 0, 3},
        {"(?i)k", "\u212A", 0, 3},
        {"\\p{Han}+", "a\u3005\u4E00b", 1, 7},
        {"\\p{Han}", "\u3001", -1, -1}, /* its Script_Extensions have Han */
        {"\\p{^L}", "ab1", 2, 3},
        {"\\u00e9|\\x{4e00}|\\x41", "A", 0, 1},
        {"[\\x{4e00}-\\x{9fa5}]+", "x\u4E00\u4E01", 1, 7},
        {"\\v", "\n\v", 1, 2},
        {"[\\b]", "\b", 0, 1},
        {".+", "\r\nx", 0, 1},
        {"x{2}", "xxx", 0, 2},
        {"(?>a+)b|(?<=c)d|(?<!c)e|(?:f)", "cd", 1, 2},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ram_split_rx *rx = compile(cases[i].pattern);
        struct ram_text_range span = {0};
        const bool found = find(rx, cases[i].text, strlen(cases[i].text), 0, &span);
        if (found != (cases[i].end >= 0) ||
            (found && (span.start != (size_t)cases[i].start || span.end != (size_t)cases[i].end)))
            fail_msg("%s: %d, %zu to %zu", cases[i].pattern, found, span.start, span.end);
        ram_split_rx_free(rx);
    }
}

static void other_constructs_are_refused(void **state)
{
    static const char *const unsupported[] = {
        "[a-z&&[^b]]", "[a[bc]]", "[[:alpha:]]", "\\h",     "\\R",        "a{1,2}+", "a{2}?",
        "a{,2}",       "(?m:a)",  "a(?i)b|c",    "(?<n>a)", "(*ACCEPT)a", "[]a]",    "\\xe9",
        "\\u12",       "\\G",     "[\\W]",       "\\X",     "\\p",        "a\\",     "(?#x)"};
    static const char *const wrong[] = {"(", "a)", "[a", "*", "\\p{Klingonish}", "(?<=a+)b"};
    struct ram_split_rx *rx = NULL;
    (void)state;

    for (size_t i = 0; i < COUNT(unsupported); i++) {
        struct ram_err err = {0};
        if (ram_split_rx_new(&rx, unsupported[i], "here", &err) != RAM_EUNSUPPORTED)
            fail_msg("%s: %s", unsupported[i], err.message);
        assert_non_null(strstr(err.message, "here: "));
    }
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct ram_err err = {0};
        if (ram_split_rx_new(&rx, wrong[i], "here", &err) != RAM_EFORMAT)
            fail_msg("%s: %s", wrong[i], err.message);
    }
    char *long_one = calloc(RAM_TOK_MAX_PATTERN + 2, 1);
    struct ram_err err = {0};
    memset(long_one, 'a', RAM_TOK_MAX_PATTERN + 1);
    assert_int_equal(ram_split_rx_new(&rx, long_one, "here", &err), RAM_ERANGE);
    free(long_one);
}

static void hopeless_patterns_stop(void **state)
{
    struct ram_split_rx *rx = compile("(?:a+)+\\z");
    struct ram_split_scratch *scratch = NULL;
    struct ram_err err = {0};
    struct ram_text_range span = {0};
    uint8_t text[64];
    (void)state;

    memset(text, 'a', sizeof text);
    text[63] = 'b';
    assert_int_equal(ram_split_scratch_new(&scratch, &err), RAM_OK);
    assert_int_equal(ram_split_rx_find(rx, scratch, text, sizeof text, &span, &err), RAM_ERANGE);
    assert_non_null(strstr(err.message, "at byte 0 of a piece of 64 bytes"));
    ram_split_scratch_free(scratch);
    ram_split_rx_free(rx);
}

/* ---- added tokens --------------------------------------------------------------------------- */

static void longest_of_the_leftmost(void **state)
{
    static const char *const texts[] = {"<", "<a", "<a>", "<ab>", "b>c", "\u4E00", ">>"};
    struct ram_added tokens[COUNT(texts)] = {{0}};
    const struct ram_added **items = calloc(COUNT(texts), sizeof *items);
    struct ram_added_set set;
    struct ram_added_match match;
    static const char text[] = "x<ab>c<aa<a>>\u4E00<";
    static const struct {
        uint32_t id;
        size_t start, end;
    } expected[] = {{3, 1, 5}, {1, 6, 8}, {2, 9, 12}, {5, 13, 16}, {0, 16, 17}};
    size_t at = 0, n = 0;
    (void)state;

    for (uint32_t i = 0; i < COUNT(texts); i++) {
        tokens[i] = (struct ram_added){
            .content = texts[i], .text = texts[i], .size = strlen(texts[i]), .id = i};
        items[i] = &tokens[i];
    }
    ram_added_set_init(&set, items, COUNT(texts));
    for (; ram_added_set_next(&set, (const uint8_t *)text, strlen(text), at, &at, &match); n++) {
        assert_true(n < COUNT(expected));
        assert_int_equal(match.token->id, expected[n].id);
        assert_int_equal(match.start, expected[n].start);
        assert_int_equal(match.end, expected[n].end);
    }
    assert_int_equal(n, COUNT(expected));
    ram_added_set_release(&set);
}

/* ---- merging --------------------------------------------------------------------------------- */

enum { N_LETTERS = 3, N_RULES = 40 };

struct rule {
    char left[32], right[32];
};

/* Rules that make sense only now and then: ranks follow no order that training would give. */
static size_t random_rules(struct draw *draw, struct rule rules[N_RULES], json_t *ids)
{
    const char *tokens[N_RULES + N_LETTERS];
    static const char *const letters[N_LETTERS] = {"a", "b", "c"};
    char joined[N_RULES][64];
    size_t n = N_LETTERS, n_rules = 0;

    for (size_t i = 0; i < N_LETTERS; i++) {
        tokens[i] = letters[i];
        json_object_set_new(ids, letters[i], json_integer((json_int_t)i));
    }
    for (size_t i = 0; i < N_RULES; i++) {
        const char *left = tokens[below(draw, n)], *right = tokens[below(draw, n)];
        snprintf(joined[i], sizeof joined[i], "%s%s", left, right);
        if (strlen(joined[i]) > 12)
            continue;
        snprintf(rules[n_rules].left, sizeof rules->left, "%s", left);
        snprintf(rules[n_rules++].right, sizeof rules->right, "%s", right);
        if (!json_object_get(ids, joined[i])) {
            json_object_set_new(ids, joined[i], json_integer((json_int_t)n));
            tokens[n++] = joined[i];
        }
    }
    for (size_t i = n_rules; i > 1; i--) { /* ranks at random */
        const size_t j = below(draw, i);
        const struct rule swap = rules[i - 1];
        rules[i - 1] = rules[j];
        rules[j] = swap;
    }
    return n_rules;
}

/* Merging by its definition, on strings. */
static size_t merge_by_definition(const struct rule *rules, size_t n_rules, const char *word,
                                  char (*parts)[32])
{
    size_t n = strlen(word);

    for (size_t i = 0; i < n; i++)
        snprintf(parts[i], sizeof parts[i], "%c", word[i]);
    for (;;) {
        size_t best = n_rules, where = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t r = n_rules; r-- > 0;) /* of equal pairs the last rule counts */
                if (!strcmp(rules[r].left, parts[i]) && !strcmp(rules[r].right, parts[i + 1])) {
                    if (r < best) {
                        best = r;
                        where = i;
                    }
                    break;
                }
        if (best == n_rules)
            return n;
        const size_t size = strlen(parts[where]);
        memcpy(parts[where] + size, parts[where + 1], sizeof *parts - size);
        memmove(parts + where + 1, parts + where + 2, (n - where - 2) * sizeof *parts);
        n--;
    }
}

static void build_model(struct ram_bpe_model *model, const json_t *ids, const struct rule *rules,
                        size_t n_rules)
{
    struct ram_err err = {0};

    *model = (struct ram_bpe_model){.unk = RAM_TOK_NO_ID};
    assert_int_equal(ram_vocab_init(&model->vocab, ids, "test", &err), RAM_OK);
    assert_int_equal(ram_merges_init(&model->merges, n_rules, &err), RAM_OK);
    for (size_t i = 0; i < n_rules; i++) {
        const struct ram_spelling pair[2] = {{rules[i].left, strlen(rules[i].left)},
                                             {rules[i].right, strlen(rules[i].right)}};
        assert_int_equal(
            ram_merges_add(&model->merges, &model->vocab, (uint32_t)i, pair, "test", &err), RAM_OK);
    }
}

static void merges_as_defined(void **state)
{
    struct draw draw = {ram_rng_for(3, "merge"), 0};
    char(*parts)[32] = calloc(1000, sizeof *parts);
    (void)state;

    for (int round = 0; round < 150; round++) {
        struct rule rules[N_RULES];
        struct ram_bpe_model model;
        struct ram_bpe bpe = {0};
        json_t *ids = json_object();
        const size_t n_rules = random_rules(&draw, rules, ids);
        build_model(&model, ids, rules, n_rules);
        for (int k = 0; k < 20; k++) { /* lengths on both sides of where the method changes */
            struct ram_ids out = {0};
            struct ram_err err = {0};
            char word[401] = {0};
            const size_t size = 1 + below(&draw, k < 10 ? 60 : 400);
            for (size_t i = 0; i < size; i++)
                word[i] = "abc"[below(&draw, N_LETTERS)];
            const size_t n = merge_by_definition(rules, n_rules, word, parts);
            assert_int_equal(ram_bpe_word(&bpe, &model, (const uint8_t *)word, size, &out, &err),
                             RAM_OK);
            assert_int_equal(out.n, n);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(out.items[i], json_integer_value(json_object_get(ids, parts[i])));
            ram_ids_release(&out);
        }
        ram_bpe_release(&bpe);
        ram_vocab_release(&model.vocab);
        ram_merges_release(&model.merges);
        json_decref(ids);
    }
    free(parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repair_follows_the_standard),
        cmocka_unit_test(nfc_of_known_texts),
        cmocka_unit_test(nfc_as_utf8proc_does_the_whole),
        cmocka_unit_test(nfc_of_many_marks_is_linear),
        cmocka_unit_test(classes_agree_but_for_new_characters),
        cmocka_unit_test(styles_cut_as_their_patterns_do),
        cmocka_unit_test(patterns_mean_what_oniguruma_means),
        cmocka_unit_test(other_constructs_are_refused),
        cmocka_unit_test(hopeless_patterns_stop),
        cmocka_unit_test(longest_of_the_leftmost),
        cmocka_unit_test(merges_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
