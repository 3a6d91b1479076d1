/*
 * make_checkpoint.c - writes a synthetic checkpoint with the true inventory of a published model:
 * every tensor of its config.json with its real name, shape and type, in shards of 5e9 bytes.
 *
 *     bench_make_checkpoint CONFIG.json DIR [--layers N] [--mtp N] [--headers-only] [--threads N]
 *
 * --layers cuts the depth. --headers-only makes sparse files: headers are real, the data are holes,
 * and hundreds of GB cost no disk. Weights are normal with a deviation that depends on the tensor,
 * drawn from a table of 65,536 quantiles, since what counts is to write as fast as a disk can.
 */
#include "arch/config_read.h"
#include "arch/tensors.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/rng.h"
#include "ckpt/safetensors.h"
#include "kern/kern.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    N_QUANTILES = 1 << 16,
    PIECE = 1 << 20, /* bytes that one thread fills at a time */
    BUFFER = 64 * PIECE
};
static const uint64_t shard_size = 5000000000u;

struct inventory {
    struct ram_config config;
    struct ram_arena arena;
    struct ram_st_item *items;
    size_t n, cap;
    struct ram_err *err;
};

static void add(struct inventory *inv, enum ram_dtype dtype, uint64_t rows, uint64_t cols,
                const char *name)
{
    struct ram_st_item item = {
        .name = name, .dtype = dtype, .n_dims = cols ? 2 : 1, .shape = {rows, cols}};
    size_t n, size;

    if (!name || !ram_st_size(dtype, item.shape, item.n_dims, &n, &size) ||
        ram_grow(&inv->items, sizeof item, inv->n, &inv->cap, inv->err)) {
        ram_fail(inv->err, RAM_ERANGE, "a tensor is too large");
        return;
    }
    item.size = size;
    inv->items[inv->n++] = item;
}

/* The published tensors of a slot: one, or one for each expert. */
static void add_slot(struct inventory *inv, const struct ram_slot *slot, int layer)
{
    const struct ram_config *config = &inv->config;
    const uint64_t rows = ram_slot_dim(config, slot->rows), cols = ram_slot_dim(config, slot->cols);
    const enum ram_dtype dtype = slot->placement == RAM_PLACE_EXACT ? RAM_F32 : RAM_BF16;
    const uint64_t n = slot->placement == RAM_PLACE_STACKED ? config->n_experts : 1;
    char name[RAM_SLOT_NAME];

    for (uint64_t e = 0; e < n; e++)
        add(inv, dtype, rows, cols,
            ram_arena_strdup(&inv->arena, ram_slot_name(name, config, slot, layer, (long)e),
                             inv->err));
}

/* What a layer for multi-token prediction has beyond an ordinary one (GLM, DeepSeek). */
static void add_mtp(struct inventory *inv, const char *prefix)
{
    const uint64_t h = inv->config.hidden, vocab = inv->config.vocab;
    const struct {
        const char *name;
        uint64_t rows, cols;
    } extras[] = {{"eh_proj", h, 2 * h},
                  {"enorm", h, 0},
                  {"hnorm", h, 0},
                  {"shared_head.norm", h, 0},
                  {"embed_tokens", vocab, h},
                  {"shared_head.head", vocab, h}};

    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
        add(inv, RAM_BF16, extras[i].rows, extras[i].cols,
            ram_arena_printf(&inv->arena, inv->err, "%s%s.weight", prefix, extras[i].name));
}

static void list_tensors(struct inventory *inv)
{
    const struct ram_config *config = &inv->config;
    const struct ram_family *family = config->family;

    add_slot(inv, family->embed, RAM_NO_LAYER);
    for (uint64_t layer = 0; layer < config->n_layers + config->n_mtp; layer++) {
        char prefix[64];
        for (size_t i = 0; i < family->n_slots; i++)
            if (ram_slot_exists(config, &family->slots[i], layer))
                add_slot(inv, &family->slots[i], (int)layer);
        snprintf(prefix, sizeof prefix, "%s%" PRIu64 ".", family->layer_prefix, layer);
        if (layer >= config->n_layers)
            add_mtp(inv, prefix);
    }
    add_slot(inv, family->norm, RAM_NO_LAYER);
    if (config->tied != RAM_TIED_YES)
        add_slot(inv, family->head, RAM_NO_LAYER);
}

/* ---- weights ----------------------------------------------------------------------------- */

struct filler {
    float quantiles[N_QUANTILES]; /* of the normal distribution */
    uint16_t table[N_QUANTILES];  /* of one tensor, in bf16 */
    struct ram_rng rng;
    uint8_t *buffer;
    size_t size;    /* bytes of this filling of the buffer ... */
    uint64_t first; /* ... which begins at this byte of the tensor */
    bool is_f32;
};

/* z with P(Z < z) = p, by Newton's method from the quantile before. */
static double next_quantile(double z, double p)
{
    for (int i = 0; i < 20; i++) {
        const double step =
            (0.5 * erfc(-z / sqrt(2)) - p) / (exp(-z * z / 2) / sqrt(2 * 3.14159265358979323846));
        z -= step;
        if (fabs(step) < 1e-12)
            break;
    }
    return z;
}

static void fill_quantiles(float quantiles[N_QUANTILES])
{
    double z = 0;

    for (size_t i = N_QUANTILES / 2; i < N_QUANTILES; i++) {
        z = next_quantile(z, ((double)i + 0.5) / N_QUANTILES);
        quantiles[i] = (float)z;
        quantiles[N_QUANTILES - 1 - i] = (float)-z;
    }
}

/* Norms lie around 1; matrices have about the deviation that keeps a layer's output in scale. */
static void prepare(struct filler *f, const struct ram_st_item *item)
{
    static float scaled[N_QUANTILES];
    const bool norm = item->n_dims == 1 && strstr(item->name, "norm");
    const double cols = item->n_dims == 2 ? (double)item->shape[1] : 2500;

    f->rng = ram_rng_for(42, item->name);
    f->is_f32 = item->dtype == RAM_F32;
    const double deviation = norm ? 0.2 : (0.5 + ram_rng_uniform(f->rng, UINT64_MAX)) / sqrt(cols);
    for (size_t i = 0; i < N_QUANTILES; i++)
        scaled[i] = f->quantiles[i] * (float)deviation + (norm ? 1.0f : 0.0f);
    ram_kern()->narrow_bf16(scaled, N_QUANTILES, f->table);
}

static int fill_piece(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    struct filler *f = ctx;
    const size_t begin = i * PIECE, end = begin + PIECE < f->size ? begin + PIECE : f->size;
    (void)worker;
    (void)err;

    /* Four values of bf16 from 64 bits; f32 gets the upper half of each value, and zeros. */
    for (size_t at = begin; at < end; at += 8) {
        const uint64_t bits = ram_rng_u64(f->rng, (f->first + at) / 8);
        uint16_t out[4];
        for (int k = 0; k < 4; k++)
            out[k] = f->is_f32 && k % 2 == 0 ? 0 : f->table[bits >> (16 * k) & 0xffff];
        memcpy(f->buffer + at, out, end - at < 8 ? end - at : 8);
    }
    return RAM_OK;
}

static int write_tensor(struct filler *f, const struct ram_st_item *item, struct ram_sink *sink,
                        struct ram_pool *pool, struct ram_err *err)
{
    int status = RAM_OK;

    prepare(f, item);
    for (f->first = 0; f->first < item->size && !status; f->first += f->size) {
        f->size = item->size - f->first < BUFFER ? (size_t)(item->size - f->first) : BUFFER;
        status = ram_pool_for(pool, (f->size + PIECE - 1) / PIECE, fill_piece, f, err);
        if (!status)
            status = ram_sink_write(sink, f->buffer, f->size, err);
    }
    return status;
}

/* ---- files ------------------------------------------------------------------------------- */

/* Wider types first, as the reference writer orders them; else as listed. */
static int by_type(const void *a, const void *b)
{
    const struct ram_st_item *x = a, *y = b;

    if (x->dtype != y->dtype)
        return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int write_shard(struct ram_st_item *items, size_t n, const char *path, struct filler *f,
                       struct ram_pool *pool, struct ram_err *err)
{
    struct ram_buf header = {0};
    struct ram_sink sink = {.fd = -1};
    uint64_t data_size = 0;

    qsort(items, n, sizeof *items, by_type);
    int status = ram_st_header(items, n, "pt", &header, err);
    if (!status)
        status = ram_sink_open(&sink, path, false, err);
    if (!status)
        status = ram_sink_write(&sink, header.data, header.size, err);
    for (size_t i = 0; i < n && !status; i++) {
        data_size += items[i].size;
        if (f)
            status = write_tensor(f, &items[i], &sink, pool, err);
    }
    if (!status && !f && truncate(path, (off_t)(header.size + data_size)))
        status = ram_fail_errno(err, "%s", path);
    if (!status)
        status = ram_sink_close(&sink, err);
    ram_sink_abandon(&sink);
    ram_buf_release(&header);
    return status;
}

/* The end of the shard that begins with item `first`. */
static size_t shard_end(const struct inventory *inv, size_t first)
{
    uint64_t size = inv->items[first].size;
    size_t end = first + 1;

    while (end < inv->n && size + inv->items[end].size <= shard_size)
        size += inv->items[end++].size;
    return end;
}

static int write_index(const struct ram_buf *index, const char *dir, struct ram_err *err)
{
    char *path = ram_path_join(dir, "model.safetensors.index.json", err);
    int status = path ? RAM_OK : RAM_ENOMEM;

    if (!status && index->failed)
        status = ram_fail(err, RAM_ENOMEM, "no memory for an index");
    if (!status)
        status = ram_file_write(path, index->data, index->size, true, err);
    free(path);
    return status;
}

static int write_all(struct inventory *inv, const char *dir, struct filler *f,
                     struct ram_pool *pool, uint64_t *bytes)
{
    struct ram_buf index = {0};
    struct ram_err *err = inv->err;
    size_t n_shards = 0, shard = 0;
    int status = RAM_OK;

    for (size_t i = 0; i < inv->n; i = shard_end(inv, i))
        n_shards++;
    for (size_t i = 0; i < inv->n; i++)
        *bytes += inv->items[i].size;
    ram_buf_printf(&index, "{\"metadata\":{\"total_size\":%" PRIu64 "},\"weight_map\":{", *bytes);
    for (size_t i = 0, end; i < inv->n && !status; i = end) {
        char name[64];
        end = shard_end(inv, i);
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", ++shard, n_shards);
        char *path = ram_path_join(dir, name, err);
        status = path ? write_shard(inv->items + i, end - i, path, f, pool, err) : RAM_ENOMEM;
        free(path);
        for (size_t j = i; j < end; j++)
            ram_buf_printf(&index, "%s\n\"%s\":\"%s\"", j ? "," : "", inv->items[j].name, name);
    }
    ram_buf_puts(&index, "\n}}\n");
    if (!status)
        status = write_index(&index, dir, err);
    ram_buf_release(&index);
    return status;
}

static int write_config(json_t *json, const char *dir, struct ram_err *err)
{
    char *text = NULL, *path = ram_path_join(dir, "config.json", err);

    int status = path ? ram_json_text(json, 2, false, &text, err) : RAM_ENOMEM;
    if (!status)
        status = ram_file_write(path, text, strlen(text), true, err);
    free(text);
    free(path);
    return status;
}

/* ---- command ----------------------------------------------------------------------------- */

struct options {
    const char *config, *dir;
    long layers, mtp, threads; /* -1: as the configuration says */
    bool headers_only;
};

static bool read_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){.layers = -1, .mtp = -1, .threads = 0};
    for (int i = 1; i < argc; i++) {
        long *number = !strcmp(argv[i], "--layers")    ? &o->layers
                       : !strcmp(argv[i], "--mtp")     ? &o->mtp
                       : !strcmp(argv[i], "--threads") ? &o->threads
                                                       : NULL;
        if (number && i + 1 < argc)
            *number = strtol(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--headers-only"))
            o->headers_only = true;
        else if (argv[i][0] == '-' || o->dir)
            return false;
        else if (o->config)
            o->dir = argv[i];
        else
            o->config = argv[i];
    }
    return o->dir != NULL;
}

static int prepare_inventory(struct inventory *inv, const struct options *o, json_t *json)
{
    if (o->layers > 0)
        json_object_set_new(json, "num_hidden_layers", json_integer(o->layers));
    if (ram_config_read(&inv->config, json, o->config, &inv->arena, inv->err))
        return inv->err->status;
    if (!inv->config.family)
        return ram_fail(inv->err, RAM_EUNSUPPORTED, "%s: model_type '%s' is not known", o->config,
                        inv->config.model_type);
    /* Every published GLM has one layer for multi-token prediction, said or unsaid. */
    if (o->mtp >= 0)
        inv->config.n_mtp = (uint64_t)o->mtp;
    else if (!json_object_get(json, "num_nextn_predict_layers") &&
             !strncmp(inv->config.model_type, "glm4_moe", 8))
        inv->config.n_mtp = 1;
    if (ram_family_check(&inv->config, o->config, inv->err))
        return inv->err->status;
    list_tensors(inv);
    return inv->err->status;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    struct options o;
    struct ram_err err = {0};
    struct inventory inv = {.err = &err};
    struct filler *f = NULL;
    struct ram_pool *pool = NULL;
    json_t *json = NULL;
    uint64_t bytes = 0;

    if (!read_options(argc, argv, &o)) {
        fprintf(stderr,
                "usage: %s CONFIG.json DIR [--layers N] [--mtp N] [--headers-only] "
                "[--threads N]\n",
                argv[0]);
        return 2;
    }
    const double start = seconds();
    if (ram_json_read(&json, o.config, RAM_CKPT_MAX_CONFIG, &err) ||
        prepare_inventory(&inv, &o, json))
        goto done;
    if (mkdir(o.dir, 0777)) {
        ram_fail_errno(&err, "%s", o.dir);
        goto done;
    }
    if (!o.headers_only) {
        f = ram_calloc(1, sizeof *f, &err);
        if (f)
            f->buffer = ram_calloc(BUFFER, 1, &err);
        if (err.status || ram_pool_new(&pool, (unsigned)o.threads, &err))
            goto done;
        fill_quantiles(f->quantiles);
    }
    if (write_config(json, o.dir, &err) == RAM_OK &&
        write_all(&inv, o.dir, f, pool, &bytes) == RAM_OK)
        printf("%s: %zu tensors, %.2f GB%s, %.1f s\n", o.dir, inv.n, (double)bytes / 1e9,
               o.headers_only ? " (holes)" : "", seconds() - start);
done:
    if (err.status)
        fprintf(stderr, "%s\n", err.message);
    if (f)
        free(f->buffer);
    free(f);
    ram_pool_free(pool);
    free(inv.items);
    ram_arena_release(&inv.arena);
    json_decref(json);
    return ram_exit_code(err.status);
}
