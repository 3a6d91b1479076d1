/*
 * tokenizer_regex.c - patterns in Oniguruma's Ruby syntax, which tokenizer.json uses, run by
 * PCRE2.
 *
 * The two agree on what pre-tokenizers need, but for a few classes: \s and \w are wider or
 * narrower, \b follows \w, a script's name means Script and not Script_Extensions, ^ and $ are
 * those of lines. translate() rewrites these and refuses what has another meaning in each.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer_split.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum {
    JIT_STACK_MIN = 32 << 10,
    JIT_STACK_MAX = 16 << 20, /* bytes */
    HEAP_LIMIT = 256 << 10,   /* KiB, of the interpreter when the JIT's stack is too small */
    MATCH_LIMIT = 10000000,   /* steps, at every place in the text ... */
    MATCH_LIMIT_BYTE = 16     /* ... and this many more for each byte of it */
};

/* ---- from Oniguruma's syntax to PCRE2's ---------------------------------------------------- */

#define SPACES                                                                                     \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"             \
    "\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACES                                                                                 \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"                   \
    "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}"                 \
    "\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORDS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

struct translation {
    const char *pattern, *p; /* p: what comes next */
    const char *where;
    bool in_class;
    struct ram_buf out;
};

static int refuse(const struct translation *t, const char *what, struct ram_err *err)
{
    return ram_fail(err, RAM_EUNSUPPORTED, "%s: pattern \"%.200s\", byte %zu: %s is not supported",
                    t->where, t->pattern, (size_t)(t->p - t->pattern), what);
}

/* \p{Name}, \P{Name}, \p{^Name}; p stands after the p. General categories have one or two
 * letters; what is longer is a script, or a category by its long name. */
static int property(struct translation *t, char kind, struct ram_err *err)
{
    static const char *const same[][2] = {
        {"Letter", "L"}, {"Mark", "M"},      {"Number", "N"}, {"Punctuation", "P"},
        {"Symbol", "S"}, {"Separator", "Z"}, {"Other", "C"},  {"Alphabetic", "Alphabetic"},
        {"Any", "Any"},  {"Emoji", "Emoji"}};
    char name[32];
    const char *end = *t->p == '{' ? strchr(t->p, '}') : NULL;

    if (!end || end - t->p > (int)sizeof name)
        return refuse(t, "a property without {name}", err);
    const bool negative = t->p[1] == '^';
    const size_t n = (size_t)(end - t->p) - 1 - negative;
    memcpy(name, t->p + 1 + negative, n);
    name[n] = 0;
    const char *meaning = n > 2 ? NULL : name;
    for (size_t i = 0; i < sizeof same / sizeof *same && !meaning; i++)
        if (!strcmp(name, same[i][0]))
            meaning = same[i][1];
    ram_buf_printf(&t->out, "\\%c{%s%s%s}", kind, negative ? "^" : "",
                   meaning ? "" : "sc:", meaning ? meaning : name);
    t->p = end + 1;
    return RAM_OK;
}

/* Four digits of \uHHHH, or the digits of \x{H...} and \xHH; p stands after the letter. */
static int code_point(struct translation *t, bool is_u, struct ram_err *err)
{
    const bool braces = !is_u && *t->p == '{';
    const char *digits = t->p + braces;
    size_t n = 0;

    while (n < 8 && isxdigit((unsigned char)digits[n]) && (braces || n < (is_u ? 4u : 2u)))
        n++;
    if (n < (is_u ? 4u : 1u) || (braces && digits[n] != '}') ||
        (!is_u && !braces && n == 2 && digits[0] > '7'))
        return refuse(t, "this character escape", err);
    ram_buf_printf(&t->out, "\\x{%.*s}", (int)n, digits);
    t->p = digits + n + braces;
    return RAM_OK;
}

/* p stands after the backslash. */
static int escape(struct translation *t, struct ram_err *err)
{
    const char c = *t->p;

    if (!c)
        return refuse(t, "a backslash at the end", err);
    t->p++;
    const char *open = t->in_class ? "" : "[", *close = t->in_class ? "" : "]";
    switch (c) {
    case 's':
        ram_buf_printf(&t->out, "%s" SPACES "%s", open, close);
        return RAM_OK;
    case 'S':
        ram_buf_printf(&t->out, "%s" NOT_SPACES "%s", open, close);
        return RAM_OK;
    case 'w':
        ram_buf_printf(&t->out, "%s" WORDS "%s", open, close);
        return RAM_OK;
    case 'W':
        if (t->in_class)
            return refuse(t, "\\W in a class", err);
        ram_buf_puts(&t->out, "[^" WORDS "]");
        return RAM_OK;
    case 'b':
        ram_buf_puts(&t->out, t->in_class ? "\\x{8}"
                                          : "(?:(?<=[" WORDS "])(?![" WORDS "])|"
                                            "(?<![" WORDS "])(?=[" WORDS "]))");
        return RAM_OK;
    case 'v':
        ram_buf_puts(&t->out, "\\x{b}");
        return RAM_OK;
    case 'p':
    case 'P':
        return property(t, c, err);
    case 'x':
    case 'u':
        return code_point(t, c == 'u', err);
    default:
        break;
    }
    const char *plain = t->in_class ? "dDrntfae" : "dDrntfaeAzZ123456789";
    if (isalnum((unsigned char)c) && !strchr(plain, c))
        return refuse(t, "this escape", err);
    if ((unsigned char)c < 0x80)
        ram_buf_puts(&t->out, "\\");
    ram_buf_add(&t->out, &c, 1);
    return RAM_OK;
}

/* p stands after the "(?". */
static int group(struct translation *t, struct ram_err *err)
{
    static const char *const known[] = {":", "=", "!", "<=", "<!", ">", "i:", "-i:"};

    ram_buf_puts(&t->out, "(?");
    /* Ruby's (?i) reaches into later branches as a group of its own: the same thing only when
     * it opens the pattern. */
    if (!strncmp(t->p, "i)", 2) && t->p == t->pattern + 2) {
        ram_buf_puts(&t->out, "i)");
        t->p += 2;
        return RAM_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(t->p, known[i], strlen(known[i]))) {
            ram_buf_puts(&t->out, known[i]);
            t->p += strlen(known[i]);
            return RAM_OK;
        }
    return refuse(t, "this group", err);
}

/* p stands after the {. In Ruby {n,m}+ repeats the repetition and {n}? makes it optional. */
static int braces(struct translation *t, struct ram_err *err)
{
    const char *p = t->p;
    bool comma = false;

    ram_buf_puts(&t->out, "{");
    if (*p == ',')
        return refuse(t, "{,", err);
    while (isdigit((unsigned char)*p) || (*p == ',' && !comma))
        comma |= *p++ == ',';
    if (p > t->p && *p == '}' && (p[1] == '+' || (p[1] == '?' && !comma)))
        return refuse(t, "a quantifier after {}", err);
    return RAM_OK;
}

static int in_class(struct translation *t, char c, struct ram_err *err)
{
    if (c == '[')
        return refuse(t, "a class in a class", err);
    if (c == '&' && *t->p == '&')
        return refuse(t, "&&", err);
    t->in_class = c != ']';
    ram_buf_add(&t->out, &c, 1);
    return RAM_OK;
}

static int open_class(struct translation *t, struct ram_err *err)
{
    t->in_class = true;
    ram_buf_puts(&t->out, "[");
    if (*t->p == '^') {
        ram_buf_puts(&t->out, "^");
        t->p++;
    }
    return *t->p == ']' ? refuse(t, "an empty class", err) : RAM_OK;
}

static int translate(struct translation *t, struct ram_err *err)
{
    int status = RAM_OK;

    while (*t->p && !status) {
        const char c = *t->p++;
        if (c == '\\') {
            status = escape(t, err);
        } else if (t->in_class) {
            status = in_class(t, c, err);
        } else if (c == '[') {
            status = open_class(t, err);
        } else if (c == '{') {
            status = braces(t, err);
        } else if (c == '(' && *t->p == '?') {
            t->p++;
            status = group(t, err);
        } else if (c == '(' && *t->p == '*') {
            status = refuse(t, "(*", err);
        } else {
            ram_buf_add(&t->out, &c, 1);
        }
    }
    return status;
}

/* ---- compiling and matching ---------------------------------------------------------------- */

struct ram_split_rx {
    pcre2_code *code;
    char *where; /* for messages while matching */
};

struct ram_split_scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

int ram_split_rx_new(struct ram_split_rx **out, const char *pattern, const char *where,
                     struct ram_err *err)
{
    struct translation t = {.pattern = pattern, .p = pattern, .where = where};
    struct ram_split_rx *rx = NULL;
    pcre2_compile_context *context = NULL;
    PCRE2_UCHAR text[128];
    PCRE2_SIZE offset;
    int code, status;

    if (strlen(pattern) > RAM_TOK_MAX_PATTERN)
        return ram_fail(err, RAM_ERANGE, "%s: a pattern of %zu bytes, at most %d are allowed",
                        where, strlen(pattern), RAM_TOK_MAX_PATTERN);
    status = translate(&t, err);
    if (status)
        goto done;
    rx = ram_calloc(1, sizeof *rx, err);
    context = pcre2_compile_context_create(NULL);
    if (!rx || !context || t.out.failed) {
        status = ram_fail(err, RAM_ENOMEM, "%s: no memory for a pattern", where);
        goto done;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    rx->code = pcre2_compile((PCRE2_SPTR)(t.out.data ? t.out.data : ""), t.out.size,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                             &code, &offset, context);
    if (!rx->code) {
        pcre2_get_error_message(code, text, sizeof text);
        status = ram_fail(err, code == PCRE2_ERROR_HEAP_FAILED ? RAM_ENOMEM : RAM_EFORMAT,
                          "%s: pattern \"%.200s\": %s", where, pattern, (const char *)text);
        goto done;
    }
    pcre2_jit_compile(rx->code, PCRE2_JIT_COMPLETE); /* without one the interpreter runs */
    rx->where = ram_strdup(where, err);
    status = rx->where ? RAM_OK : RAM_ENOMEM;
done:
    pcre2_compile_context_free(context);
    ram_buf_release(&t.out);
    if (status)
        ram_split_rx_free(rx);
    else
        *out = rx;
    return status;
}

void ram_split_rx_free(struct ram_split_rx *rx)
{
    if (!rx)
        return;
    pcre2_code_free(rx->code);
    free(rx->where);
    free(rx);
}

int ram_split_scratch_new(struct ram_split_scratch **out, struct ram_err *err)
{
    struct ram_split_scratch *scratch = ram_calloc(1, sizeof *scratch, err);
    if (!scratch)
        return RAM_ENOMEM;
    scratch->data = pcre2_match_data_create(1, NULL);
    scratch->context = pcre2_match_context_create(NULL);
    scratch->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (!scratch->data || !scratch->context) {
        ram_split_scratch_free(scratch);
        return ram_fail(err, RAM_ENOMEM, "no memory to match patterns");
    }
    pcre2_set_heap_limit(scratch->context, HEAP_LIMIT);
    if (scratch->stack) /* NULL where PCRE2 was built without a JIT */
        pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    *out = scratch;
    return RAM_OK;
}

void ram_split_scratch_free(struct ram_split_scratch *scratch)
{
    if (!scratch)
        return;
    pcre2_match_data_free(scratch->data);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    free(scratch);
}

int ram_split_rx_find(const struct ram_split_rx *rx, struct ram_split_scratch *scratch,
                      const uint8_t *text, size_t size, struct ram_text_range *match,
                      struct ram_err *err)
{
    PCRE2_UCHAR why[128];
    const size_t from = match->end, left = size - from,
                 most = (UINT32_MAX - MATCH_LIMIT) / MATCH_LIMIT_BYTE;

    pcre2_set_match_limit(scratch->context,
                          (uint32_t)(MATCH_LIMIT + MATCH_LIMIT_BYTE * (left < most ? left : most)));
    /* The text is known to be valid; checking it at every word would be quadratic. */
    int n = pcre2_match(rx->code, text, size, from, PCRE2_NO_UTF_CHECK, scratch->data,
                        scratch->context);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(rx->code, text, size, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        scratch->data, scratch->context);
    if (n == PCRE2_ERROR_NOMATCH)
        return 0;
    if (n < 0) {
        pcre2_get_error_message(n, why, sizeof why);
        return ram_fail(err, n == PCRE2_ERROR_NOMEMORY ? RAM_ENOMEM : RAM_ERANGE,
                        "%s: the pre-tokenizer's pattern failed at byte %zu of a piece of %zu "
                        "bytes: %s",
                        rx->where, from, size, (const char *)why);
    }
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(scratch->data);
    *match = (struct ram_text_range){ends[0], ends[1]};
    return 1;
}
