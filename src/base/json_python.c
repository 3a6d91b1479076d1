/*
 * json_python.c - JSON as Python's json module reads it, to a jansson tree; see json.h.
 *
 * What jansson cannot hold becomes a string that begins with the byte 0xff, which is no UTF-8 and
 * so comes from no file; a lone surrogate becomes its three bytes of WTF-8. record/emit.c writes
 * both back as they were.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 900, MAX_DIGITS = 4300 /* of an integer, as in Python */, MARK = 0xff };

struct parser {
    const char *start, *p, *end;
    const char *where;
    struct ram_err *err;
    struct ram_buf text; /* of the string that is being read */
};

static json_t *wrong(struct parser *s, const char *what)
{
    size_t line = 1, column = 1;

    for (const char *p = s->start; p < s->p; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    ram_fail(s->err, RAM_EFORMAT, "%s: line %zu, column %zu: %s", s->where, line, column, what);
    return NULL;
}

static void skip_space(struct parser *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool next_is(struct parser *s, char c)
{
    skip_space(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* ---- strings ------------------------------------------------------------------------------ */

static bool hex4(struct parser *s, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, s->p++) {
        const char c = s->p < s->end ? *s->p : '\0';
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return false;
        *out = *out * 16 + (unsigned)digit;
    }
    return true;
}

static void put_code(struct ram_buf *buf, unsigned c)
{
    char bytes[4];
    size_t n = 0;

    if (c < 0x80) {
        bytes[n++] = (char)c;
    } else if (c < 0x800) {
        bytes[n++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        bytes[n++] = (char)(0xe0 | c >> 12);
        bytes[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        bytes[n++] = (char)(0xf0 | c >> 18);
        bytes[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        bytes[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80)
        bytes[n++] = (char)(0x80 | (c & 0x3f));
    ram_buf_add(buf, bytes, n);
}

/* Behind "\u". Two halves of a pair are one character; a half alone stays one. */
static bool read_unicode(struct parser *s)
{
    unsigned c, low;

    if (!hex4(s, &c))
        return false;
    if (c >= 0xd800 && c < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        const char *const before = s->p;
        s->p += 2;
        if (!hex4(s, &low))
            return false;
        if (low >= 0xdc00 && low < 0xe000)
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        else
            s->p = before;
    }
    put_code(&s->text, c);
    return true;
}

static bool read_escape(struct parser *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char c = s->p < s->end ? *s->p++ : '\0';
    const char *at = c ? strchr(from, c) : NULL;

    if (c == 'u')
        return read_unicode(s);
    if (at)
        ram_buf_add(&s->text, &to[at - from], 1);
    return at != NULL;
}

/* Behind the opening quote, to s->text. */
static bool read_text(struct parser *s)
{
    s->text.size = 0;
    while (s->p < s->end && *s->p != '"') {
        const size_t size = ram_utf8_size(s->p, (size_t)(s->end - s->p));
        if ((unsigned char)*s->p < 0x20 || !size) {
            wrong(s, size ? "a control character in a string" : "not UTF-8");
            return false;
        }
        if (*s->p == '\\') {
            s->p++;
            if (!read_escape(s)) {
                wrong(s, "not an escape");
                return false;
            }
            continue;
        }
        ram_buf_add(&s->text, s->p, size);
        s->p += size;
    }
    if (s->p == s->end) {
        wrong(s, "the text ends in a string");
        return false;
    }
    s->p++;
    return true;
}

static json_t *take_text(struct parser *s)
{
    json_t *value = json_stringn_nocheck(s->text.size ? s->text.data : "", s->text.size);

    if (s->text.failed || !value)
        ram_fail(s->err, RAM_ENOMEM, "%s: no memory for a string", s->where);
    return value;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static json_t *token(struct parser *s, const char *from)
{
    const char mark = (char)MARK;

    s->text.size = 0;
    ram_buf_add(&s->text, &mark, 1);
    ram_buf_add(&s->text, from, (size_t)(s->p - from));
    return take_text(s);
}

static size_t digits(struct parser *s)
{
    const char *const from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - from);
}

/* What strtod and strtoll make of the number's text, which is copied to end in NUL. */
static json_t *take_number(struct parser *s, const char *from, bool real)
{
    char *rest = NULL;

    s->text.size = 0;
    ram_buf_add(&s->text, from, (size_t)(s->p - from));
    ram_buf_add(&s->text, "", 1);
    if (s->text.failed)
        return take_text(s);
    if (real) {
        /* In the C locale's spelling, whatever the process has set. */
        json_error_t at;
        json_t *value;
        const int status =
            ram_json_load(&value, s->text.data, s->text.size - 1, JSON_DECODE_ANY, &at);
        return status == RAM_EFORMAT ? token(s, from) : value;
    }
    errno = 0;
    const long long n = strtoll(s->text.data, &rest, 10);
    return errno ? token(s, from) : json_integer((json_int_t)n);
}

static json_t *read_number(struct parser *s)
{
    const char *const from = s->p;
    bool real = false;

    s->p += *s->p == '-';
    const char *const first = s->p;
    const size_t n = digits(s);
    if (!n || (n > 1 && *first == '0')) {
        s->p = first + (n > 1);
        return wrong(s, "not a number");
    }
    if (s->end - s->p >= 2 && *s->p == '.' && s->p[1] >= '0' && s->p[1] <= '9') {
        s->p++;
        digits(s);
        real = true;
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        const char *const before = s->p++;
        s->p += s->p < s->end && (*s->p == '+' || *s->p == '-');
        if (digits(s))
            real = true;
        else
            s->p = before;
    }
    if (!real && n > MAX_DIGITS)
        return wrong(s, "an integer of more than 4300 digits");
    return take_number(s, from, real);
}

/* ---- values ------------------------------------------------------------------------------- */

static json_t *read_value(struct parser *s, int depth);

static json_t *read_array(struct parser *s, int depth)
{
    json_t *array = json_array();

    if (next_is(s, ']'))
        return array;
    for (;;) {
        json_t *item = read_value(s, depth);
        if (!item || json_array_append_new(array, item))
            break;
        if (next_is(s, ']'))
            return array;
        if (!next_is(s, ',')) {
            wrong(s, "expected ',' or ']'");
            break;
        }
    }
    json_decref(array);
    if (!s->err->status)
        ram_fail(s->err, RAM_ENOMEM, "%s: no memory for a list", s->where);
    return NULL;
}

/* A member's key, to *out; it is the caller's. */
static bool read_key(struct parser *s, char **out)
{
    *out = NULL;
    if (!next_is(s, '"')) {
        wrong(s, "expected a key in double quotes");
        return false;
    }
    if (!read_text(s))
        return false;
    if (s->text.size && memchr(s->text.data, '\0', s->text.size)) {
        wrong(s, "a key with the character NUL");
        return false;
    }
    ram_buf_add(&s->text, "", 1);
    *out = s->text.failed ? NULL : ram_strdup(s->text.data, s->err);
    if (*out && !next_is(s, ':')) {
        wrong(s, "expected ':'");
        return false;
    }
    return *out != NULL;
}

static json_t *read_object(struct parser *s, int depth)
{
    json_t *object = json_object();

    if (next_is(s, '}'))
        return object;
    for (;;) {
        char *key = NULL;
        json_t *value = read_key(s, &key) ? read_value(s, depth) : NULL;
        const bool good = value && !json_object_set_new_nocheck(object, key, value);
        free(key);
        if (!good)
            break;
        if (next_is(s, '}'))
            return object;
        if (!next_is(s, ',')) {
            wrong(s, "expected ',' or '}'");
            break;
        }
    }
    json_decref(object);
    if (!s->err->status)
        ram_fail(s->err, RAM_ENOMEM, "%s: no memory for an object", s->where);
    return NULL;
}

static json_t *read_word(struct parser *s)
{
    static const struct {
        const char *word;
        json_t *(*make)(void);
    } words[] = {{"true", json_true}, {"false", json_false}, {"null", json_null},
                 {"NaN", NULL},       {"Infinity", NULL},    {"-Infinity", NULL}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t n = strlen(words[i].word);
        const char *const from = s->p;
        if ((size_t)(s->end - s->p) < n || memcmp(s->p, words[i].word, n))
            continue;
        s->p += n;
        return words[i].make ? words[i].make() : token(s, from);
    }
    if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))
        return read_number(s);
    return wrong(s, "expected a value");
}

static json_t *read_value(struct parser *s, int depth)
{
    skip_space(s);
    if (s->p == s->end)
        return wrong(s, "the text ends where a value is expected");
    if (depth == MAX_DEPTH)
        return wrong(s, "nested too deeply");
    switch (*s->p) {
    case '{':
        s->p++;
        return read_object(s, depth + 1);
    case '[':
        s->p++;
        return read_array(s, depth + 1);
    case '"':
        s->p++;
        return read_text(s) ? take_text(s) : NULL;
    default:
        return read_word(s);
    }
}

int ram_json_parse_python(json_t **out, const char *text, size_t size, const char *where,
                          struct ram_err *err)
{
    struct parser s = {.start = text, .p = text, .end = text + size, .where = where, .err = err};

    *out = read_value(&s, 0);
    skip_space(&s);
    if (*out && s.p < s.end) {
        wrong(&s, "more text behind the value");
        json_decref(*out);
        *out = NULL;
    }
    ram_buf_release(&s.text);
    return *out ? RAM_OK : err->status ? err->status : ram_fail(err, RAM_ENOMEM, "%s", where);
}

int ram_json_read_python(json_t **out, const char *path, size_t max, struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0;

    int status = ram_file_read(path, max, &text, &size, err);
    if (!status)
        status = ram_json_parse_python(out, text, size, path, err);
    free(text);
    return status;
}

const char *ram_json_token(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && (unsigned char)*text == MARK ? text + 1 : NULL;
}

bool ram_json_is_plain(const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;

    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        const size_t n = json_string_length(value);
        for (size_t at = 0, size; at < n; at += size) {
            size = text[at] ? ram_utf8_size(text + at, n - at) : 0;
            if (!size)
                return false;
        }
    }
    json_array_foreach(value, i, item) if (!ram_json_is_plain(item)) return false;
    json_object_foreach((json_t *)(uintptr_t)value, key,
                        item) if (!ram_json_is_plain(item)) return false;
    return true;
}
