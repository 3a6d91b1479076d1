/*
 * Tokenizers as a whole: every step of a tokenizer.json on small ones, and what is refused.
 * Expected pieces and ids were taken from Hugging Face `tokenizers` and its documentation.
 */
#include "text/tokenizer.h"

#include "base/file.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- small tokenizers ---------------------------------------------------------------------- */

static struct ram_tokenizer *parse(const char *json)
{
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_err err = {0};
    if (ram_tokenizer_parse(&tokenizer, json, strlen(json), "t.json", &err))
        fail_msg("%s", err.message);
    return tokenizer;
}

/* The tokens of a text as "[a][b]"; of bytes without a name in hexadecimal. */
static void show(struct ram_tokenizer *tokenizer, const char *text, enum ram_encode mode,
                 struct ram_buf *out)
{
    struct ram_encoder *encoder = NULL;
    struct ram_ids ids = {0};
    struct ram_err err = {0};

    assert_int_equal(ram_encoder_new(&encoder, tokenizer, &err), RAM_OK);
    assert_int_equal(ram_encoder_run(encoder, text, strlen(text), mode, &ids, &err), RAM_OK);
    ram_buf_puts(out, "");
    for (size_t i = 0; i < ids.n; i++) {
        ram_buf_puts(out, "[");
        ram_tokenizer_decode(tokenizer, &ids.items[i], 1, RAM_DECODE_ALL, out);
        ram_buf_puts(out, "]");
    }
    ram_ids_release(&ids);
    ram_encoder_free(encoder);
}

static void assert_tokens(struct ram_tokenizer *tokenizer, const char *text, const char *expected)
{
    struct ram_buf out = {0};
    show(tokenizer, text, RAM_ENCODE_PLAIN, &out);
    assert_string_equal(out.data ? out.data : "", expected);
    ram_buf_release(&out);
}

/* A tokenizer.json. Members that are not strings of JSON say what is usual. */
static char *spec(const char *pre_tokenizer, const char *extra, const char *model_extra)
{
    struct ram_buf out = {0};
    struct ram_err err = {0};
    char *text = NULL;

    ram_buf_printf(&out,
                   "{\"pre_tokenizer\": %s, %s \"model\": {\"type\": \"BPE\", %s \"vocab\": {",
                   pre_tokenizer, extra, model_extra);
    for (unsigned i = 0; i < 26; i++)
        ram_buf_printf(&out, "\"%c\": %u, \"%c\": %u, ", 'a' + i, i, 'A' + i, 26 + i);
    ram_buf_puts(&out,
                 "\"\u0120\": 52, \"-\": 53, \"\u00C3\": 54, \"\u00A9\": 55, \"\u010A\": 56, "
                 "\"1\": 57, \".\": 58, \"\u00CC\": 59, \"\u0123\": 60, \"_\": 61, \"<\": 62, "
                 "\">\": 63, \"the\": 64, \"final\": 65, \"countdown\": 66, \"--\": 67, "
                 "\"the-\": 68, \"final-\": 69, \"-final\": 70, \"-countdown\": 71, "
                 "\"\u0120the\": 72, \"th\": 73, \"\u00C3\u00A9\": 74}, "
                 "\"merges\": [\"t h\", [\"th\", \"e\"], \"\u0120 the\", \"\u00C3 \u00A9\"]}}");
    assert_int_equal(ram_buf_take(&out, &text, &err), RAM_OK);
    return text;
}

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}"

static struct ram_tokenizer *small(const char *pre_tokenizer, const char *extra,
                                   const char *model_extra)
{
    char *text = spec(pre_tokenizer, extra, model_extra);
    struct ram_tokenizer *tokenizer = parse(text);
    free(text);
    return tokenizer;
}

static void both_spellings_of_merges(void **state)
{
    struct ram_tokenizer *tokenizer = small(BYTE_LEVEL, "", "");
    (void)state;

    assert_tokens(tokenizer, "the the", "[the][ the]");
    assert_tokens(tokenizer, "final", "[f][i][n][a][l]");
    assert_tokens(tokenizer, "\u00E9", "[\u00E9]");
    assert_tokens(tokenizer, "e\u0301", "[e][\xCC][\x81]");
    assert_tokens(tokenizer, "", "");
    ram_tokenizer_free(tokenizer);
}

static void nfc_and_ignored_merges(void **state)
{
    struct ram_tokenizer *tokenizer =
        small(BYTE_LEVEL, "\"normalizer\": {\"type\": \"NFC\"},", "\"ignore_merges\": true,");
    (void)state;

    assert_tokens(tokenizer, "e\u0301", "[\u00E9]");
    assert_tokens(tokenizer, "final", "[final]");
    assert_tokens(tokenizer, "finals", "[f][i][n][a][l][s]");
    ram_tokenizer_free(tokenizer);
}

static void behaviors_of_split(void **state)
{
    /* The example of the library's documentation. */
    static const struct {
        const char *behavior, *expected;
    } cases[] = {
        {"Removed", "[the][final][countdown]"},
        {"Isolated", "[the][-][final][-][-][countdown]"},
        {"MergedWithPrevious", "[the-][final-][-][countdown]"},
        {"MergedWithNext", "[the][-final][-][-countdown]"},
        {"Contiguous", "[the][-][final][--][countdown]"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int regex = 0; regex < 2; regex++) {
            char text[400];
            snprintf(text, sizeof text,
                     "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
                     "\"pattern\": {\"%s\": \"-\"}, \"behavior\": \"%s\", \"invert\": false}, "
                     "%s]}",
                     regex ? "Regex" : "String", cases[i].behavior, BYTE_LEVEL);
            struct ram_tokenizer *tokenizer = small(text, "", "\"ignore_merges\": true,");
            assert_tokens(tokenizer, "the-final--countdown", cases[i].expected);
            ram_tokenizer_free(tokenizer);
        }
}

static void prefix_space_and_digits(void **state)
{
    struct ram_tokenizer *tokenizer =
        small("{\"type\": \"Sequence\", \"pretokenizers\": ["
              "{\"type\": \"Digits\", \"individual_digits\": true},"
              "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"use_regex\": true}]}",
              "", "");
    (void)state;

    assert_tokens(tokenizer, "the", "[ the]");
    assert_tokens(tokenizer, " the", "[ the]");
    assert_tokens(tokenizer, "the1the", "[ the][ ][1][ the]");
    assert_tokens(tokenizer, "11", "[ ][1][ ][1]");
    ram_tokenizer_free(tokenizer);
}

/* ---- added tokens ---------------------------------------------------------------------------- */

#define ADDED(content, flags)                                                                      \
    "{\"id\": 0, \"content\": \"" content "\", \"special\": true, \"normalized\": false" flags "}"

static void added_tokens_and_their_flags(void **state)
{
    struct ram_tokenizer *tokenizer = small(
        BYTE_LEVEL,
        "\"normalizer\": {\"type\": \"NFC\"}, \"added_tokens\": [" ADDED("<x>", "") "," ADDED(
            "<l>", ", \"lstrip\": true") "," ADDED("<r>",
                                                   ", \"rstrip\": "
                                                   "true") "," ADDED("one", ", \"single_word\": "
                                                                            "true") ","
                                                                                    "{\"content\": "
                                                                                    "\"\u00E9a\", "
                                                                                    "\"normalized\""
                                                                                    ": true}],",
        "");
    uint32_t id;
    (void)state;

    assert_tokens(tokenizer, "a<x>b<x><x>", "[a][<x>][b][<x>][<x>]");
    assert_tokens(tokenizer, "a \n<l>b", "[a][<l>][b]");
    assert_tokens(tokenizer, "a <r>\u3000 b", "[a][ ][<r>][b]");
    assert_tokens(tokenizer, "a <x> b", "[a][ ][<x>][ ][b]");
    assert_tokens(tokenizer, "one ones none one_ -one-",
                  "[one][ ][o][n][e][s][ ][n][o][n][e][ ]"
                  "[o][n][e][_][ ][-][one][-]");
    assert_tokens(tokenizer, "e\u0301a", "[\u00E9a]"); /* found in what was normalised */
    assert_tokens(tokenizer, "e\u0301<x>a", "[\u00E9][<x>][a]");
    /* Whatever id the file says: the next after the vocabulary's 75. */
    assert_true(ram_tokenizer_find(tokenizer, "<x>", 3, &id));
    assert_int_equal(id, 75);
    assert_true(ram_tokenizer_find(tokenizer, "the", 3, &id));
    assert_int_equal(id, 64);
    assert_false(ram_tokenizer_find(tokenizer, "nothing", 7, &id));
    assert_int_equal(ram_tokenizer_n_ids(tokenizer), 80);
    ram_tokenizer_free(tokenizer);
}

static void white_space_taken_along_is_seen_again(void **state)
{
    struct ram_tokenizer *tokenizer =
        small(BYTE_LEVEL,
              "\"added_tokens\": [" ADDED("  ", ", \"lstrip\": true, \"rstrip\": true") "," ADDED(
                  "<r>", ", \"rstrip\": true") "," ADDED("\\n", "") "],",
              "");
    (void)state;

    assert_tokens(tokenizer, "a      b", "[a][  ][b]");
    assert_tokens(tokenizer, "a<r> \nb", "[a][<r>][\n][b]");
    ram_tokenizer_free(tokenizer);
}

static void decoding(void **state)
{
    struct ram_tokenizer *tokenizer =
        small(BYTE_LEVEL, "\"added_tokens\": [" ADDED("<\u00E9>", "") "],", "");
    static const uint32_t ids[] = {64, 75, 72, 54, 9999, UINT32_MAX};
    struct ram_buf out = {0};
    (void)state;

    ram_tokenizer_decode(tokenizer, ids, COUNT(ids), RAM_DECODE_ALL, &out);
    assert_string_equal(out.data, "the<\u00E9> the\xC3");
    out.size = 0;
    ram_tokenizer_decode(tokenizer, ids, COUNT(ids), RAM_DECODE_SKIP_SPECIAL, &out);
    assert_string_equal(out.data, "the the\xC3");
    ram_buf_release(&out);
    ram_tokenizer_free(tokenizer);
}

#define TEMPLATE                                                                                   \
    "{\"type\": \"TemplateProcessing\", \"single\": ["                                             \
    "{\"SpecialToken\": {\"id\": \"<x>\", \"type_id\": 0}},"                                       \
    "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}},"                                             \
    "{\"SpecialToken\": {\"id\": \"<y>\", \"type_id\": 0}}],"                                      \
    "\"special_tokens\": {\"<x>\": {\"id\": \"<x>\", \"ids\": [75], \"tokens\": [\"<x>\"]},"       \
    "\"<y>\": {\"id\": \"<y>\", \"ids\": [76, 75], \"tokens\": [\"<y>\", \"<x>\"]}}}"

static void special_tokens_only_when_asked(void **state)
{
    struct ram_buf out = {0};
    struct ram_tokenizer *tokenizer =
        small(BYTE_LEVEL,
              "\"added_tokens\": [" ADDED("<x>", "") "," ADDED(
                  "<y>", "") "], \"post_processor\": {\"type\": \"Sequence\", \"processors\": "
                             "[{\"type\": \"ByteLevel\"}, " TEMPLATE "]},",
              "");
    (void)state;

    assert_tokens(tokenizer, "the", "[the]");
    show(tokenizer, "the", RAM_ENCODE_SPECIAL, &out);
    assert_string_equal(out.data, "[<x>][the][<y>][<x>]");
    ram_buf_release(&out);
    ram_tokenizer_free(tokenizer);

    tokenizer = small(BYTE_LEVEL, "\"post_processor\": {\"type\": \"BertProcessing\"},", "");
    struct ram_encoder *encoder = NULL;
    struct ram_ids ids = {0};
    struct ram_err err = {0};
    assert_tokens(tokenizer, "the", "[the]");
    assert_int_equal(ram_encoder_new(&encoder, tokenizer, &err), RAM_OK);
    assert_int_equal(ram_encoder_run(encoder, "the", 3, RAM_ENCODE_SPECIAL, &ids, &err),
                     RAM_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "BertProcessing"));
    ram_ids_release(&ids);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
}

static void bytes_without_a_token(void **state)
{
    struct ram_tokenizer *tokenizer = small(BYTE_LEVEL, "", "");
    (void)state;

    assert_tokens(tokenizer, "t##he", "[the]"); /* left out: what is around merges */
    ram_tokenizer_free(tokenizer);
    tokenizer = small(BYTE_LEVEL, "", "\"unk_token\": \"_\",");
    assert_tokens(tokenizer, "t##he", "[t][_][_][h][e]");
    ram_tokenizer_free(tokenizer);
    tokenizer = small(BYTE_LEVEL, "", "\"unk_token\": \"_\", \"fuse_unk\": true,");
    assert_tokens(tokenizer, "t##he#", "[t][_][h][e][_]");
    ram_tokenizer_free(tokenizer);
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static void refusals(void **state)
{
    static const struct {
        const char *pre_tokenizer, *extra, *model_extra;
        int status;
        const char *message;
    } cases[] = {
        {"null", "", "", RAM_EUNSUPPORTED, "t.json: pre_tokenizer is \"null\""},
        {"{\"type\": \"Metaspace\"}", "", "", RAM_EUNSUPPORTED, "pre_tokenizer.type is \"Meta"},
        {"7", "", "", RAM_EFORMAT, "pre_tokenizer is not an object"},
        {"{\"type\": \"Split\", \"behavior\": \"Sideways\"}", "", "", RAM_EUNSUPPORTED,
         "behavior is \"Sideways\""},
        {"{\"type\": \"Split\", \"behavior\": \"Isolated\"}", "", "", RAM_EFORMAT,
         "neither a Regex nor a String"},
        {"{\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": {\"Regex\": \"(\"}}", "",
         "", RAM_EFORMAT, "pattern \"(\": missing"},
        {"{\"type\": \"Sequence\", \"pretokenizers\": [" BYTE_LEVEL ", " BYTE_LEVEL "]}", "", "",
         RAM_EUNSUPPORTED, "after ByteLevel"},
        {BYTE_LEVEL, "\"normalizer\": {\"type\": \"NFKC\"},", "", RAM_EUNSUPPORTED,
         "normalizer.type is \"NFKC\""},
        {BYTE_LEVEL, "", "\"byte_fallback\": true,", RAM_EUNSUPPORTED, "model.byte_fallback"},
        {BYTE_LEVEL, "", "\"dropout\": 0.1,", RAM_EUNSUPPORTED, "model.dropout"},
        {BYTE_LEVEL, "", "\"end_of_word_suffix\": \"</w>\",", RAM_EUNSUPPORTED, "end_of_word"},
        {BYTE_LEVEL, "", "\"ignore_merges\": 1,", RAM_EFORMAT, "\"ignore_merges\" is neither"},
        {BYTE_LEVEL, "", "\"unk_token\": \"<unk>\",", RAM_EFORMAT, "nor byte 0 is in"},
        {BYTE_LEVEL, "\"added_tokens\": {},", "", RAM_EFORMAT, "\"added_tokens\" is not an array"},
        {BYTE_LEVEL, "\"added_tokens\": [{\"id\": 1}],", "", RAM_EFORMAT, "\"content\" is nothing"},
        {BYTE_LEVEL, "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []},", "",
         RAM_EFORMAT, "holds the text 0 times"},
        {BYTE_LEVEL,
         "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {}}, "
         "{\"SpecialToken\": {\"id\": \"<x>\"}}]},",
         "", RAM_EFORMAT, "no ids for \"<x>\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ram_tokenizer *tokenizer = NULL;
        struct ram_err err = {0};
        char *text = spec(cases[i].pre_tokenizer, cases[i].extra, cases[i].model_extra);
        const int status = ram_tokenizer_parse(&tokenizer, text, strlen(text), "t.json", &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("case %zu: status %d, %s", i, status, err.message);
        free(text);
    }
}

static void refused_models(void **state)
{
    static const struct {
        const char *model;
        int status;
        const char *message;
    } cases[] = {
        {"{\"type\": \"Unigram\", \"vocab\": []}", RAM_EUNSUPPORTED, "model.type is \"Unigram\""},
        {"{\"type\": \"WordPiece\", \"vocab\": {}}", RAM_EUNSUPPORTED, "\"WordPiece\""},
        {"{\"vocab\": {}}", RAM_EFORMAT, "\"merges\" is nothing"},
        {"{\"vocab\": [], \"merges\": []}", RAM_EFORMAT, "\"vocab\" is an array"},
        {"{\"vocab\": {\"a\": -1}, \"merges\": []}", RAM_EFORMAT, "id of token \"a\""},
        {"{\"vocab\": {\"a\": 4194304}, \"merges\": []}", RAM_ERANGE, "0 to 4194303"},
        {"{\"vocab\": {\"a\": 1, \"b\": 1}, \"merges\": []}", RAM_EFORMAT, "two tokens have the"},
        {"{\"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}", RAM_EFORMAT, "right part of merge 0"},
        {"{\"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}", RAM_EFORMAT, "result of merge 0"},
        {"{\"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}", RAM_EFORMAT, "merge 0 is not two tokens"},
        {"{\"vocab\": {\"a\": 0}, \"merges\": [\"a a a\"]}", RAM_EFORMAT, "not two tokens"},
        {"{\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}", RAM_EFORMAT, "not two tokens"},
        {"{\"vocab\": {\"a\": 0}, \"merges\": [7]}", RAM_EFORMAT, "not two tokens"},
        {"{\"vocab\": {\"\u2581\": 0, \"a\": 1}, \"merges\": [\"\u2581 a\"]}", RAM_EUNSUPPORTED,
         "not in the byte alphabet"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ram_tokenizer *tokenizer = NULL;
        struct ram_err err = {0};
        char text[600];
        snprintf(text, sizeof text, "{\"pre_tokenizer\": %s, \"model\": %s}", BYTE_LEVEL,
                 cases[i].model);
        const int status = ram_tokenizer_parse(&tokenizer, text, strlen(text), "t.json", &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("case %zu: status %d, %s", i, status, err.message);
    }
}

/* ---- directories --------------------------------------------------------------------------------
 */

static char dir[64];

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void take_away(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/ram-tokenizer-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int clear_dir(void **state)
{
    static const char *const names[] = {"tokenizer.json",    "tokenizer_config.json",
                                        "vocab.json",        "merges.txt",
                                        "added_tokens.json", "tokenizer.model"};
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        take_away(names[i]);
    return rmdir(dir);
}

static int read_dir(struct ram_tokenizer **tokenizer, const char *message)
{
    struct ram_err err = {0};
    *tokenizer = NULL;
    const int status = ram_tokenizer_read(tokenizer, dir, &err);
    if (!strstr(err.message, message))
        fail_msg("status %d, %s", status, err.message);
    return status;
}

static void files_of_a_directory(void **state)
{
    struct ram_tokenizer *tokenizer;
    uint32_t id;
    (void)state;

    assert_int_equal(read_dir(&tokenizer, "no tokenizer.json, nor vocab.json"), RAM_EFORMAT);
    put("tokenizer.model", "");
    assert_int_equal(read_dir(&tokenizer, "SentencePiece"), RAM_EUNSUPPORTED);
    put("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"\u0120\": 3}");
    put("merges.txt", "#version: 0.2\na b\r\n\n");
    assert_int_equal(read_dir(&tokenizer, "tokenizer_config.json tells, and there is none"),
                     RAM_EFORMAT);
    put("tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\"}");
    assert_int_equal(read_dir(&tokenizer, "\"LlamaTokenizer\""), RAM_EUNSUPPORTED);
    put("tokenizer_config.json",
        "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"eos_token\": {\"content\": \"<e>\"}, "
        "\"model_max_length\": 1000000000000000019884624838656, "
        "\"added_tokens_decoder\": {\"9\": {\"content\": \"<e>\", \"special\": true}}}");
    put("added_tokens.json", "{\"<e>\": 9, \"<f>\": 12}");
    assert_int_equal(read_dir(&tokenizer, ""), RAM_OK);
    assert_tokens(tokenizer, "ab ab<e>ab<f>", "[ab][ ][ab][<e>][ab][<f>]");
    assert_true(ram_tokenizer_find(tokenizer, "<f>", 3, &id));
    assert_int_equal(id, 12);
    assert_true(ram_tokenizer_eos(tokenizer, &id));
    assert_int_equal(id, 9);
    assert_false(ram_tokenizer_bos(tokenizer, &id));
    ram_tokenizer_free(tokenizer);

    put("merges.txt", "a  b\n");
    assert_int_equal(read_dir(&tokenizer, "merges.txt: merge 0 is not two"), RAM_EFORMAT);
    put("merges.txt", "a \xff\n");
    assert_int_equal(read_dir(&tokenizer, "not valid UTF-8"), RAM_EFORMAT);
    put("merges.txt", "a b");
    put("added_tokens.json", "{\"<g>\": -1}");
    assert_int_equal(read_dir(&tokenizer, "added_tokens.json: the id of \"<g>\""), RAM_EFORMAT);

    char *text = spec(BYTE_LEVEL, "", ""); /* comes before the older files */
    put("tokenizer.json", text);
    assert_int_equal(read_dir(&tokenizer, ""), RAM_OK);
    assert_tokens(tokenizer, "the", "[the]");
    ram_tokenizer_free(tokenizer);
    put("tokenizer.json", "{");
    assert_int_equal(read_dir(&tokenizer, "tokenizer.json: line 1"), RAM_EFORMAT);
    free(text);
}

int main(void)
{
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, clear_dir)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings_of_merges),
        cmocka_unit_test(nfc_and_ignored_merges),
        cmocka_unit_test(behaviors_of_split),
        cmocka_unit_test(prefix_space_and_digits),
        cmocka_unit_test(added_tokens_and_their_flags),
        cmocka_unit_test(white_space_taken_along_is_seen_again),
        cmocka_unit_test(decoding),
        cmocka_unit_test(special_tokens_only_when_asked),
        cmocka_unit_test(bytes_without_a_token),
        cmocka_unit_test(refusals),
        cmocka_unit_test(refused_models),
        IN_DIR(files_of_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
