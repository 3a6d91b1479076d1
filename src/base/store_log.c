/*
 * store_log.c - the bytes of a store's log.
 *
 * Eight bytes of magic, then records: a head of 32 bytes, the key, the value. The head has its own
 * checksum, so that a record whose value was damaged can be passed over instead of hiding all that
 * follow it.
 */
#include "base/hash.h"
#include "base/rd.h"
#include "base/store.h"

enum { MAX_KEY = 4096, HEAD = 32, SEED = 1 };

/* The version of the format, and (as a number of the machine's own order) its byte order. */
#define MAGIC  UINT64_C(0x31676f6c4d4152ff)
#define RECORD UINT32_C(0x63655252)

static uint64_t body_sum(const void *key, size_t key_size, const void *value, size_t value_size)
{
    return ram_hash64(value, value_size, ram_hash64(key, key_size, SEED));
}

void ram_pack_u64(struct ram_buf *buf, uint64_t value)
{
    ram_buf_add(buf, &value, sizeof value);
}

void ram_pack_f64(struct ram_buf *buf, const double *values, size_t n)
{
    ram_buf_add(buf, values, n * sizeof *values);
}

void ram_store_begin(struct ram_buf *out)
{
    ram_pack_u64(out, MAGIC);
}

void ram_store_encode(struct ram_buf *out, const struct ram_store_record *record)
{
    const uint32_t head[2] = {RECORD, (uint32_t)record->key_size};
    const size_t begin = out->size;

    ram_buf_add(out, head, sizeof head);
    ram_pack_u64(out, record->value_size);
    ram_pack_u64(out, body_sum(record->key, record->key_size, record->value, record->value_size));
    if (!out->failed)
        ram_pack_u64(out, ram_hash64(out->data + begin, HEAD - 8, SEED));
    ram_buf_add(out, record->key, record->key_size);
    ram_buf_add(out, record->value, record->value_size);
}

size_t ram_store_scan(const uint8_t *data, size_t size,
                      void (*take)(void *ctx, const struct ram_store_record *record), void *ctx,
                      size_t *n_damaged)
{
    uint64_t magic = 0;
    size_t at = sizeof magic;

    *n_damaged = 0;
    if (size < sizeof magic)
        return 0;
    memcpy(&magic, data, sizeof magic);
    if (magic != MAGIC)
        return 0;
    while (size - at >= HEAD) {
        uint32_t head[2];
        uint64_t rest[3]; /* size of the value, checksum of the body, checksum of the head */
        memcpy(head, data + at, sizeof head);
        memcpy(rest, data + at + sizeof head, sizeof rest);
        if (head[0] != RECORD || rest[2] != ram_hash64(data + at, HEAD - 8, SEED) || head[1] == 0 ||
            head[1] > MAX_KEY || size - at - HEAD < head[1] || size - at - HEAD - head[1] < rest[0])
            break;
        const uint8_t *body = data + at + HEAD;
        const struct ram_store_record record = {(const char *)body, head[1], body + head[1],
                                                (size_t)rest[0]};
        if (body_sum(body, head[1], record.value, record.value_size) == rest[1])
            take(ctx, &record);
        else
            ++*n_damaged;
        at += HEAD + record.key_size + record.value_size;
    }
    return at;
}
