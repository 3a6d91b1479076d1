/* pull.c - see pull.h. The grammar is RFC 8259. */
#include "ckpt/pull.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

bool ram_pull_failed(const struct ram_pull *scan)
{
    return scan->err->status != RAM_OK;
}

bool ram_pull_fail(struct ram_pull *scan, int status, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ram_fail(scan->err, status, "%s: byte %zu: %s", scan->where, (size_t)(scan->p - scan->begin),
             text);
    return false;
}

/* What stands at the present byte, for a message. */
static bool expected(struct ram_pull *scan, const char *what)
{
    if (scan->p == scan->end)
        return ram_pull_fail(scan, RAM_EFORMAT, "the text ends, expected %s", what);
    const unsigned char c = (unsigned char)*scan->p;
    if (c > 0x20 && c < 0x7f)
        return ram_pull_fail(scan, RAM_EFORMAT, "found '%c', expected %s", c, what);
    return ram_pull_fail(scan, RAM_EFORMAT, "found byte 0x%02x, expected %s", c, what);
}

static void skip_space(struct ram_pull *scan)
{
    while (scan->p < scan->end &&
           (*scan->p == ' ' || *scan->p == '\n' || *scan->p == '\r' || *scan->p == '\t'))
        scan->p++;
}

static bool peek(struct ram_pull *scan, char c)
{
    skip_space(scan);
    return scan->p < scan->end && *scan->p == c;
}

bool ram_pull_char(struct ram_pull *scan, char c)
{
    const char what[] = {'\'', c, '\'', 0};

    if (ram_pull_failed(scan))
        return false;
    if (!peek(scan, c))
        return expected(scan, what);
    scan->p++;
    return true;
}

bool ram_pull_next(struct ram_pull *scan, char close, bool *first)
{
    const bool was_first = *first;

    *first = false;
    if (ram_pull_failed(scan))
        return false;
    if (peek(scan, close)) {
        scan->p++;
        return false;
    }
    return was_first || ram_pull_char(scan, ',');
}

/* ---- strings ----------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The code point of "uXXXX" or "uXXXX\uXXXX" at p (behind the first backslash). Advances *p. */
static int32_t unicode_escape(const char **p, const char *end)
{
    const int32_t high = hex4(*p + 1, end);

    if (high < 0)
        return -1;
    *p += 5;
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return -1;
    const int32_t low = hex4(*p + 2, end);
    *p += 6;
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* Decodes the escape behind a backslash to out (at most 4 bytes); returns their number, 0 if it is
 * not one. */
static size_t escape(const char **p, const char *end, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    if (*p == end)
        return 0;
    const char *at = **p ? strchr(from, **p) : NULL;
    if (at) {
        (*p)++;
        *out = to[at - from];
        return 1;
    }
    if (**p != 'u')
        return 0;
    const int32_t code = unicode_escape(p, end);
    return code > 0 ? (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)out) : 0;
}

/* Does this byte of a string mean itself? Not: quote, backslash, control characters, non-ASCII. */
static bool plain(char c)
{
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

/* The closing quote of a string whose text begins at p, or NULL. */
static const char *closing_quote(const char *p, const char *end)
{
    while (p < end && *p != '"') {
        const size_t step = *p == '\\' ? 2 : 1;
        if ((size_t)(end - p) <= step)
            return NULL;
        p += step;
    }
    return p < end ? p : NULL;
}

/* The rest of a string up to its closing quote, with whatever needs decoding, and a final 0. */
static bool decode(struct ram_pull *scan, const char *close, char *text)
{
    while (scan->p < close) {
        const char *p = scan->p;
        size_t n;
        if (plain(*p)) {
            *text++ = *p;
            scan->p++;
            continue;
        }
        if (*p == '\\') {
            p++;
            n = escape(&p, close, text);
            if (!n)
                return ram_pull_fail(scan, RAM_EFORMAT, "not a valid escape");
        } else {
            utf8proc_int32_t code;
            const utf8proc_ssize_t size =
                utf8proc_iterate((const utf8proc_uint8_t *)p, close - p, &code);
            if ((unsigned char)*p < 0x20)
                return expected(scan, "no control character in a string");
            if (size <= 0)
                return expected(scan, "UTF-8");
            n = (size_t)size;
            memcpy(text, p, n);
            p += n;
        }
        text += n;
        scan->p = p;
    }
    *text = '\0';
    return true;
}

/* Behind an opening quote: steps over what is plain, nearly always all of it. *start is the text,
 * the result its closing quote; NULL after a mistake. */
static const char *string_extent(struct ram_pull *scan, const char **start)
{
    if (!ram_pull_char(scan, '"'))
        return NULL;
    *start = scan->p;
    while (scan->p < scan->end && plain(*scan->p))
        scan->p++;
    const char *close = closing_quote(scan->p, scan->end);
    if (!close) {
        scan->p = scan->end;
        expected(scan, "'\"'");
    }
    return close;
}

/* No escape is shorter than what it stands for, so text needs no more room than the source. */
static bool take_string(struct ram_pull *scan, const char *start, const char *close, char *text)
{
    const size_t n_plain = (size_t)(scan->p - start);

    memcpy(text, start, n_plain);
    if (!decode(scan, close, text + n_plain))
        return false;
    scan->p = close + 1;
    return true;
}

bool ram_pull_string(struct ram_pull *scan, struct ram_arena *arena, const char **out)
{
    const char *start, *close = string_extent(scan, &start);

    if (!close)
        return false;
    char *text = ram_arena_alloc(arena, (size_t)(close - start) + 1, scan->err);
    *out = text;
    return text && take_string(scan, start, close, text);
}

bool ram_pull_word(struct ram_pull *scan, char *word, size_t size)
{
    const char *start, *close = string_extent(scan, &start);

    if (!close)
        return false;
    if ((size_t)(close - start) >= size)
        return ram_pull_fail(scan, RAM_EFORMAT, "an unknown word of %zu bytes",
                             (size_t)(close - start));
    return take_string(scan, start, close, word);
}

bool ram_pull_key(struct ram_pull *scan, struct ram_arena *arena, const char **out)
{
    return ram_pull_string(scan, arena, out) && ram_pull_char(scan, ':');
}

/* ---- numbers and the rest ---------------------------------------------------------------- */

bool ram_pull_uint(struct ram_pull *scan, uint64_t *out)
{
    const char what[] = "an integer of at least 0";
    uint64_t value = 0;

    if (ram_pull_failed(scan))
        return false;
    skip_space(scan);
    const char *start = scan->p;
    for (; scan->p < scan->end && *scan->p >= '0' && *scan->p <= '9'; scan->p++) {
        const unsigned digit = (unsigned)(*scan->p - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return ram_pull_fail(scan, RAM_ERANGE, "an integer above 2^64 - 1");
        value = value * 10 + digit;
    }
    if (scan->p == start)
        return expected(scan, what);
    if (scan->p - start > 1 && *start == '0')
        return ram_pull_fail(scan, RAM_EFORMAT, "an integer with a leading zero");
    if (scan->p < scan->end && (*scan->p == '.' || *scan->p == 'e' || *scan->p == 'E'))
        return expected(scan, what);
    *out = value;
    return true;
}

/* The end of the value at p: of the bracket that opens there, of the string, or of the token. */
static const char *value_end(const char *p, const char *end)
{
    size_t depth = 0;

    while (p < end) {
        if (*p == '"') {
            p = closing_quote(p + 1, end);
            if (!p)
                return NULL;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0)
                return p;
            depth--;
        } else if (*p == ',' && depth == 0) {
            return p;
        }
        p++;
    }
    return depth ? NULL : end;
}

bool ram_pull_skip(struct ram_pull *scan)
{
    json_error_t at;

    if (ram_pull_failed(scan))
        return false;
    skip_space(scan);
    const char *end = value_end(scan->p, scan->end);
    if (!end)
        return ram_pull_fail(scan, RAM_EFORMAT, "a value that does not end");
    json_t *value =
        json_loadb(scan->p, (size_t)(end - scan->p), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
    if (!value)
        return ram_pull_fail(scan, RAM_EFORMAT, "%s", at.text);
    json_decref(value);
    scan->p = end;
    return true;
}

bool ram_pull_end(struct ram_pull *scan)
{
    if (ram_pull_failed(scan))
        return false;
    skip_space(scan);
    return scan->p == scan->end || expected(scan, "the end of the text");
}
