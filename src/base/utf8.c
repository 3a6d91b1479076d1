/* utf8.c - see utf8.h. */
#include "base/utf8.h"

#include <string.h>

/* The length of the well-formed sequence at p, or 0; *bad: the bytes of the maximal subpart that
 * one U+FFFD replaces. Table 3-7 of the Unicode standard. */
static size_t sequence(const uint8_t *p, size_t left, size_t *bad)
{
    const uint8_t lead = p[0];
    const size_t need = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
    const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;

    *bad = 1;
    if (need < 2)
        return need;
    for (size_t i = 1; i < need; i++) {
        if (i == left || p[i] < (i == 1 ? low : 0x80) || p[i] > (i == 1 ? high : 0xBF))
            return 0;
        *bad = i + 1;
    }
    return need;
}

size_t ram_utf8_size(const char *s, size_t left)
{
    size_t bad;

    return left ? sequence((const uint8_t *)s, left, &bad) : 0;
}

size_t ram_utf8_ascii(const uint8_t *p, size_t size)
{
    size_t n = 0;
    uint64_t word;

    for (; size - n >= 8; n += 8) {
        memcpy(&word, p + n, 8);
        if (word & 0x8080808080808080u)
            break;
    }
    return n;
}

size_t ram_utf8_valid(const uint8_t *text, size_t size)
{
    size_t at = 0, bad;

    while (at < size) {
        if (text[at] < 0x80) {
            const size_t run = ram_utf8_ascii(text + at, size - at);
            at += run ? run : 1;
            continue;
        }
        const size_t n = sequence(text + at, size - at, &bad);
        if (!n)
            break;
        at += n;
    }
    return at;
}

void ram_utf8_repair(const uint8_t *text, size_t size, struct ram_buf *out)
{
    while (size) {
        const size_t good = ram_utf8_valid(text, size);
        size_t bad = 0;
        ram_buf_add(out, text, good);
        if (good < size) {
            sequence(text + good, size - good, &bad);
            ram_buf_add(out, "\xEF\xBF\xBD", 3);
        }
        text += good + bad;
        size -= good + bad;
    }
}

size_t ram_utf8_count_invalid(const uint8_t *text, size_t size)
{
    size_t n = 0;

    while (size) {
        const size_t good = ram_utf8_valid(text, size);
        size_t bad = 0;
        if (good < size) {
            sequence(text + good, size - good, &bad);
            n++;
        }
        text += good + bad;
        size -= good + bad;
    }
    return n;
}

bool ram_utf8_is_cut(const uint8_t *p, size_t size)
{
    size_t bad;

    return size && p[0] >= 0xC2 && p[0] < 0xF5 && !sequence(p, size, &bad) && bad == size;
}
