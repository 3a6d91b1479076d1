/* digest.c - see digest.h. */
#include "ckpt/digest.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 16 << 10, N_PIECES = 1 << 16, LEAST = 2, SEED = 7 };

struct job {
    const struct ram_ckpt *ckpt;
    uint64_t total; /* bytes of all tensors */
    uint64_t *out;
};

/* Pieces are spread evenly, the first at the first byte and the last at the last: ends of a tensor
 * are where rows were added or padded. */
static uint64_t sample(const struct job *job, const struct ram_tensor *tensor, uint64_t h)
{
    const struct ram_map *map = &job->ckpt->files[tensor->file].map;
    const uint64_t share = (uint64_t)((double)tensor->size / (double)job->total * N_PIECES);
    const size_t n = share > LEAST ? (size_t)share : LEAST;

    if (tensor->size / PIECE <= n)
        h = ram_hash64(tensor->data, tensor->size, h);
    for (size_t i = 0; tensor->size / PIECE > n && i < n; i++) {
        const size_t at = (size_t)((double)(tensor->size - PIECE) * ((double)i / (double)(n - 1)));
        h = ram_hash64(tensor->data + at, PIECE, h);
        ram_map_forget(map, tensor->offset + at, PIECE);
    }
    if (tensor->size / PIECE <= n)
        ram_map_forget(map, tensor->offset, tensor->size);
    return h;
}

static int digest_tensor(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    const struct job *job = ctx;
    const struct ram_tensor *tensor = &job->ckpt->tensors[i];
    const char *dtype = ram_dtypes[tensor->dtype].name;

    (void)worker;
    (void)err;
    uint64_t h = ram_hash64(tensor->name, strlen(tensor->name), SEED);
    h = ram_hash64(dtype, strlen(dtype), h);
    h = ram_hash64(tensor->shape, (size_t)tensor->n_dims * sizeof *tensor->shape, h);
    job->out[i] = sample(job, tensor, h);
    return RAM_OK;
}

/* A value of config.json, which may hold what strict JSON cannot say (base/json.h). Neither spaces
 * nor the order of keys count: the members of an object are added up. */
static uint64_t digest_value(const json_t *value, uint64_t seed)
{
    const uint64_t type = value ? (uint64_t)json_typeof(value) : 99;
    uint64_t h = ram_hash64(&type, sizeof type, seed), sum = 0;
    const json_int_t n = json_integer_value(value);
    const double x = json_real_value(value);
    const char *key;
    json_t *item;
    size_t i;

    if (json_is_string(value))
        return ram_hash64(json_string_value(value), json_string_length(value), h);
    if (json_is_integer(value))
        return ram_hash64(&n, sizeof n, h);
    if (json_is_real(value))
        return ram_hash64(&x, sizeof x, h);
    json_array_foreach(value, i, item) h = digest_value(item, h);
    json_object_foreach((json_t *)(uintptr_t)value, key, item) sum +=
        digest_value(item, ram_hash64(key, strlen(key), h));
    return json_is_object(value) ? ram_hash64(&sum, sizeof sum, h) : h;
}

int ram_digest_new(struct ram_digest **out, const struct ram_ckpt *ckpt, struct ram_pool *pool,
                   struct ram_err *err)
{
    struct ram_digest *digest = ram_calloc(1, sizeof *digest, err);
    struct ram_buf all = {0};

    if (!digest)
        return RAM_ENOMEM;
    struct job job = {.ckpt = ckpt, .total = 1};
    digest->n = ckpt->n_tensors;
    digest->tensors = job.out = ram_calloc(ckpt->n_tensors, sizeof *job.out, err);
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        job.total += ckpt->tensors[i].size;
    int status = digest->tensors ? RAM_OK : RAM_ENOMEM;
    digest->config = digest_value(ckpt->config, SEED);
    if (!status)
        status = ram_pool_for(pool, ckpt->n_tensors, digest_tensor, &job, err);
    if (!status) {
        ram_buf_add(&all, &digest->config, sizeof digest->config);
        ram_buf_add(&all, digest->tensors, digest->n * sizeof *digest->tensors);
        if (all.failed)
            status = ram_fail(err, RAM_ENOMEM, "no memory for a digest of %zu tensors", digest->n);
        else
            ram_sha256(all.data, all.size, digest->sha256);
    }
    ram_buf_release(&all);
    if (status) {
        ram_digest_free(digest);
        return status;
    }
    *out = digest;
    return RAM_OK;
}

void ram_digest_free(struct ram_digest *digest)
{
    if (!digest)
        return;
    free(digest->tensors);
    free(digest);
}

bool ram_digest_differs(const struct ram_digest *digest, const struct ram_ckpt *ckpt,
                        uint64_t config, const uint64_t *tensors, size_t n, struct ram_buf *buf)
{
    if (n != digest->n) {
        ram_buf_printf(buf, "other weights: %zu tensors, this checkpoint has %zu", n, digest->n);
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        const struct ram_tensor *tensor = &ckpt->tensors[i];
        if (tensors[i] == digest->tensors[i])
            continue;
        ram_buf_printf(buf, "other weights: tensor '%s' of %s is not the one that was measured",
                       tensor->name, ckpt->files[tensor->file].name);
        return true;
    }
    if (config == digest->config)
        return false;
    ram_buf_puts(buf, "another config.json");
    return true;
}
