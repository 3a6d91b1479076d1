/* checksum.c - see checksum.h. */
#include "base/checksum.h"

#include <stdio.h>
#include <string.h>

void ram_checksum_add(struct ram_checksum *sum, uint64_t at, const void *data, size_t size)
{
    const uint8_t *p = data;
    const size_t n = size / 2;
    uint64_t plain = 0, behind = 0; /* behind: the sum of `plain` after every unit */
    size_t i = 0;

    for (; i + 4 <= n; i += 4, p += 8) { /* four steps of the loop below in one */
        const uint64_t a = p[0] | (uint64_t)p[1] << 8, b = p[2] | (uint64_t)p[3] << 8;
        const uint64_t c = p[4] | (uint64_t)p[5] << 8, d = p[6] | (uint64_t)p[7] << 8;
        behind += 4 * plain + 4 * a + 3 * b + 2 * c + d;
        plain += a + b + c + d;
    }
    for (; i < n; i++, p += 2) {
        plain += p[0] | (uint64_t)p[1] << 8;
        behind += plain;
    }
    if (size % 2) {
        plain += p[0];
        behind += plain;
        i++;
    }
    /* u[k] of the i units entered `behind` i - k times; it is to count at / 2 + k + 1 times. */
    sum->plain += plain;
    sum->weighted += (at / 2 + i + 1) * plain - behind;
}

void ram_checksum_merge(struct ram_checksum *sum, const struct ram_checksum *part)
{
    sum->plain += part->plain;
    sum->weighted += part->weighted;
}

void ram_checksum_text(const struct ram_checksum *sum, char out[RAM_CHECKSUM_HEX])
{
    snprintf(out, RAM_CHECKSUM_HEX, "%016llx%016llx", (unsigned long long)sum->plain,
             (unsigned long long)sum->weighted);
}
