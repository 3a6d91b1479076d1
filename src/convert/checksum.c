/* checksum.c - see checksum.h. */
#include "convert/checksum.h"

#include <stdio.h>
#include <string.h>

void ram_checksum_add(struct ram_checksum *sum, uint64_t at, const void *data, size_t size)
{
    const uint8_t *p = data;
    const size_t n = size / 2;
    uint64_t plain = 0, behind = 0; /* behind: the sum of `plain` after every unit */

    for (size_t i = 0; i < n; i++) {
        const uint64_t u = (uint64_t)p[2 * i] | (uint64_t)p[2 * i + 1] << 8;
        plain += u;
        behind += plain;
    }
    size_t units = n;
    if (size % 2) {
        plain += p[size - 1];
        behind += plain;
        units++;
    }
    /* u[i] entered `behind` units - i times; it is to count at / 2 + i + 1 times. */
    sum->plain += plain;
    sum->weighted += (at / 2 + units + 1) * plain - behind;
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
