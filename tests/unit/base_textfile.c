/* What is text, what is not, and what is changed on the way. */
#include "base/textfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char noticed[600];

static void notice(void *user, const char *line)
{
    (void)user;
    snprintf(noticed, sizeof noticed, "%s", line);
}

static int take(struct ram_textfile *out, const void *bytes, size_t size, enum ram_textfile_use use,
                struct ram_err *err)
{
    const struct ram_exec exec = ram_exec_alone(&(struct ram_run){.notice = notice});
    char *copy = malloc(size + 1);

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    copy[size] = '\0';
    *err = (struct ram_err){0};
    noticed[0] = '\0';
    return ram_textfile_take(out, copy, size, "file", use, &exec, err);
}

struct text_case {
    const char *bytes, *text, *notice;
};

static void check_texts(const struct text_case *cases, size_t n, enum ram_textfile_use use)
{
    for (size_t i = 0; i < n; i++) {
        struct ram_textfile file;
        struct ram_err err;
        if (take(&file, cases[i].bytes, strlen(cases[i].bytes), use, &err))
            fail_msg("case %zu: %s", i, err.message);
        assert_string_equal(file.text, cases[i].text);
        assert_int_equal(file.size, strlen(cases[i].text));
        assert_int_equal(file.file_size, strlen(cases[i].bytes));
        if (!strstr(noticed, cases[i].notice) || (!*cases[i].notice && *noticed))
            fail_msg("case %zu: noticed \"%s\", expected \"%s\"", i, noticed, cases[i].notice);
        ram_textfile_release(&file);
    }
}

/* Python: open(path, encoding="utf-8-sig").read() */
static void running_text_is_read_as_python_reads_it(void **state)
{
    static const struct text_case cases[] = {
        {"plain\n", "plain\n", ""},
        {"\xef\xbb\xbfwith a mark", "with a mark", "file: a byte order mark was left out"},
        {"a\r\nb\rc\n\r\n", "a\nb\nc\n\n", "file: 3 line ends (CR LF or CR) were read as LF"},
        {"a\r", "a\n", "file: 1 line end (CR LF or CR) was read as LF"},
        {"\xef\xbb\xbf\r\n", "\n", "mark was left out; 1 line end"},
        {"\xe2\x82\xac\xef\xbb\xbf", "\xe2\x82\xac\xef\xbb\xbf", ""},
        {"half a \xe2\x82", "half a ", "file: the file ends inside a character"},
        {"GGUF, PAR1 and BZh are words of this t\xc3\xa9xt",
         "GGUF, PAR1 and BZh are words of this "
         "t\xc3\xa9xt",
         ""},
    };
    (void)state;

    check_texts(cases, sizeof cases / sizeof *cases, RAM_TEXTFILE_PLAIN);
}

static void tokens_are_of_the_text_as_it_stands(void **state)
{
    static const struct text_case cases[] = {
        {"", "", ""},
        {"a\r\nb\r", "a\r\nb\r", ""},
        {"\xef\xbb\xbfx", "\xef\xbb\xbfx", "begins with a byte order mark, which counts as text"},
        {"a\xff\xe2\x82z", "a\xff\xe2\x82z", "not UTF-8 in 2 places (the first is byte 1, 0xFF)"},
    };
    (void)state;

    check_texts(cases, sizeof cases / sizeof *cases, RAM_TEXTFILE_VERBATIM);
}

/* U+0000 is a character to a tokenizer; data full of zeros is none. */
static void a_zero_byte_may_be_a_token(void **state)
{
    static const char text[] = "some text\0and more of it";
    struct ram_textfile file;
    struct ram_err err;
    (void)state;

    assert_int_equal(take(&file, text, sizeof text - 1, RAM_TEXTFILE_VERBATIM, &err), RAM_OK);
    assert_int_equal(file.size, sizeof text - 1);
    assert_memory_equal(file.text, text, sizeof text - 1);
    ram_textfile_release(&file);
    assert_int_equal(take(&file, "a\0b\0\0c\0\0\0", 9, RAM_TEXTFILE_VERBATIM, &err), RAM_EFORMAT);
    assert_non_null(strstr(err.message, "byte 1 is zero"));
}

static void what_is_no_text_is_refused_by_name(void **state)
{
#define BYTES(s) s, sizeof(s) - 1
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } cases[] = {
        {BYTES(""), "file: the file is empty"},
        {BYTES("\xef\xbb\xbf"), "file: the file is empty"},
        {BYTES("\x1f\x8b\x08\0\1"), "gzip-compressed data, not text; unpack it first: gunzip"},
        {BYTES("BZh91AY&SY\xfc\x07"), "bunzip2 -k file"},
        {BYTES("\xfd\x37zXZ\0\0"), "xz-compressed"},
        {BYTES("\x28\xb5\x2f\xfd\x04"), "zstd-compressed"},
        {BYTES("PK\x03\x04\0"), "a ZIP archive"},
        {BYTES("PAR1\x15\0"), "a Parquet file"},
        {BYTES("PAR1\x15\0"), "pandas.read_parquet(\"file\")[\"text\"]"},
        {BYTES("ARROW1\0\0"), "an Arrow file"},
        {BYTES("\xff\xff\xff\xff\x10\0"), "an Arrow stream"},
        {BYTES("%PDF-1.4\nall of it ASCII"), "a PDF document"},
        {BYTES("SQLite format 3\0\x10"), "an SQLite database"},
        {BYTES("\x40\0\0\0\0\0\0\0{\"a\": 1"), "a safetensors file"},
        {BYTES("GGUF\3\0\0\0"), "a GGUF file"},
        {BYTES("\x80\x04\x95\0"), "a Python pickle"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"},
        {BYTES("\xff\xfet\0e\0x\0t\0"), "UTF-16 text, expected UTF-8; convert it first: iconv"},
        {BYTES("\xfe\xff\0t\0e\0x\0t"), "UTF-16 text"},
        {BYTES("\xff\xfe\0\0t\0\0\0"), "UTF-32 text"},
        {BYTES("t\0e\0x\0t\0"), "looks like UTF-16LE"},
        {BYTES("\0t\0e\0x\0t"), "looks like UTF-16BE"},
        {BYTES("t\0\0\0e\0\0\0"), "looks like UTF-32LE"},
        {BYTES("\0\0\0t\0\0\0e"), "looks like UTF-32BE"},
        {BYTES("some text\0and more of it"), "byte 9 is zero"},
        {BYTES("a line\nand a caf\xe9 in Latin-1, which is one byte too few"),
         "file: line 2: byte 16 of the file is 0xE9, which is not UTF-8"},
        {BYTES("\xc0\xc1\xc2\xc3\xc4\xc5 text"), "binary data or text in another encoding"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ram_textfile file;
        struct ram_err err;
        assert_int_equal(take(&file, cases[i].bytes, cases[i].size, RAM_TEXTFILE_PLAIN, &err),
                         RAM_EFORMAT);
        if (!strstr(err.message, cases[i].says))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.message, cases[i].says);
        assert_null(file.text);
    }
}

static void the_digest_is_of_the_file(void **state)
{
    struct ram_textfile with, without;
    struct ram_err err;
    (void)state;

    assert_int_equal(take(&with,
                          "\xef\xbb\xbf"
                          "a",
                          4, RAM_TEXTFILE_PLAIN, &err),
                     RAM_OK);
    assert_int_equal(take(&without, "a", 1, RAM_TEXTFILE_PLAIN, &err), RAM_OK);
    assert_string_equal(without.sha256,
                        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
    assert_string_not_equal(with.sha256, without.sha256);
    ram_textfile_release(&with);
    ram_textfile_release(&without);
}

static void files_of_any_size_have_a_limit(void **state)
{
    char name[] = "/tmp/ram-textfile-XXXXXX";
    struct ram_textfile file;
    struct ram_err err = {0};
    (void)state;

    const int fd = mkstemp(name);
    FILE *out = fdopen(fd, "wb");
    assert_non_null(out);
    for (int i = 0; i < 20000; i++)
        fprintf(out, "line %d\n", i);
    fclose(out);
    assert_int_equal(ram_textfile_read(&file, name, 1 << 20, RAM_TEXTFILE_PLAIN, NULL, &err), 0);
    assert_memory_equal(file.text + file.size - 11, "line 19999\n", 11);
    ram_textfile_release(&file);
    assert_int_equal(ram_textfile_read(&file, name, 1000, RAM_TEXTFILE_PLAIN, NULL, &err),
                     RAM_ERANGE);
    remove(name);
    err = (struct ram_err){0};
    assert_int_equal(ram_textfile_read(&file, name, 1000, RAM_TEXTFILE_PLAIN, NULL, &err), RAM_EIO);
    assert_non_null(strstr(err.message, "No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_text_is_read_as_python_reads_it),
        cmocka_unit_test(tokens_are_of_the_text_as_it_stands),
        cmocka_unit_test(a_zero_byte_may_be_a_token),
        cmocka_unit_test(what_is_no_text_is_refused_by_name),
        cmocka_unit_test(the_digest_is_of_the_file),
        cmocka_unit_test(files_of_any_size_have_a_limit),
    };
    return cmocka_run_group_tests_name("base/textfile", tests, NULL, NULL);
}
