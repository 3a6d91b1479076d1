/*
 * checksum.h - a sum over a tensor's bytes that can be taken in any order of its parts.
 *
 * The bytes are 16-bit little-endian units u[0..n) (a last odd byte counts as a unit); the two
 * words are sum(u[i]) and sum((i + 1) u[i]), modulo 2^64: Fletcher's checksum without the modulus
 * that forces an order. It finds every change inside one unit and every exchange of two, which is
 * what a bad disk or an interrupted copy does; it is no defence against an adversary.
 */
#ifndef RAM_BASE_CHECKSUM_H
#define RAM_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

struct ram_checksum {
    uint64_t plain, weighted;
};

enum { RAM_CHECKSUM_HEX = 33 }; /* 32 digits and a final 0 */

/* Adds size bytes that begin at byte `at` (even) of the tensor. */
void ram_checksum_add(struct ram_checksum *sum, uint64_t at, const void *data, size_t size);

/* Adds what another part of the same tensor came to. */
void ram_checksum_merge(struct ram_checksum *sum, const struct ram_checksum *part);

void ram_checksum_text(const struct ram_checksum *sum, char out[RAM_CHECKSUM_HEX]);

#endif
