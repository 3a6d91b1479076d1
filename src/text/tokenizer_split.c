/*
 * tokenizer_split.c - the published pre-tokenizer patterns, by hand: three times as fast as the
 * same through PCRE2's compiler (240 MB/s and 75 of English), and of a newer Unicode.
 * tests/unit/text_tokenizer_parts.c holds them against PCRE2 on random text.
 *
 * Each function below is one alternative of a pattern and returns the bytes it matches at the
 * start of the text, 0 for no match. Alternatives are tried in the order of the pattern; the
 * first that matches counts, however long.
 */
#include "text/tokenizer_split.h"

#include "text/tokenizer_text.h"

const char *const ram_split_patterns[RAM_SPLIT_N_STYLES] = {
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"};

enum { O = RAM_CHAR_OTHER, L = RAM_CHAR_LETTER, N = RAM_CHAR_NUMBER, S = RAM_CHAR_SPACE };

static const uint8_t ascii_class[128] = {
    O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, /* tab, LF, VT, FF, CR */
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, S, O, O, O, O, O, O, O, O, O, O, O,
    O, O, O, O, N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O, O, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O, O, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O};

static unsigned class_at(const uint8_t *p, size_t *step)
{
    if (*p < 0x80) {
        *step = 1;
        return ascii_class[*p];
    }
    return ram_char_class(ram_utf8_get(p, step));
}

/* Bytes of at most `max` characters of class `want` at the start. */
static size_t run(const uint8_t *text, size_t size, unsigned want, size_t max)
{
    size_t at = 0, step;

    while (at < size && max-- && class_at(text + at, &step) == want)
        at += step;
    return at;
}

static bool is_newline(uint8_t c)
{
    return c == '\n' || c == '\r';
}

/* 's|'t|'re|'ve|'m|'ll|'d, text beginning with the apostrophe. Without regard to case U+017F is
 * an s too. */
static size_t contraction(const uint8_t *text, size_t size, bool any_case)
{
    const uint8_t fold = any_case ? 0x20 : 0;

    if (size < 2)
        return 0;
    const uint8_t a = text[1] | fold, b = size > 2 ? text[2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return 3;
    return any_case && size > 2 && text[1] == 0xC5 && text[2] == 0xBF ? 3 : 0;
}

/* \s+(?!\S)|\s+: a run of white space leaves its last character to what follows it. */
static size_t white_space(const uint8_t *text, size_t size)
{
    const size_t all = run(text, size, S, SIZE_MAX);

    if (all == size)
        return all;
    const size_t but_last = (size_t)(ram_utf8_back(text + all) - text);
    return but_last ? but_last : all;
}

/* \s*[\r\n]+: white space up to its last line end. */
static size_t lines(const uint8_t *text, size_t size)
{
    size_t n = run(text, size, S, SIZE_MAX);

    while (n && !is_newline(text[n - 1]))
        n--;
    return n;
}

/* [^\r\n\p{L}\p{N}]?\p{L}+ */
static size_t word(const uint8_t *text, size_t size)
{
    size_t step;
    const unsigned class = class_at(text, &step);

    if (class == L)
        return run(text, size, L, SIZE_MAX);
    if (class == N || is_newline(*text))
        return 0;
    const size_t letters = run(text + step, size - step, L, SIZE_MAX);
    return letters ? step + letters : 0;
}

/* " ?" and a run of one class */
static size_t spaced(const uint8_t *text, size_t size, unsigned want)
{
    const size_t space = *text == ' ';
    const size_t n = run(text + space, size - space, want, SIZE_MAX);
    return n ? space + n : 0;
}

static size_t next_llama(const uint8_t *text, size_t size, size_t max_digits)
{
    size_t n = *text == '\'' ? contraction(text, size, true) : 0;

    if (n || (n = word(text, size)) || (n = run(text, size, N, max_digits)))
        return n;
    if ((n = spaced(text, size, O))) {
        while (n < size && is_newline(text[n]))
            n++;
        return n;
    }
    n = lines(text, size);
    return n ? n : white_space(text, size);
}

static size_t next_gpt2(const uint8_t *text, size_t size)
{
    size_t n = *text == '\'' ? contraction(text, size, false) : 0;

    if (n || (n = spaced(text, size, L)) || (n = spaced(text, size, N)) ||
        (n = spaced(text, size, O)))
        return n;
    return white_space(text, size);
}

size_t ram_split_next(enum ram_split_style style, const uint8_t *text, size_t size)
{
    if (style == RAM_SPLIT_GPT2)
        return next_gpt2(text, size);
    return next_llama(text, size, style == RAM_SPLIT_QWEN2 ? 1 : 3);
}
