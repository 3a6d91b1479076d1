/* hash.c - see hash.h. */
#include "base/hash.h"

#include <sys/types.h>

#include <sha256.h>
#include <string.h>

void ram_sha256(const void *data, size_t size, char out[RAM_SHA256_HEX])
{
    SHA256Data(data, size, out);
}
