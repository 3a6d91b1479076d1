/* emit.c - see emit.h. */
#include "record/emit.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that stay in one line; levels of nesting that may be broken into lines, which bounds how
 * often a value is written for trial. */
enum { SHORT_LINE = 110, MAX_LEVELS = 16 };

int ram_c_locale_enter(struct ram_c_locale *locale, struct ram_err *err)
{
    *locale = (struct ram_c_locale){.c = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (locale->c == (locale_t)0)
        return ram_fail_errno(err, "cannot make a C locale");
    locale->before = uselocale(locale->c);
    return RAM_OK;
}

void ram_c_locale_leave(struct ram_c_locale *locale)
{
    uselocale(locale->before);
    freelocale(locale->c);
}

/* Half of a pair of surrogates, as json_python.c keeps it: three bytes that are no UTF-8. */
static unsigned lone_surrogate(const char *s, size_t left)
{
    const unsigned char *u = (const unsigned char *)s;

    return left >= 3 && u[0] == 0xed && u[1] >= 0xa0 && u[1] < 0xc0 && (u[2] & 0xc0) == 0x80
               ? 0xd000u | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu)
               : 0;
}

/* One character that is not plain ASCII; returns its bytes. */
static size_t emit_special(struct ram_buf *buf, const char *s, size_t left)
{
    const size_t size = ram_utf8_size(s, left);
    const unsigned half = size ? 0 : lone_surrogate(s, left);

    if (*s == '"' || *s == '\\')
        ram_buf_printf(buf, "\\%c", *s);
    else if ((unsigned char)*s < 0x20 || *s == 0x7f)
        ram_buf_printf(buf, "\\u%04x", (unsigned)*s);
    else if (half)
        ram_buf_printf(buf, "\\u%04x", half);
    else if (size)
        ram_buf_add(buf, s, size);
    else
        ram_buf_puts(buf, "\xef\xbf\xbd");
    return half ? 3 : size ? size : 1;
}

void ram_emit_bytes(struct ram_buf *buf, const char *s, size_t n)
{
    const char *const end = s + n;

    ram_buf_puts(buf, "\"");
    while (s < end) {
        size_t plain = 0; /* the usual case: a run of bytes that stand for themselves */
        while (s + plain < end && (unsigned char)s[plain] >= 0x20 &&
               (unsigned char)s[plain] < 0x7f && s[plain] != '"' && s[plain] != '\\')
            plain++;
        ram_buf_add(buf, s, plain);
        s += plain;
        if (s < end)
            s += emit_special(buf, s, (size_t)(end - s));
    }
    ram_buf_puts(buf, "\"");
}

void ram_emit_string(struct ram_buf *buf, const char *s)
{
    if (s)
        ram_emit_bytes(buf, s, strlen(s));
    else
        ram_buf_puts(buf, "null");
}

void ram_emit_real(struct ram_buf *buf, double x)
{
    char text[40];

    if (!isfinite(x)) {
        ram_buf_puts(buf, "null");
        return;
    }
    /* 15 digits are what a person typed, 17 always suffice. 16 are not tried: a third of a large
     * manifest's time for one digit of a measured figure. */
    int n = snprintf(text, sizeof text, "%.15g", x);
    if (strtod(text, NULL) != x)
        n = snprintf(text, sizeof text, "%.17g", x);
    ram_buf_add(buf, text, (size_t)n);
    if (strcspn(text, ".e") == (size_t)n)
        ram_buf_puts(buf, ".0"); /* or a reader would take it for an integer */
}

static void emit_scalar(struct ram_buf *buf, const json_t *value)
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING:
        if (ram_json_token(value))
            ram_buf_puts(buf, ram_json_token(value));
        else
            ram_emit_bytes(buf, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        ram_buf_printf(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        ram_emit_real(buf, json_real_value(value));
        break;
    case JSON_TRUE:
        ram_buf_puts(buf, "true");
        break;
    case JSON_FALSE:
        ram_buf_puts(buf, "false");
        break;
    default:
        ram_buf_puts(buf, "null");
        break;
    }
}

/* Between members: a space on one line, else a new line. depth < 0: on one line. */
static void emit_break(struct ram_buf *buf, bool inside, int depth)
{
    if (depth < 0)
        ram_buf_puts(buf, inside ? " " : "");
    else
        ram_buf_printf(buf, "\n%*s", 2 * depth, "");
}

static void emit_value(struct ram_buf *buf, json_t *value, int depth, int level);

/* The members of an object or array, depth < 0: all on this line. */
static void emit_members(struct ram_buf *buf, json_t *value, int depth, int level)
{
    const int inner = depth < 0 ? -1 : depth + 1;
    size_t i = 0;

    if (json_is_array(value)) {
        ram_buf_puts(buf, "[");
        for (; i < json_array_size(value); i++) {
            ram_buf_puts(buf, i ? "," : "");
            emit_break(buf, i > 0, inner);
            emit_value(buf, json_array_get(value, i), inner, level + 1);
        }
    } else {
        const char *key;
        json_t *member;
        ram_buf_puts(buf, "{");
        json_object_foreach(value, key, member)
        {
            ram_buf_puts(buf, i ? "," : "");
            emit_break(buf, i++ > 0, inner);
            ram_emit_string(buf, key);
            ram_buf_puts(buf, ": ");
            emit_value(buf, member, inner, level + 1);
        }
    }
    if (i)
        emit_break(buf, false, depth);
    ram_buf_puts(buf, json_is_array(value) ? "]" : "}");
}

static void emit_value(struct ram_buf *buf, json_t *value, int depth, int level)
{
    if (!json_is_array(value) && !json_is_object(value)) {
        emit_scalar(buf, value);
        return;
    }
    const size_t before = buf->size;
    emit_members(buf, value, -1, level);
    if (depth < 0 || level > MAX_LEVELS || buf->size - before <= SHORT_LINE)
        return;
    buf->size = before; /* too long for one line: again, over several */
    emit_members(buf, value, depth, level);
}

void ram_emit_json(struct ram_buf *buf, json_t *value, int depth)
{
    emit_value(buf, value, depth, 0);
}

int ram_emit_text(json_t *value, char **out, struct ram_err *err)
{
    struct ram_buf buf = {0};
    struct ram_c_locale locale;

    if (!value)
        return ram_fail(err, RAM_ENOMEM, "no memory for a report");
    int status = ram_c_locale_enter(&locale, err);
    if (!status) {
        ram_emit_json(&buf, value, 0);
        ram_buf_puts(&buf, "\n");
        ram_c_locale_leave(&locale);
        status = ram_buf_take(&buf, out, err);
    }
    json_decref(value);
    return status;
}
