/* scan.c - see scan.h. */
#include "record/scan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

enum { MAX_DEPTH = 64, MAX_NUMBER = 128 };

void ram_scan_init(struct ram_scan *scan, const char *text, size_t size, const char *where,
                   struct ram_arena *arena)
{
    *scan = (struct ram_scan){
        .start = text, .p = text, .end = text + size, .arena = arena, .where = where};
}

static int fail(const struct ram_scan *scan, int status, struct ram_err *err, const char *what)
{
    char item[300] = "";
    size_t line = 1;
    const char *begin = scan->start;

    for (const char *p = scan->start; p < scan->p; p++) {
        if (*p == '\n') {
            line++;
            begin = p + 1;
        }
    }
    if (scan->kind && scan->name)
        snprintf(item, sizeof item, "%s %zu (%s): ", scan->kind, scan->number, scan->name);
    else if (scan->kind)
        snprintf(item, sizeof item, "%s %zu: ", scan->kind, scan->number);
    return ram_fail(err, status, "%s: line %zu, column %zu: %s%s", scan->where, line,
                    (size_t)(scan->p - begin) + 1, item, what);
}

int ram_scan_fail(const struct ram_scan *scan, struct ram_err *err, const char *fmt, ...)
{
    char what[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return fail(scan, RAM_EFORMAT, err, what);
}

/* The next character that is not white space, 0 at the end of the text. */
static char peek(struct ram_scan *scan)
{
    while (scan->p < scan->end &&
           (*scan->p == ' ' || *scan->p == '\n' || *scan->p == '\t' || *scan->p == '\r'))
        scan->p++;
    return scan->p < scan->end ? *scan->p : '\0';
}

static const char *seen(struct ram_scan *scan, char text[8])
{
    const char c = peek(scan);
    if (scan->p == scan->end)
        return "the end of the text";
    snprintf(text, 8, c > ' ' && c < 0x7f ? "'%c'" : "0x%02x", (unsigned char)c);
    return text;
}

static int unexpected(struct ram_scan *scan, const char *wanted, struct ram_err *err)
{
    char text[8];
    const char *const found = seen(scan, text);
    return ram_scan_fail(scan, err, "found %s, expected %s", found, wanted);
}

static int expect(struct ram_scan *scan, char c, const char *wanted, struct ram_err *err)
{
    if (peek(scan) != c)
        return unexpected(scan, wanted, err);
    scan->p++;
    return RAM_OK;
}

static bool hex4(const char *p, const char *end, unsigned *out)
{
    unsigned value = 0;

    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return false;
        value = value << 4 | (unsigned)digit;
    }
    *out = value;
    return true;
}

/* A \u escape, or two that are a surrogate pair; p stands behind "\u". */
static int unicode_escape(struct ram_scan *scan, char **out, struct ram_err *err)
{
    unsigned code, low;

    if (!hex4(scan->p, scan->end, &code))
        return ram_scan_fail(scan, err, "\\u needs four hexadecimal digits");
    scan->p += 4;
    if (code >= 0xd800 && code < 0xdc00) {
        if (scan->end - scan->p < 6 || scan->p[0] != '\\' || scan->p[1] != 'u' ||
            !hex4(scan->p + 2, scan->end, &low) || low < 0xdc00 || low > 0xdfff)
            return ram_scan_fail(scan, err, "\\u%04x needs its other half", code);
        scan->p += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (!code || (code >= 0xdc00 && code <= 0xdfff))
        return ram_scan_fail(scan, err, "\\u%04x is not allowed", code);
    *out += utf8proc_encode_char((utf8proc_int32_t)code, (utf8proc_uint8_t *)*out);
    return RAM_OK;
}

static int escape(struct ram_scan *scan, char **out, struct ram_err *err)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    const char c = scan->p < scan->end ? *scan->p++ : '\0';
    if (c == 'u')
        return unicode_escape(scan, out, err);
    const char *const at = c ? strchr(from, c) : NULL;
    if (!at)
        return ram_scan_fail(scan, err, "an escape that JSON does not have");
    *(*out)++ = to[at - from];
    return RAM_OK;
}

/* Characters up to the closing quote, decoded to out, which has room for the rest of the string
 * as it stands in the text: no escape is shorter than what it means. */
static int decode_string(struct ram_scan *scan, char *out, struct ram_err *err)
{
    while (scan->p < scan->end && *scan->p != '"') {
        const unsigned char c = (unsigned char)*scan->p;
        utf8proc_int32_t code;
        utf8proc_ssize_t n = 1;

        if (c == '\\') {
            scan->p++;
            const int status = escape(scan, &out, err);
            if (status)
                return status;
            continue;
        }
        if (c < 0x20)
            return ram_scan_fail(scan, err, "control character 0x%02x in a string", c);
        if (c >= 0x80)
            n = utf8proc_iterate((const utf8proc_uint8_t *)scan->p, scan->end - scan->p, &code);
        if (n <= 0)
            return ram_scan_fail(scan, err, "a string is not UTF-8");
        memcpy(out, scan->p, (size_t)n);
        out += n;
        scan->p += n;
    }
    *out = '\0';
    return expect(scan, '"', "a closing quote", err);
}

/* Bytes up to the closing quote of the string that p stands in. */
static size_t raw_size(const struct ram_scan *scan)
{
    const char *p = scan->p;

    while (p < scan->end && *p != '"')
        p += *p == '\\' && scan->end - p > 1 ? 2 : 1;
    return (size_t)(p - scan->p);
}

static int string_to(struct ram_scan *scan, struct ram_arena *arena, const char **out,
                     struct ram_err *err)
{
    const int status = expect(scan, '"', "a string", err);
    if (status)
        return status;
    char *const text = ram_arena_alloc(arena, raw_size(scan) + 1, err);
    if (!text)
        return RAM_ENOMEM;
    *out = text;
    return decode_string(scan, text, err);
}

int ram_scan_string(struct ram_scan *scan, const char **out, struct ram_err *err)
{
    return string_to(scan, scan->arena, out, err);
}

/* A string that nobody wants is checked all the same. */
static int skip_string(struct ram_scan *scan, struct ram_err *err)
{
    struct ram_arena scratch = {0};
    const char *text;

    const int status = string_to(scan, &scratch, &text, err);
    ram_arena_release(&scratch);
    return status;
}

static int scan_key(struct ram_scan *scan, struct ram_err *err)
{
    int status;

    scan->key[0] = '\0';
    if (peek(scan) != '"')
        return unexpected(scan, "a key", err);
    scan->p++;
    if (raw_size(scan) < sizeof scan->key) {
        status = decode_string(scan, scan->key, err);
    } else {
        scan->p--;
        status = skip_string(scan, err);
    }
    return status ? status : expect(scan, ':', "':'", err);
}

int ram_scan_object(struct ram_scan *scan, bool *more, struct ram_err *err)
{
    const int status = expect(scan, '{', "an object", err);
    if (status)
        return status;
    *more = peek(scan) != '}';
    if (*more)
        return scan_key(scan, err);
    scan->p++;
    return RAM_OK;
}

int ram_scan_member(struct ram_scan *scan, bool *more, struct ram_err *err)
{
    *more = peek(scan) == ',';
    if (!*more)
        return expect(scan, '}', "',' or '}'", err);
    scan->p++;
    return scan_key(scan, err);
}

int ram_scan_array(struct ram_scan *scan, bool *more, struct ram_err *err)
{
    const int status = expect(scan, '[', "an array", err);
    if (status)
        return status;
    *more = peek(scan) != ']';
    if (!*more)
        scan->p++;
    return RAM_OK;
}

int ram_scan_element(struct ram_scan *scan, bool *more, struct ram_err *err)
{
    *more = peek(scan) == ',';
    if (!*more)
        return expect(scan, ']', "',' or ']'", err);
    scan->p++;
    return RAM_OK;
}

static bool literal(struct ram_scan *scan, const char *word)
{
    const size_t size = strlen(word);

    peek(scan);
    if ((size_t)(scan->end - scan->p) < size || memcmp(scan->p, word, size) != 0)
        return false;
    scan->p += size;
    return true;
}

bool ram_scan_null(struct ram_scan *scan)
{
    return literal(scan, "null");
}

static const char *digits(const char *p)
{
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Behind the number at the head of a 0-terminated text, by JSON's grammar; NULL if there is none.
 * *integer: it has neither fraction nor exponent. */
static const char *number_end(const char *p, bool *integer)
{
    p += *p == '-';
    const char *q = *p == '0' ? p + 1 : digits(p);
    if (q == p)
        return NULL;
    *integer = *q != '.' && *q != 'e' && *q != 'E';
    if (*q == '.') {
        p = q + 1;
        q = digits(p);
        if (q == p)
            return NULL;
    }
    if (*q == 'e' || *q == 'E') {
        q++;
        p = q + (*q == '+' || *q == '-');
        q = digits(p);
        if (q == p)
            return NULL;
    }
    return q;
}

static bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* The number's own text, 0-terminated, since strtod must not look past the end of ours. */
static int scan_number(struct ram_scan *scan, char text[MAX_NUMBER + 1], bool *integer,
                       struct ram_err *err)
{
    size_t n = 0;

    peek(scan);
    while (n < MAX_NUMBER && scan->p + n < scan->end && in_number(scan->p[n])) {
        text[n] = scan->p[n];
        n++;
    }
    if (n == MAX_NUMBER)
        return ram_scan_fail(scan, err, "a number of %d characters or more", MAX_NUMBER);
    text[n] = '\0';
    if (number_end(text, integer) != text + n)
        return unexpected(scan, "a number", err);
    scan->p += n;
    return RAM_OK;
}

int ram_scan_real(struct ram_scan *scan, double *out, struct ram_err *err)
{
    char text[MAX_NUMBER + 1];
    bool integer;

    peek(scan);
    const char *const begin = scan->p;
    const int status = scan_number(scan, text, &integer, err);
    if (status)
        return status;
    const double x = strtod(text, NULL);
    if (!isfinite(x)) {
        scan->p = begin;
        return ram_scan_fail(scan, err, "number %s is too large", text);
    }
    *out = x;
    return RAM_OK;
}

int ram_scan_uint(struct ram_scan *scan, uint64_t max, uint64_t *out, struct ram_err *err)
{
    char text[MAX_NUMBER + 1];
    bool integer;
    uint64_t value = 0;

    char what[MAX_NUMBER + 160];

    peek(scan);
    const char *const begin = scan->p;
    const int status = scan_number(scan, text, &integer, err);
    if (status)
        return status;
    bool fits = integer && text[0] != '-';
    for (const char *p = text; fits && *p; p++) {
        const uint64_t digit = (uint64_t)(*p - '0');
        fits = value <= (UINT64_MAX - digit) / 10;
        value = value * 10 + digit;
    }
    if (fits && value <= max) {
        *out = value;
        return RAM_OK;
    }
    scan->p = begin;
    snprintf(what, sizeof what, "\"%s\" is %s, expected an integer from 0 to %llu", scan->key, text,
             (unsigned long long)max);
    return fail(scan, integer && text[0] != '-' ? RAM_ERANGE : RAM_EFORMAT, err, what);
}

static int skip_value(struct ram_scan *scan, int depth, struct ram_err *err)
{
    char text[MAX_NUMBER + 1];
    bool more, integer;
    int status;

    if (depth > MAX_DEPTH)
        return ram_scan_fail(scan, err, "nested more than %d deep", MAX_DEPTH);
    switch (peek(scan)) {
    case '{':
        for (status = ram_scan_object(scan, &more, err); !status && more;
             status = status ? status : ram_scan_member(scan, &more, err))
            status = skip_value(scan, depth + 1, err);
        return status;
    case '[':
        for (status = ram_scan_array(scan, &more, err); !status && more;
             status = status ? status : ram_scan_element(scan, &more, err))
            status = skip_value(scan, depth + 1, err);
        return status;
    case '"':
        return skip_string(scan, err);
    case 't':
        return literal(scan, "true") ? RAM_OK : unexpected(scan, "a value", err);
    case 'f':
        return literal(scan, "false") ? RAM_OK : unexpected(scan, "a value", err);
    case 'n':
        return literal(scan, "null") ? RAM_OK : unexpected(scan, "a value", err);
    default:
        return scan_number(scan, text, &integer, err);
    }
}

int ram_scan_skip(struct ram_scan *scan, const char **text, size_t *size, struct ram_err *err)
{
    peek(scan);
    const char *const begin = scan->p;
    const int status = skip_value(scan, 0, err);
    if (text)
        *text = begin;
    if (size)
        *size = (size_t)(scan->p - begin);
    return status;
}

int ram_scan_end(struct ram_scan *scan, struct ram_err *err)
{
    if (peek(scan) || scan->p < scan->end)
        return unexpected(scan, "the end of the text", err);
    return RAM_OK;
}
