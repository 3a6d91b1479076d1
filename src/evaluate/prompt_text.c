/*
 * prompt_text.c - see prompt_text.h.
 *
 * After CPython 3.11's Objects/unicodeobject.c (do_capitalize, handle_capital_sigma) and the
 * harness's tasks/hellaswag/utils.py. Simple case mappings are utf8proc's; those of one character
 * to several are in the table below.
 */
#include "evaluate/prompt_text.h"

#include <string.h>
#include <utf8proc.h>

/* ---- characters ------------------------------------------------------------------------- */

/* The character at text[at]; its bytes. A byte that begins none: -1, 1 byte. */
static size_t decode(const char *text, size_t size, size_t at, int32_t *code)
{
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), code);
    if (n > 0)
        return (size_t)n;
    *code = -1;
    return 1;
}

/* Where the character before text[at] begins, at > 0. */
static size_t step_back(const char *text, size_t at)
{
    const size_t lowest = at > 4 ? at - 4 : 0;
    size_t i = at - 1;

    while (i > lowest && ((unsigned char)text[i] & 0xC0) == 0x80)
        i--;
    return i;
}

static void put(struct ram_buf *out, int32_t code)
{
    utf8proc_uint8_t bytes[4];
    ram_buf_add(out, bytes, (size_t)utf8proc_encode_char(code, bytes));
}

/* str.isspace: category Zs, or bidirectional type WS, B or S. */
static bool is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t ram_text_space_at_end(const char *text, size_t size)
{
    size_t end = size;

    while (end > 0) {
        const size_t at = step_back(text, end);
        int32_t c;
        if (decode(text, end, at, &c) != end - at || !is_space(c))
            break;
        end = at;
    }
    return size - end;
}

size_t ram_text_length(const char *text, size_t size)
{
    size_t n = 0;
    int32_t c;

    for (size_t at = 0; at < size; at += decode(text, size, at, &c))
        n++;
    return n;
}

/* ---- capitals --------------------------------------------------------------------------- */

/* SpecialCasing.txt, unconditional: characters whose title case is more than one character. */
static const struct {
    uint16_t code, title[3];
} titles[] = {
    {0x00DF, {0x0053, 0x0073}},         {0x0149, {0x02BC, 0x004E}},
    {0x01F0, {0x004A, 0x030C}},         {0x0390, {0x0399, 0x0308, 0x0301}},
    {0x03B0, {0x03A5, 0x0308, 0x0301}}, {0x0587, {0x0535, 0x0582}},
    {0x1E96, {0x0048, 0x0331}},         {0x1E97, {0x0054, 0x0308}},
    {0x1E98, {0x0057, 0x030A}},         {0x1E99, {0x0059, 0x030A}},
    {0x1E9A, {0x0041, 0x02BE}},         {0x1F50, {0x03A5, 0x0313}},
    {0x1F52, {0x03A5, 0x0313, 0x0300}}, {0x1F54, {0x03A5, 0x0313, 0x0301}},
    {0x1F56, {0x03A5, 0x0313, 0x0342}}, {0x1FB2, {0x1FBA, 0x0345}},
    {0x1FB4, {0x0386, 0x0345}},         {0x1FB6, {0x0391, 0x0342}},
    {0x1FB7, {0x0391, 0x0342, 0x0345}}, {0x1FC2, {0x1FCA, 0x0345}},
    {0x1FC4, {0x0389, 0x0345}},         {0x1FC6, {0x0397, 0x0342}},
    {0x1FC7, {0x0397, 0x0342, 0x0345}}, {0x1FD2, {0x0399, 0x0308, 0x0300}},
    {0x1FD3, {0x0399, 0x0308, 0x0301}}, {0x1FD6, {0x0399, 0x0342}},
    {0x1FD7, {0x0399, 0x0308, 0x0342}}, {0x1FE2, {0x03A5, 0x0308, 0x0300}},
    {0x1FE3, {0x03A5, 0x0308, 0x0301}}, {0x1FE4, {0x03A1, 0x0313}},
    {0x1FE6, {0x03A5, 0x0342}},         {0x1FE7, {0x03A5, 0x0308, 0x0342}},
    {0x1FF2, {0x1FFA, 0x0345}},         {0x1FF4, {0x038F, 0x0345}},
    {0x1FF6, {0x03A9, 0x0342}},         {0x1FF7, {0x03A9, 0x0342, 0x0345}},
    {0xFB00, {0x0046, 0x0066}},         {0xFB01, {0x0046, 0x0069}},
    {0xFB02, {0x0046, 0x006C}},         {0xFB03, {0x0046, 0x0066, 0x0069}},
    {0xFB04, {0x0046, 0x0066, 0x006C}}, {0xFB05, {0x0053, 0x0074}},
    {0xFB06, {0x0053, 0x0074}},         {0xFB13, {0x0544, 0x0576}},
    {0xFB14, {0x0544, 0x0565}},         {0xFB15, {0x0544, 0x056B}},
    {0xFB16, {0x054E, 0x0576}},         {0xFB17, {0x0544, 0x056D}},
};
enum { N_TITLES = sizeof titles / sizeof *titles };

static void put_title(struct ram_buf *out, int32_t c)
{
    for (size_t i = 0; i < N_TITLES; i++)
        if (titles[i].code == c) {
            for (size_t k = 0; k < 3 && titles[i].title[k]; k++)
                put(out, titles[i].title[k]);
            return;
        }
    put(out, utf8proc_totitle(c));
}

/* Unicode's Cased: letters with case, and the other characters that look like such. */
static bool is_cased(int32_t c)
{
    const utf8proc_category_t category = utf8proc_category(c);

    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT || c == 0xAA || c == 0xBA ||
           (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

/* Unicode's Case_Ignorable: marks, modifiers, and punctuation that stands inside words. */
static bool is_ignorable(int32_t c)
{
    static const uint16_t inside[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                      0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                      0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};

    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        break;
    }
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (inside[i] == c)
            return true;
    return false;
}

/* A sigma of 2 bytes at text[at] ends a word: a letter before it and none after it. */
static bool is_final_sigma(const char *text, size_t size, size_t at)
{
    int32_t c = -1;

    for (size_t i = at; i > 0;) {
        i = step_back(text, i);
        decode(text, size, i, &c);
        if (c < 0 || !is_ignorable(c))
            break;
        c = -1;
    }
    if (c < 0 || !is_cased(c))
        return false;
    for (size_t i = at + 2; i < size;) {
        i += decode(text, size, i, &c);
        if (c < 0 || !is_ignorable(c))
            return c < 0 || !is_cased(c);
    }
    return true;
}

void ram_text_capitalize(const char *text, struct ram_buf *out)
{
    const size_t size = strlen(text);
    int32_t c;

    for (size_t at = 0; at < size;) {
        const size_t n = decode(text, size, at, &c);
        if (c < 0)
            ram_buf_add(out, text + at, n);
        else if (at == 0)
            put_title(out, c);
        else if (c == 0x3A3)
            put(out, is_final_sigma(text, size, at) ? 0x3C2 : 0x3C3);
        else if (c == 0x130)
            ram_buf_puts(out, "i\xCC\x87");
        else
            put(out, utf8proc_tolower(c));
        at += n;
    }
}

/* ---- HellaSwag -------------------------------------------------------------------------- */

/* Bytes that str.lstrip() would take. */
static size_t space_at_start(const char *text, size_t size)
{
    size_t at = 0;
    int32_t c;

    while (at < size) {
        const size_t n = decode(text, size, at, &c);
        if (!is_space(c))
            break;
        at += n;
    }
    return at;
}

/* text.replace(from, to) */
static void replace(const struct ram_buf *text, const char *from, const char *to,
                    struct ram_buf *out)
{
    const size_t n = strlen(from);

    for (size_t at = 0; at < text->size;) {
        const bool here = text->size - at >= n && !memcmp(text->data + at, from, n);
        if (here)
            ram_buf_puts(out, to);
        else
            ram_buf_add(out, text->data + at, 1);
        at += here ? n : 1;
    }
}

/* re.sub(r"\[.*?\]", "", text): a bracket that is not closed on its line stays. */
static void cut_brackets(const struct ram_buf *text, struct ram_buf *out)
{
    for (size_t at = 0; at < text->size;) {
        size_t end = at;
        if (text->data[at] == '[')
            while (end < text->size && text->data[end] != ']' && text->data[end] != '\n')
                end++;
        const bool closed = end < text->size && text->data[end] == ']' && end > at;
        if (!closed) /* nor is any other up to end */
            ram_buf_add(out, text->data + at, end > at ? end - at : 1);
        at = closed ? end + 1 : end > at ? end : at + 1;
    }
}

void ram_text_clean(const char *text, struct ram_buf *out)
{
    struct ram_buf stripped = {0}, titled = {0}, cut = {0};
    const size_t size = strlen(text), start = space_at_start(text, size);

    ram_buf_add(&stripped, text + start,
                size - start - ram_text_space_at_end(text + start, size - start));
    replace(&stripped, " [title]", ". ", &titled);
    cut_brackets(&titled, &cut);
    replace(&cut, "  ", " ", out);
    out->failed = out->failed || stripped.failed || titled.failed || cut.failed;
    ram_buf_release(&stripped);
    ram_buf_release(&titled);
    ram_buf_release(&cut);
}
