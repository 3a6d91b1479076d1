/* scan.c - see scan.h. The grammar is RFC 8259. */
#include "base/scan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

enum { MAX_DEPTH = 64, MAX_NUMBER = 128 };

void ram_scan_init(struct ram_scan *scan, const char *text, size_t size, const char *where,
                   struct ram_arena *arena, struct ram_err *err)
{
    *scan = (struct ram_scan){
        .start = text, .p = text, .end = text + size, .arena = arena, .where = where, .err = err};
}

/* ---- mistakes ----------------------------------------------------------------------------- */

bool ram_scan_fail(struct ram_scan *scan, int status, const char *fmt, ...)
{
    char item[300] = "", what[512];
    size_t line = 1;
    const char *begin = scan->start;
    va_list args;

    if (!ram_scan_good(scan))
        return false;
    for (const char *p = scan->start; p < scan->p; p++) {
        if (*p == '\n') {
            line++;
            begin = p + 1;
        }
    }
    if (scan->kind && scan->name)
        snprintf(item, sizeof item, "%s %zu (%.200s): ", scan->kind, scan->number, scan->name);
    else if (scan->kind)
        snprintf(item, sizeof item, "%s %zu: ", scan->kind, scan->number);
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    scan->status = ram_fail(scan->err, status, "%s: line %zu, column %zu: %s%s", scan->where, line,
                            (size_t)(scan->p - begin) + 1, item, what);
    return false;
}

static bool blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The next character that is not white space; 0 at the end of the text, where a mistake leads. */
static inline char peek(struct ram_scan *scan)
{
    const char *p = ram_scan_good(scan) ? scan->p : scan->end;

    while (p < scan->end && blank(*p))
        p++;
    scan->p = p;
    return p < scan->end ? *p : '\0';
}

static bool unexpected(struct ram_scan *scan, const char *wanted)
{
    if (scan->p == scan->end)
        return ram_scan_fail(scan, RAM_EFORMAT, "found the end of the text, expected %s", wanted);
    const char c = *scan->p;
    if (c > ' ' && c < 0x7f)
        return ram_scan_fail(scan, RAM_EFORMAT, "found '%c', expected %s", c, wanted);
    return ram_scan_fail(scan, RAM_EFORMAT, "found byte 0x%02x, expected %s", (unsigned char)c,
                         wanted);
}

static bool expect(struct ram_scan *scan, char c, const char *wanted)
{
    if (peek(scan) != c)
        return unexpected(scan, wanted);
    scan->p++;
    return true;
}

/* ---- strings ------------------------------------------------------------------------------ */

static size_t bad_escape(struct ram_scan *scan, const char *why)
{
    return ram_scan_fail(scan, RAM_EFORMAT, "not a valid escape: %s", why);
}

/* The value of a hexadecimal digit, or -1. */
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

/* A \u escape, or two that are a surrogate pair; p stands behind "\u". */
static size_t unicode_escape(struct ram_scan *scan, char *out)
{
    int32_t code = hex4(scan->p, scan->end);

    if (code < 0)
        return bad_escape(scan, "\\u needs four hexadecimal digits");
    if (code == 0)
        return bad_escape(scan, "\\u0000 is not allowed");
    scan->p += 4;
    if (code >= 0xd800 && code <= 0xdfff) {
        const bool paired =
            code < 0xdc00 && scan->end - scan->p >= 6 && scan->p[0] == '\\' && scan->p[1] == 'u';
        const int32_t low = paired ? hex4(scan->p + 2, scan->end) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return bad_escape(scan, "half a surrogate pair");
        scan->p += 6;
        code = 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00);
    }
    return (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)out);
}

/* What an escape stands for (p is at its backslash), to out: 1 to 4 bytes, 0 after a mistake. */
static size_t escape(struct ram_scan *scan, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    scan->p++; /* a string that has a closing quote goes on behind every backslash */
    const char c = *scan->p;
    const char *const at = c ? strchr(from, c) : NULL;
    if (!at && c != 'u')
        return bad_escape(scan, "JSON does not have it");
    scan->p++;
    if (!at)
        return unicode_escape(scan, out);
    *out = to[at - from];
    return 1;
}

/* A character that may not mean itself, to out: 1 to 4 bytes, 0 after a mistake. */
static size_t character(struct ram_scan *scan, char *out)
{
    const unsigned char c = (unsigned char)*scan->p;
    utf8proc_int32_t code;

    if (c == '\\')
        return escape(scan, out);
    if (c < 0x20)
        return ram_scan_fail(scan, RAM_EFORMAT, "control character 0x%02x in a string", c);
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)scan->p, scan->end - scan->p, &code);
    if (n <= 0)
        return unexpected(scan, "UTF-8");
    memcpy(out, scan->p, (size_t)n);
    scan->p += n;
    return (size_t)n;
}

/* A string as it stands in the text. */
struct raw {
    const char *begin, *close; /* behind its opening quote; its closing quote */
    size_t n_plain;            /* bytes at its head that mean themselves; nearly always all */
};

/* Whether this byte of a string stands for itself: it is no quote, backslash or control character,
 * and it is ASCII. */
static bool plain(char c)
{
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

/* The same for all of the eight bytes at p. A top bit is set in the end by a byte beyond ASCII, by
 * one below 0x20, or by a quote or backslash, which the exclusive or makes 0. */
static bool all_plain(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    uint64_t x;

    memcpy(&x, p, sizeof x);
    const uint64_t quotes = (x ^ ones * '"') - ones, backslashes = (x ^ ones * '\\') - ones;
    return !((x | (x - ones * 0x20) | quotes | backslashes) & tops);
}

/* Finds the ends of the string that comes next; p stays behind its opening quote. */
static bool delimit(struct ram_scan *scan, struct raw *raw, const char *wanted)
{
    if (!expect(scan, '"', wanted))
        return false;
    const char *p = scan->p;
    while (scan->end - p >= 8 && all_plain(p))
        p += 8;
    while (p < scan->end && plain(*p))
        p++;
    raw->begin = scan->p;
    raw->n_plain = (size_t)(p - scan->p);
    while (p < scan->end && *p != '"')
        p += *p == '\\' && scan->end - p > 1 ? 2 : 1;
    raw->close = p;
    if (p < scan->end)
        return true;
    scan->p = scan->end;
    return unexpected(scan, "a closing quote");
}

static size_t raw_size(const struct raw *raw)
{
    return (size_t)(raw->close - raw->begin);
}

/* The text of the string, with a final 0, to out, or only checked (NULL). No escape is shorter
 * than what it means, so out needs no more room than the string takes in the text. */
static bool decode(struct ram_scan *scan, const struct raw *raw, char *out)
{
    char one[4];
    size_t size = raw->n_plain;

    if (out)
        memcpy(out, raw->begin, size);
    scan->p = raw->begin + size;
    while (scan->p < raw->close) {
        char *const to = out ? out + size : one;
        size_t n = 1;
        if (plain(*scan->p))
            *to = *scan->p++;
        else
            n = character(scan, to);
        if (!n)
            return false;
        size += n;
    }
    if (out)
        out[size] = '\0';
    scan->p = raw->close + 1;
    return true;
}

static bool keep(struct ram_scan *scan, const struct raw *raw, const char **out)
{
    char *const text = ram_arena_alloc(scan->arena, raw_size(raw) + 1, scan->err);

    *out = text;
    if (!text)
        scan->status = RAM_ENOMEM;
    return text && decode(scan, raw, text);
}

bool ram_scan_string(struct ram_scan *scan, const char **out)
{
    struct raw raw;

    if (!delimit(scan, &raw, "a string"))
        return false;
    return out ? keep(scan, &raw, out) : decode(scan, &raw, NULL);
}

bool ram_scan_word(struct ram_scan *scan, char *word, size_t size)
{
    struct raw raw;

    if (!delimit(scan, &raw, "a string"))
        return false;
    if (raw_size(&raw) >= size)
        return ram_scan_fail(scan, RAM_EFORMAT, "\"%s\" is an unknown word of %zu bytes", scan->key,
                             raw_size(&raw));
    return decode(scan, &raw, word);
}

/* ---- objects and arrays ------------------------------------------------------------------- */

bool ram_scan_object(struct ram_scan *scan)
{
    scan->opened = expect(scan, '{', "an object");
    return scan->opened;
}

bool ram_scan_array(struct ram_scan *scan)
{
    scan->opened = expect(scan, '[', "an array");
    return scan->opened;
}

/* Steps over the comma to what follows it; false at the end of the list, or after a mistake. */
static bool step(struct ram_scan *scan, char close, const char *wanted)
{
    const bool first = scan->opened;

    scan->opened = false;
    if (peek(scan) == close) {
        scan->p++;
        return false;
    }
    return first ? ram_scan_good(scan) : expect(scan, ',', wanted);
}

bool ram_scan_element(struct ram_scan *scan)
{
    return step(scan, ']', "',' or ']'");
}

static bool next_key(struct ram_scan *scan, struct raw *raw)
{
    return step(scan, '}', "',' or '}'") && delimit(scan, raw, "a key");
}

bool ram_scan_member(struct ram_scan *scan)
{
    enum { KEPT = sizeof scan->key - sizeof "..." };
    struct raw raw;

    if (!next_key(scan, &raw))
        return false;
    const bool fits = raw_size(&raw) < sizeof scan->key;
    if (!fits)
        snprintf(scan->key, sizeof scan->key, "%.*s...", KEPT, raw.begin);
    return decode(scan, &raw, fits ? scan->key : NULL) && expect(scan, ':', "':'");
}

bool ram_scan_entry(struct ram_scan *scan, const char **name)
{
    struct raw raw;

    return next_key(scan, &raw) && keep(scan, &raw, name) && expect(scan, ':', "':'");
}

/* ---- numbers ------------------------------------------------------------------------------ */

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *p)
{
    while (digit(*p))
        p++;
    return p;
}

/* Behind the number at the head of a 0-terminated text, by JSON's grammar; NULL if there is none.
 * *integer: it has neither fraction nor exponent. */
static const char *number_end(const char *p, bool *integer)
{
    p += *p == '-';
    const char *q = *p == '0' ? p + 1 : skip_digits(p);
    if (q == p)
        return NULL;
    *integer = *q != '.' && *q != 'e' && *q != 'E';
    if (*q == '.') {
        p = q + 1;
        q = skip_digits(p);
        if (q == p)
            return NULL;
    }
    if (*q == 'e' || *q == 'E') {
        q++;
        p = q + (*q == '+' || *q == '-');
        q = skip_digits(p);
        if (q == p)
            return NULL;
    }
    return q;
}

static bool in_number(char c)
{
    return digit(c) || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* A number, with its own text, 0-terminated, since strtod must not look past the end of ours. */
struct number {
    char text[MAX_NUMBER + 1];
    bool integer;
    const char *begin; /* in the text that is scanned */
};

static bool scan_number(struct ram_scan *scan, struct number *number, const char *wanted)
{
    size_t n = 0;

    peek(scan);
    number->begin = scan->p;
    while (n < MAX_NUMBER && scan->p + n < scan->end && in_number(scan->p[n]))
        n++;
    if (n == MAX_NUMBER)
        return ram_scan_fail(scan, RAM_EFORMAT, "a number of %d characters or more", MAX_NUMBER);
    if (n == 0)
        return unexpected(scan, wanted);
    memcpy(number->text, scan->p, n);
    number->text[n] = '\0';
    if (number_end(number->text, &number->integer) != number->text + n)
        return ram_scan_fail(scan, RAM_EFORMAT, "found %s, which is not a number of JSON",
                             number->text);
    scan->p += n;
    return true;
}

bool ram_scan_real(struct ram_scan *scan, double *out)
{
    struct number number;

    if (!scan_number(scan, &number, "a number"))
        return false;
    const double x = strtod(number.text, NULL);
    if (!isfinite(x)) {
        scan->p = number.begin;
        return ram_scan_fail(scan, RAM_EFORMAT, "number %s is too large", number.text);
    }
    *out = x;
    return true;
}

/* Says why what comes next is not an integer from 0 to max. */
static bool bad_uint(struct ram_scan *scan, uint64_t max)
{
    struct number number;

    if (!scan_number(scan, &number, "an integer"))
        return false;
    scan->p = number.begin;
    return ram_scan_fail(scan, number.integer && number.text[0] != '-' ? RAM_ERANGE : RAM_EFORMAT,
                         "\"%s\" is %s, expected an integer from 0 to %llu", scan->key, number.text,
                         (unsigned long long)max);
}

/* Half of a header is integers, so they are read where they stand. */
bool ram_scan_uint(struct ram_scan *scan, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    peek(scan);
    const char *p = scan->p;
    for (; p < scan->end && digit(*p); p++) {
        const uint64_t unit = (uint64_t)(*p - '0');
        if (value > (UINT64_MAX - unit) / 10)
            return bad_uint(scan, max);
        value = value * 10 + unit;
    }
    const bool spare_zero = p - scan->p > 1 && *scan->p == '0';
    if (p == scan->p || spare_zero || value > max || (p < scan->end && in_number(*p)))
        return bad_uint(scan, max);
    scan->p = p;
    *out = value;
    return true;
}

/* ---- other values ------------------------------------------------------------------------- */

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

static bool skip_value(struct ram_scan *scan, int depth)
{
    struct number number;
    struct raw key;

    if (depth > MAX_DEPTH)
        return ram_scan_fail(scan, RAM_EFORMAT, "nested more than %d deep", MAX_DEPTH);
    switch (peek(scan)) {
    case '{': /* scan->key stays that of the value as a whole */
        ram_scan_object(scan);
        while (next_key(scan, &key) && decode(scan, &key, NULL) && expect(scan, ':', "':'"))
            skip_value(scan, depth + 1);
        return ram_scan_good(scan);
    case '[':
        ram_scan_array(scan);
        while (ram_scan_element(scan))
            skip_value(scan, depth + 1);
        return ram_scan_good(scan);
    case '"':
        return ram_scan_string(scan, NULL);
    case 't':
        return literal(scan, "true") || unexpected(scan, "a value");
    case 'f':
        return literal(scan, "false") || unexpected(scan, "a value");
    case 'n':
        return literal(scan, "null") || unexpected(scan, "a value");
    default:
        return scan_number(scan, &number, "a value");
    }
}

bool ram_scan_skip(struct ram_scan *scan)
{
    return skip_value(scan, 0);
}

bool ram_scan_tree(struct ram_scan *scan, json_t **out)
{
    json_error_t at;

    peek(scan);
    const char *const begin = scan->p;
    if (!ram_scan_skip(scan))
        return false;
    const int status = ram_json_load(out, begin, (size_t)(scan->p - begin),
                                     JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
    if (!status)
        return true;
    scan->p = begin;
    return ram_scan_fail(scan, status, "\"%s\": %s", scan->key, at.text);
}

bool ram_scan_end(struct ram_scan *scan)
{
    peek(scan);
    return ram_scan_good(scan) && (scan->p == scan->end || unexpected(scan, "the end of the text"));
}
