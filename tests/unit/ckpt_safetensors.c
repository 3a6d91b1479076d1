/*
 * The container's rules, one broken at a time; and what we write, against bytes put down by hand
 * and against our own reader.
 */
#include "ckpt/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct parsed {
    struct ram_st_list list;
    struct ram_arena arena;
    struct ram_err err;
    int status;
};

static void release(struct parsed *p)
{
    free(p->list.tensors);
    ram_arena_release(&p->arena);
}

/* A file of this header and so many bytes of data, in a block of exactly its size. */
static struct parsed *parse(const char *header, size_t header_size, size_t n_data)
{
    static struct parsed p;
    const size_t size = 8 + header_size + n_data;
    uint8_t *file = calloc(size, 1);

    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)header_size >> (8 * i));
    memcpy(file + 8, header, header_size);
    memset(&p, 0, sizeof p);
    p.list.arena = &p.arena;
    p.status = ram_st_parse(file, size, "x", 3, &p.list, NULL, &p.err);
    assert_int_equal(p.status, p.err.status);
    free(file);
    return &p;
}

#define A  "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define A8 "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}"

static void good_headers(void **state)
{
    static const struct {
        const char *header;
        size_t n_data, n_tensors;
    } good[] = {
        {"{}", 0, 0},
        {"{}   ", 0, 0},
        {"{\"a\":" A "}", 8, 1},
        {" {\"a\":" A "}" + 1, 8, 1},
        {"{ \"a\" :\n\t" A " }  ", 8, 1},
        {"{\"__metadata__\":{},\"a\":" A "}", 8, 1},
        {"{\"a\":" A ",\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"}}", 8, 1},
        {"{\"b\":" A8 ",\"a\":" A "}", 16, 2}, /* data in another order than the header */
        {"{\"a\":{\"data_offsets\":[0,8],\"shape\":[2],\"dtype\":\"F32\"}}", 8, 1},
        {"{\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, 1},
        {"{\"z\":{\"dtype\":\"F32\",\"shape\":[3,0,5],\"data_offsets\":[0,0]},\"a\":" A "}", 8, 2},
        {"{\"a\":" A ",\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]},\"b\":" A8
         "}",
         16, 3},
        {"{\"f\":{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[0,3]}}", 3, 1},
        {"{\"f\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3, 1},
        {"{\"\xc3\xa9\":" A "}", 8, 1},
        {"{\"\\u00e9\\n\\ud83d\\ude00\":" A "}", 8, 1},
        {"{\"\":" A "}", 8, 1},
    };
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct parsed *p = parse(good[i].header, strlen(good[i].header), good[i].n_data);
        if (p->status)
            fail_msg("%s: %s", good[i].header, p->err.message);
        assert_int_equal(p->list.n, good[i].n_tensors);
        for (size_t t = 0; t < p->list.n; t++) {
            assert_int_equal(p->list.tensors[t].file, 3);
            assert_true(p->list.tensors[t].offset >= 8 + strlen(good[i].header));
        }
        release(p);
    }
}

static void every_dtype(void **state)
{
    char header[256];
    (void)state;

    for (int d = 0; d < RAM_N_DTYPES; d++) {
        const size_t size = 8u * (size_t)ram_dtypes[d].bits / 8;
        snprintf(header, sizeof header,
                 "{\"t\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%zu]}}",
                 ram_dtypes[d].name, size);
        struct parsed *p = parse(header, strlen(header), size);
        assert_int_equal(p->status, RAM_OK);
        assert_int_equal(p->list.tensors[0].dtype, d);
        assert_int_equal(p->list.tensors[0].n, 8);
        release(p);
    }
}

static void escapes_are_decoded(void **state)
{
    static const char header[] = "{\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00z\":" A "}";
    (void)state;

    struct parsed *p = parse(header, sizeof header - 1, 8);
    assert_int_equal(p->status, RAM_OK);
    assert_string_equal(p->list.tensors[0].name, "a\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80z");
    release(p);
}

static void broken_headers(void **state)
{
    static const struct {
        const char *header;
        size_t n_data;
        const char *message;
    } bad[] = {
        {"", 0, "header of 0 bytes"},
        {"[]", 0, "begins with byte 0x5b"},
        {" {}", 0, "begins with byte 0x20"},
        {"{", 0, "the end of the text"},
        {"{}}", 0, "expected the end"},
        {"{\"a\":" A ",}", 8, "expected a key"},
        {"{\"a\":" A " \"b\":" A8 "}", 16, "expected ','"},
        {"{\"a\":" A "}", 7, "not complete"},
        {"{\"a\":" A "}", 9, "9 bytes of data, but its tensors have 8"},
        {"{}", 1, "1 bytes of data, but its tensors have 0"},
        {"{\"a\":" A8 "}", 16, "a hole"},
        {"{\"a\":" A ",\"b\":" A "}", 16, "an overlap"},
        {"{\"a\":" A ",\"a\":" A8 "}", 16, "'a' occurs twice"},
        {"{\"a\":" A ",\"\\u0061\":" A8 "}", 16, "'a' occurs twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ occurs twice"},
        {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "'k' occurs twice"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "expected a string"},
        {"{\"__metadata__\":[]}", 0, "expected an object"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         "unknown dtype 'F31'"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         "duplicate field 'dtype'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":0}}", 8,
         "unknown field 'x'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "no \"data_offsets\""},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "no \"dtype\""},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "no \"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "12 expected"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8,
         "data_offsets [8, 0]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8,
         "data_offsets is not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "an integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "an integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2e0],\"data_offsets\":[0,8]}}", 8, "an integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[02],\"data_offsets\":[0,8]}}", 8,
         "found 02, which is not a number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8, "an integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551616],\"data_offsets\":[0,8]}}", 8,
         "18446744073709551616, expected an integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", 8,
         "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]}}", 8,
         "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2305843009213693952],"
         "\"data_offsets\":[0,9223372036854775808]}}",
         8, "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8,
         "more than 8 dimensions"},
        {"{\"f\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
         "whole number of bytes"},
        {"{\"a\xff\":" A "}", 8, "expected UTF-8"},
        {"{\"\xed\xa0\x80\":" A "}", 8, "expected UTF-8"},
        {"{\"\xc0\xaf\":" A "}", 8, "expected UTF-8"},
        {"{\"a\nb\":" A "}", 8, "control character"},
        {"{\"a\\u0000\":" A "}", 8, "not a valid escape"},
        {"{\"a\\x\":" A "}", 8, "not a valid escape"},
        {"{\"a\\ud800\":" A "}", 8, "not a valid escape"},
        {"{\"a\\ud800\\u0061\":" A "}", 8, "not a valid escape"},
        {"{\"a\\udc00\":" A "}", 8, "not a valid escape"},
        {"{\"a\\u12g4\":" A "}", 8, "not a valid escape"},
        {"{\"a", 8, "the end of the text"},
        {"{\"a\\", 8, "the end of the text"},
        {"{\"a\\\"", 8, "the end of the text"},
        {"{\"a\":{{{{", 8, "expected"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct parsed *p = parse(bad[i].header, strlen(bad[i].header), bad[i].n_data);
        assert_true(p->status == RAM_EFORMAT || p->status == RAM_ERANGE);
        if (!strstr(p->err.message, bad[i].message))
            fail_msg("%s: '%s' does not say '%s'", bad[i].header, p->err.message, bad[i].message);
        release(p);
    }
}

static void broken_sizes(void **state)
{
    static const uint64_t sizes[] = {3, 100000000, UINT64_MAX, UINT64_MAX - 7};
    struct ram_arena arena = {0};
    struct ram_st_list list = {.arena = &arena};
    (void)state;

    for (size_t n = 0; n < 8; n++) { /* shorter than its own length field */
        const uint8_t file[8] = {2};
        struct ram_err err = {0};
        assert_int_equal(ram_st_parse(n ? file : NULL, n, "x", 0, &list, NULL, &err), RAM_EFORMAT);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t file[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        struct ram_err err = {0};
        for (int b = 0; b < 8; b++)
            file[b] = (uint8_t)(sizes[i] >> (8 * b));
        assert_true(ram_st_parse(file, sizeof file, "x", 0, &list, NULL, &err) < 0);
    }
    assert_int_equal(list.n, 0);
    ram_arena_release(&arena);
}

/* ---- writing ------------------------------------------------------------------------------------
 */

/* What begins like a file of another kind is that, even where its first bytes would be the length
 * of a header that the file could not hold; a header that begins behind them is one. */
static void other_kinds_of_files(void **state)
{
    static const struct {
        const char *begin;
        size_t size;
        const char *message;
    } files[] = {
        {"PK\3\4\0\0\0\0", 200, "not a safetensors file but a ZIP archive"},
        {"PK\5\6\0\0\0\0", 22, "not a safetensors file but an empty ZIP archive"},
        {"\x1f\x8b\x08\0\0\0\0\0", 200, "not a safetensors file but a gzip archive"},
        {"\x80\x04\0\0\0\0\0\0", 200, "not a safetensors file but a Python pickle"},
        {"7z\xbc\xaf\x27\x1c\0\4", 200, "not a safetensors file but a 7-Zip archive"},
        {"\xe8\x03\0\0\0\0\0\0", 200, "begins with byte 0x00, expected '{'"},
        {"<\x03\0\0\0\0\0\0{", 200, "ends inside its header, which has 828 bytes"},
        {"\x1f\x8b\0\0\0\0\0\0{", 200, "ends inside its header, which has 35615 bytes"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        uint8_t file[200] = {0};
        struct ram_arena arena = {0};
        struct ram_st_list list = {.arena = &arena};
        struct ram_err err = {0};
        memcpy(file, files[i].begin, 9); /* with the 0 behind eight bytes */
        assert_int_equal(ram_st_parse(file, files[i].size, "x", 0, &list, NULL, &err), RAM_EFORMAT);
        if (!strstr(err.message, files[i].message))
            fail_msg("'%s' does not say '%s'", err.message, files[i].message);
        ram_arena_release(&arena);
        free(list.tensors);
    }
}

static void written_bytes(void **state)
{
    static const struct ram_st_item items[] = {
        {.name = "b\"\\\n", .dtype = RAM_F32, .n_dims = 2, .shape = {2, 3}, .size = 24},
        {.name = "a", .dtype = RAM_BF16, .n_dims = 0, .size = 2},
    };
    /* 163 bytes, five spaces. */
    static const char expected[] =
        "{\"__metadata__\":{\"format\":\"mlx\"},"
        "\"b\\\"\\\\\\u000a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]}}";
    struct ram_buf out = {0};
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_st_header(items, 2, "mlx", &out, &err), RAM_OK);
    assert_int_equal(out.size % 8, 0);
    const size_t n = out.size - 8;
    assert_memory_equal(out.data, ((const uint8_t[8]){(uint8_t)n}), 8);
    assert_true(n < 256 && n - (sizeof expected - 1) < 8);
    assert_memory_equal(out.data + 8, expected, sizeof expected - 1);
    for (size_t i = sizeof expected - 1; i < n; i++)
        assert_int_equal(out.data[8 + i], ' ');

    ram_buf_add(&out, "12345678901234567890123456", 26);
    struct parsed *p = parse(out.data + 8, n, 26);
    assert_int_equal(p->status, RAM_OK);
    assert_string_equal(p->list.tensors[0].name, items[0].name);
    assert_int_equal(p->list.tensors[1].offset, 8 + n + 24);
    release(p);
    ram_buf_release(&out);
}

static void a_size_that_is_not_the_shape_is_not_written(void **state)
{
    const struct ram_st_item item = {
        .name = "a", .dtype = RAM_F32, .n_dims = 1, .shape = {2}, .size = 9};
    struct ram_buf out = {0};
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_st_header(&item, 1, "mlx", &out, &err), RAM_EINTERNAL);
    ram_buf_release(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers),
        cmocka_unit_test(every_dtype),
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(broken_headers),
        cmocka_unit_test(broken_sizes),
        cmocka_unit_test(other_kinds_of_files),
        cmocka_unit_test(written_bytes),
        cmocka_unit_test(a_size_that_is_not_the_shape_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
