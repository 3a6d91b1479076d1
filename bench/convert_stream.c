/*
 * A conversion against its limits: copying the checkpoint, and encoding it.
 *
 *     bench_convert_stream [threads [MODEL]]
 *
 * MODEL: a checkpoint, such as bench_make_checkpoint writes; without one a Qwen3 of 0.26 G
 * parameters is made in $TMPDIR. Each line has the time on the clock, which disk and neighbours
 * share, and the processor time of all threads, which they do not. "copy" reads every byte of the
 * weight files and writes it, flushed to the disk as a conversion is; "encode" reads and encodes
 * without writing. A conversion is held against 1.5 times the larger of the two.
 */
#include "base/pool.h"
#include "base/rng.h"
#include "ckpt/safetensors.h"
#include "codec/affine.h"
#include "convert/convert.h"
#include "convert/verify.h"
#include "convert_plan.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HIDDEN = 2048, INTER = 6144, LAYERS = 4, VOCAB = 16384, NOISE = 1 << 20 };

static void stop_if(int status, const struct ram_err *err)
{
    if (!status)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

/* ---- a checkpoint ------------------------------------------------------------------------------
 */

static void add(struct ram_st_item *items, size_t *n, struct ram_arena *arena, const char *name,
                uint64_t rows, uint64_t cols)
{
    struct ram_err err = {0};
    items[(*n)++] = (struct ram_st_item){.name = ram_arena_strdup(arena, name, &err),
                                         .dtype = RAM_BF16,
                                         .n_dims = cols ? 2 : 1,
                                         .shape = {rows, cols},
                                         .size = rows * (cols ? cols : 1) * 2};
}

static size_t inventory(struct ram_st_item *items, struct ram_arena *arena)
{
    static const struct {
        const char *name;
        uint64_t rows, cols;
    } layer[] = {{"self_attn.q_proj", 2048, HIDDEN},     {"self_attn.k_proj", 1024, HIDDEN},
                 {"self_attn.v_proj", 1024, HIDDEN},     {"self_attn.o_proj", HIDDEN, 2048},
                 {"self_attn.q_norm", 128, 0},           {"self_attn.k_norm", 128, 0},
                 {"mlp.gate_proj", INTER, HIDDEN},       {"mlp.up_proj", INTER, HIDDEN},
                 {"mlp.down_proj", HIDDEN, INTER},       {"input_layernorm", HIDDEN, 0},
                 {"post_attention_layernorm", HIDDEN, 0}};
    char name[128];
    size_t n = 0;

    add(items, &n, arena, "model.embed_tokens.weight", VOCAB, HIDDEN);
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, layer[i].name);
            add(items, &n, arena, name, layer[i].rows, layer[i].cols);
        }
    add(items, &n, arena, "model.norm.weight", HIDDEN, 0);
    return n;
}

static void write_model(const char *dir)
{
    static const char config[] =
        "{\"model_type\": \"qwen3\", \"architectures\": [\"Qwen3ForCausalLM\"], \"vocab_size\": "
        "16384, "
        "\"hidden_size\": 2048, \"intermediate_size\": 6144, \"num_hidden_layers\": 4, "
        "\"num_attention_heads\": 16, \"num_key_value_heads\": 8, \"head_dim\": 128, "
        "\"tie_word_embeddings\": true, \"torch_dtype\": \"bfloat16\", \"rope_theta\": 1000000, "
        "\"rms_norm_eps\": 1e-6, \"max_position_embeddings\": 4096}";
    struct ram_st_item items[64];
    struct ram_arena arena = {0};
    struct ram_buf header = {0};
    struct ram_err err = {0};
    struct ram_sink sink;
    char path[512];

    const size_t n = inventory(items, &arena);
    float *noise = ram_calloc(NOISE, sizeof *noise, &err);
    uint16_t *half = ram_calloc(NOISE, sizeof *half, &err);
    stop_if(err.status, &err);
    ram_rng_normal(ram_rng_for(1, "bench"), 0, NOISE, noise);
    for (size_t i = 0; i < NOISE; i++) {
        uint32_t u;
        memcpy(&u, &noise[i], 4);
        half[i] = (uint16_t)(u >> 16);
    }
    snprintf(path, sizeof path, "%s/config.json", dir);
    stop_if(ram_file_write(path, config, strlen(config), true, &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    stop_if(ram_sink_open(&sink, path, false, &err), &err);
    stop_if(ram_st_header(items, n, "mlx", &header, &err), &err);
    stop_if(ram_sink_write(&sink, header.data, header.size, &err), &err);
    for (size_t i = 0; i < n; i++)
        for (uint64_t left = items[i].size; left;) {
            const size_t size = left < NOISE * 2 ? (size_t)left : NOISE * 2;
            stop_if(ram_sink_write(&sink, half, size, &err), &err);
            left -= size;
        }
    stop_if(ram_sink_close(&sink, &err), &err);
    ram_buf_release(&header);
    ram_arena_release(&arena);
    free(half);
    free(noise);
}

/* ---- the limits --------------------------------------------------------------------------------
 */

static void copy(const struct ram_ckpt *ckpt, const char *dir)
{
    enum { PIECE = 1 << 20 };
    struct ram_err err = {0};
    struct ram_sink sink;
    char path[512];

    snprintf(path, sizeof path, "%s/copy", dir);
    for (size_t i = 0; i < ckpt->n_files; i++) {
        const struct ram_map *map = &ckpt->files[i].map;
        stop_if(ram_sink_open(&sink, path, false, &err), &err);
        for (size_t at = 0; at < map->size; at += PIECE) {
            const size_t size = map->size - at < PIECE ? map->size - at : PIECE;
            stop_if(ram_sink_write(&sink, map->data + at, size, &err), &err);
            ram_map_forget(map, at, size);
        }
        stop_if(ram_sink_close(&sink, &err), &err);
        unlink(path);
    }
}

struct encoding {
    const struct ram_layout *layout;
    struct ram_affine form;
};

static int encode_target(void *ctx, size_t i, unsigned worker, struct ram_err *err)
{
    enum { BLOCK = 128 * 1024 };
    const struct encoding *e = ctx;
    const struct ram_target *target = &e->layout->targets[i];
    float *w = ram_calloc(BLOCK * 2, sizeof *w, err);
    uint8_t *out = ram_calloc(BLOCK * 4, 1, err);

    (void)worker;
    for (size_t v = 0; w && out && target->quantizable && v < target->n_views; v++) {
        const struct ram_view *view = &target->views[v];
        const size_t step = view->cols < BLOCK ? BLOCK / view->cols : 1;
        for (size_t row = 0; row < view->rows && view->cols <= BLOCK; row += step) {
            const size_t n = view->rows - row < step ? view->rows - row : step;
            stop_if(ram_view_read(view, row, n, w, err), err);
            ram_affine_encode(&e->form, w, n, view->cols, out, out + 2 * BLOCK, out + 3 * BLOCK);
        }
    }
    free(out);
    free(w);
    return err->status;
}

/* ---- the lines ---------------------------------------------------------------------------------
 */

struct timing {
    struct timespec wall, cpu;
};

static void begin(struct timing *t)
{
    clock_gettime(CLOCK_MONOTONIC, &t->wall);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t->cpu);
}

static double since(const struct timespec *from, clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)(now.tv_sec - from->tv_sec) + 1e-9 * (double)(now.tv_nsec - from->tv_nsec);
}

static void line(const char *what, const struct timing *t, uint64_t bytes, uint64_t weights)
{
    const double wall = since(&t->wall, CLOCK_MONOTONIC);
    const double cpu = since(&t->cpu, CLOCK_PROCESS_CPUTIME_ID);
    printf("%-24s %8.2f s %8.0f MB/s   processor %7.2f s, %.2f ns a weight\n", what, wall,
           (double)bytes / wall / 1e6, cpu, cpu * 1e9 / (double)weights);
}

static void convert(const struct ram_ckpt *ckpt, const struct ram_layout *layout, struct width w,
                    const char *dir, const struct ram_run *run)
{
    const struct ram_convert_opts opts = {.force = true};
    struct ram_plan *plan = plan_for(layout, same_width, &w);
    struct ram_err err = {0};
    struct timing t;
    char what[32], out[512];

    uint64_t bytes = 0;
    for (size_t i = 0; i < ckpt->n_files; i++)
        bytes += ckpt->files[i].map.size;
    snprintf(out, sizeof out, "%s/out", dir);
    snprintf(what, sizeof what, w.bits == 16 ? "convert 16 bits" : "convert %dg%d", w.bits,
             w.group);
    begin(&t);
    stop_if(ram_convert(ckpt, plan, out, &opts, run, RAM_TEXT, NULL, &err), &err);
    line(what, &t, bytes, plan->totals.parameters);
    begin(&t);
    stop_if(ram_verify(out, ckpt, plan, run, RAM_TEXT, NULL, &err), &err);
    line("  verify it", &t, bytes, plan->totals.parameters);
    ram_plan_free(plan);
}

int main(int argc, char **argv)
{
    const struct ram_run run = {.threads = argc > 1 ? (unsigned)atoi(argv[1]) : 0};
    const char *temp = getenv("TMPDIR");
    struct ram_layout *layout;
    struct ram_ckpt *ckpt;
    struct ram_pool *pool;
    struct ram_err err = {0};
    struct timing t;
    uint64_t bytes = 0, weights = 0;
    char dir[256], model[300], command[400];

    snprintf(dir, sizeof dir, "%s/ram-bench-XXXXXX", temp && *temp ? temp : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    snprintf(model, sizeof model, "%s/model", dir);
    if (argc < 3) {
        mkdir(model, 0777);
        write_model(model);
    }
    stop_if(ram_ckpt_open(&ckpt, argc > 2 ? argv[2] : model, &err), &err);
    stop_if(ram_layout_new(&layout, ckpt, &err), ram_format_at(0), &err);
    stop_if(ram_pool_new(&pool, run.threads, &err), &err);
    for (size_t i = 0; i < ckpt->n_files; i++)
        bytes += ckpt->files[i].map.size;
    weights = bytes / 2;

    begin(&t);
    copy(ckpt, dir);
    line("copy", &t, bytes, weights);
    struct encoding e = {layout, {.bits = 4, .group = 64}};
    begin(&t);
    stop_if(ram_pool_for(pool, layout->n_targets, encode_target, &e, &err), &err);
    line("encode 4g64", &t, bytes, weights);
    convert(ckpt, layout, (struct width){4, 64}, dir, &run);
    convert(ckpt, layout, (struct width){2, 32}, dir, &run);
    convert(ckpt, layout, (struct width){16, 0}, dir, &run);

    ram_pool_free(pool);
    ram_layout_free(layout);
    ram_ckpt_close(ckpt);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) != 0;
}
