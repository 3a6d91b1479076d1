/* hash.h - SHA-256, as lower-case hexadecimal (libmd). */
#ifndef RAM_BASE_HASH_H
#define RAM_BASE_HASH_H

#include <stddef.h>

enum { RAM_SHA256_HEX = 65 }; /* 64 digits and a final 0 */

void ram_sha256(const void *data, size_t size, char out[RAM_SHA256_HEX]);

#endif
