/* The log of a store from hostile bytes: records lie inside, and what is good can be written again
 * as it was. */
#include "base/store.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    const uint8_t *data;
    size_t size;
    struct ram_buf again;
};

static void take(void *ctx, const struct ram_store_record *record)
{
    struct seen *seen = ctx;
    const uint8_t *key = (const uint8_t *)record->key;

    if (key < seen->data || record->value + record->value_size > seen->data + seen->size ||
        record->value != key + record->key_size)
        abort();
    ram_store_encode(&seen->again, record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen seen = {data, size, {0}};
    size_t n_damaged;

    ram_store_begin(&seen.again);
    const size_t kept = ram_store_scan(data, size, take, &seen, &n_damaged);
    if (kept > size || (kept && !n_damaged &&
                        (seen.again.size != kept || memcmp(seen.again.data, data, kept) != 0)))
        abort();
    ram_buf_release(&seen.again);
    return 0;
}
