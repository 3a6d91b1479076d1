/*
 * tokenizer_text.c - see tokenizer_text.h. Properties of characters come from utf8proc.
 *
 * Normalising is done in segments, because nearly all text needs none: only a character that may
 * change or compose, with the stable character before it and the unstable ones after it, goes
 * through decomposition and composition.
 */
#include "text/tokenizer_text.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- classes ------------------------------------------------------------------------------- */

struct range {
    uint32_t first, last;
};

static bool in_ranges(const struct range *ranges, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n && ranges[i].first <= c; i++)
        if (c <= ranges[i].last)
            return true;
    return false;
}

/* Letters and numbers of Unicode 15.1 and 16, which the Oniguruma of Hugging Face `tokenizers`
 * knows and a utf8proc of 2022 does not yet. */
static const struct range new_letters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3},
    {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389},
    {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7},
    {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA},
    {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}};
static const struct range new_numbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139},
    {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA}};
#define COUNT(a) (sizeof(a) / sizeof *(a))

bool ram_char_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

enum ram_char_class ram_char_class(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return RAM_CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return RAM_CHAR_NUMBER;
    case UTF8PROC_CATEGORY_CN:
        if (in_ranges(new_letters, COUNT(new_letters), c))
            return RAM_CHAR_LETTER;
        return in_ranges(new_numbers, COUNT(new_numbers), c) ? RAM_CHAR_NUMBER : RAM_CHAR_OTHER;
    default:
        return ram_char_is_space(c) ? RAM_CHAR_SPACE : RAM_CHAR_OTHER;
    }
}

bool ram_char_is_word(uint32_t c)
{
    /* Letters that are symbols by category, and the joiners. */
    static const struct range extra[] = {{0x200C, 0x200D},
                                         {0x24B6, 0x24E9},
                                         {0x1F130, 0x1F149},
                                         {0x1F150, 0x1F169},
                                         {0x1F170, 0x1F189}};
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return ram_char_class(c) == RAM_CHAR_LETTER || in_ranges(extra, COUNT(extra), c);
    }
}

/* ---- normal form C ------------------------------------------------------------------------- */

enum {
    MAX_DECOMPOSED = 4, /* code points of a canonical decomposition */
    SMALL_SEGMENT = 32, /* code points normalised without allocation */
    SMALL_RUN = 16      /* marks sorted by insertion */
};

/* Is c in NFC, and does it never compose with, or move before, what precedes it? May say no to
 * characters that are; never yes wrongly. */
static bool is_stable(uint32_t c)
{
    utf8proc_int32_t parts[MAX_DECOMPOSED];
    int boundclass = 0;

    /* U+11A7 lies just before the final jamo and is none; utf8proc takes it for one and composes
     * it away, which does not happen if it begins a segment. */
    if (c < 0x300 || c == 0x11A7 || (c >= 0x3400 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3))
        return true;
    if ((c >= 0x1100 && c <= 0x11FF) || (c >= 0x16D40 && c <= 0x16D7F))
        return false; /* jamo, and the vowels of Kirat Rai: letters that compose */
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)c);
    if (property->combining_class ||
        (property->category >= UTF8PROC_CATEGORY_MN && property->category <= UTF8PROC_CATEGORY_ME))
        return false;
    if (property->decomp_seqindex == UINT16_MAX || property->decomp_type)
        return true;
    /* It decomposes; is it what its parts compose to? The angstrom sign's make another letter. */
    const utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, MAX_DECOMPOSED,
                                                       UTF8PROC_DECOMPOSE, &boundclass);
    return n > 0 && n <= MAX_DECOMPOSED &&
           utf8proc_normalize_utf32(parts, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE) == 1 &&
           parts[0] == (utf8proc_int32_t)c;
}

static unsigned combining_class(utf8proc_int32_t c)
{
    return (unsigned)utf8proc_get_property(c)->combining_class & 0xFF;
}

/* Stable sort of a run of marks by combining class. copy: as many again. */
static void order_marks(utf8proc_int32_t *run, size_t n, utf8proc_int32_t *copy)
{
    size_t start[257] = {0};

    if (n <= SMALL_RUN) {
        for (size_t i = 1; i < n; i++) {
            const utf8proc_int32_t c = run[i];
            size_t j = i;
            for (; j && combining_class(run[j - 1]) > combining_class(c); j--)
                run[j] = run[j - 1];
            run[j] = c;
        }
        return;
    }
    memcpy(copy, run, n * sizeof *run);
    for (size_t i = 0; i < n; i++)
        start[combining_class(run[i]) + 1]++;
    for (size_t k = 1; k < 256; k++)
        start[k] += start[k - 1];
    for (size_t i = 0; i < n; i++)
        run[start[combining_class(copy[i])]++] = copy[i];
}

static void order_all(utf8proc_int32_t *codes, size_t n, utf8proc_int32_t *copy)
{
    size_t first = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && combining_class(codes[i]))
            continue;
        if (i > first)
            order_marks(codes + first, i - first, copy);
        first = i + 1;
    }
}

/* Normalises n code points of text [size]. */
static int normalise(const uint8_t *text, size_t size, size_t n, struct ram_buf *out,
                     struct ram_err *err)
{
    utf8proc_int32_t small[2 * SMALL_SEGMENT * MAX_DECOMPOSED], *codes = small;
    int boundclass = 0, status = RAM_OK;
    size_t n_codes = 0, step;

    if (n > SMALL_SEGMENT) {
        codes = ram_calloc(n, sizeof *codes * 2 * MAX_DECOMPOSED, err);
        if (!codes)
            return RAM_ENOMEM;
    }
    for (size_t at = 0; at < size; at += step) {
        const utf8proc_int32_t c = (utf8proc_int32_t)ram_utf8_get(text + at, &step);
        const utf8proc_ssize_t k = utf8proc_decompose_char(c, codes + n_codes, MAX_DECOMPOSED,
                                                           UTF8PROC_DECOMPOSE, &boundclass);
        if (k < 0 || k > MAX_DECOMPOSED) {
            status = ram_fail(err, RAM_EINTERNAL, "U+%04X has no decomposition: %s", (unsigned)c,
                              k < 0 ? utf8proc_errmsg(k) : "too long");
            goto done;
        }
        n_codes += (size_t)k;
    }
    order_all(codes, n_codes, codes + n * MAX_DECOMPOSED);
    const utf8proc_ssize_t composed = utf8proc_normalize_utf32(codes, (utf8proc_ssize_t)n_codes,
                                                               UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        uint8_t utf8[4];
        ram_buf_add(out, utf8, (size_t)utf8proc_encode_char(codes[i], utf8));
    }
done:
    if (codes != small)
        free(codes);
    return status;
}

/* Bytes up to the first unstable character; *last: where the character before it begins. */
static size_t stable_run(const uint8_t *text, size_t size, size_t *last)
{
    size_t at = 0, step;

    *last = 0;
    while (at < size) {
        const size_t run = ram_utf8_ascii(text + at, size - at);
        if (run) {
            at += run;
            *last = at - 1;
            continue;
        }
        if (!is_stable(ram_utf8_get(text + at, &step)))
            break;
        *last = at;
        at += step;
    }
    return at;
}

size_t ram_nfc_stable(const uint8_t *text, size_t size)
{
    size_t last;
    const size_t at = stable_run(text, size, &last);
    return at == size ? size : last;
}

int ram_nfc(const uint8_t *text, size_t size, struct ram_buf *out, struct ram_err *err)
{
    int status = RAM_OK;

    while (size && !status) {
        size_t last, n = 0, step;
        size_t end = stable_run(text, size, &last);
        if (end == size) {
            ram_buf_add(out, text, size);
            break;
        }
        n = end > last; /* the stable character, if there is one, and the unstable ones */
        do {
            ram_utf8_get(text + end, &step);
            end += step;
            n++;
        } while (end < size && !is_stable(ram_utf8_get(text + end, &step)));
        ram_buf_add(out, text, last);
        status = normalise(text + last, end - last, n, out, err);
        text += end;
        size -= end;
    }
    if (!status && out->failed)
        status = ram_fail(err, RAM_ENOMEM, "no memory for a normalised text");
    return status;
}
