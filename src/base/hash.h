/* hash.h - SHA-256, as lower-case hexadecimal (libmd), and a fast checksum of 64 bits. */
#ifndef RAM_BASE_HASH_H
#define RAM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { RAM_SHA256_HEX = 65 }; /* 64 digits and a final 0 */

void ram_sha256(const void *data, size_t size, char out[RAM_SHA256_HEX]);

/* XXH64 as its specification defines it (github.com/Cyan4973/xxHash): detects accidental changes
 * at the speed of memory. It is no defence against inputs that are made to collide. */
uint64_t ram_hash64(const void *data, size_t size, uint64_t seed);

#endif
