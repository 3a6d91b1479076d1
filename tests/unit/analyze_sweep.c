/*
 * A sweep over whole checkpoints: figures against sums done by hand from the tensors that went in,
 * the same text for any number of threads and any limit of memory, after every interruption, and
 * what is refused.
 */
#include "analyze/analyze.h"
#include "base/store.h"
#include "ckpt_make.h"
#include "codec/affine.h"

#include <math.h>
#include <setjmp.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <fcntl.h>

static char dir[256], partial[300];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s", make_temp_dir());
    snprintf(partial, sizeof partial, "%s/partial", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    make_remove_dir(dir);
    return 0;
}

/* An earlier checkpoint may have had files that this one has not. */
static void make_anew(const struct make_opts *opts)
{
    make_remove_dir(dir);
    make_ckpt(dir, opts);
}

/* ---- running ----------------------------------------------------------------------------------
 */

struct watch {
    int polls, stop_at; /* cancelled() says yes at this poll; 0: never */
    char notice[200];
    uint64_t done, total;
};

static bool stop(void *user)
{
    struct watch *watch = user;
    return ++watch->polls == watch->stop_at;
}

static void note(void *user, const char *line)
{
    struct watch *watch = user;
    snprintf(watch->notice, sizeof watch->notice, "%s", line);
}

static void follow(void *user, const struct ram_progress *p)
{
    struct watch *watch = user;
    assert_true(p->done >= watch->done && p->done <= p->total);
    assert_string_equal(p->stage, "analyze");
    watch->done = p->done;
    watch->total = p->total;
}

struct stage {
    struct ram_ckpt *ckpt;
    struct ram_layout *layout;
    struct ram_manifest *manifest;
};

static void stage_close(struct stage *stage)
{
    ram_manifest_free(stage->manifest);
    ram_layout_free(stage->layout);
    ram_ckpt_close(stage->ckpt);
}

static int sweep(struct stage *stage, const struct ram_analyze_opts *opts,
                 const struct ram_run *run, struct ram_err *err)
{
    struct ram_exec exec;

    *stage = (struct stage){0};
    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_ckpt_open(&stage->ckpt, dir, err);
    if (!status)
        status = ram_layout_new(&stage->layout, stage->ckpt, ram_format_at(0), err);
    if (!status)
        status = ram_survey_layout(stage->ckpt, stage->layout, &stage->manifest, err);
    if (!status)
        status = ram_sweep(stage->ckpt, stage->layout, opts, &exec, stage->manifest, err);
    ram_exec_end(&exec);
    return status;
}

/* The manifest's text; free it. */
static char *text_of(const struct ram_analyze_opts *opts, const struct ram_run *run)
{
    struct ram_err err = {0};
    struct stage stage;
    char *text = NULL;

    if (sweep(&stage, opts, run, &err) || ram_manifest_text(stage.manifest, &text, &err))
        fail_msg("%s", err.message);
    stage_close(&stage);
    return text;
}

static void refuse(const struct ram_analyze_opts *opts, const struct ram_run *run, int status,
                   const char *message)
{
    struct ram_err err = {0};
    struct stage stage;

    const int got = sweep(&stage, opts, run, &err);
    stage_close(&stage);
    if (got != status || !strstr(err.message, message))
        fail_msg("%d '%s', not %d '%s'", got, err.message, status, message);
}

/* ---- figures ----------------------------------------------------------------------------------
 */

static float value_at(const struct make_tensor *t, size_t i)
{
    uint32_t bits = 0;
    float value;

    if (!strcmp(t->dtype, "BF16")) {
        memcpy((unsigned char *)&bits + 2, t->data + 2 * i, 2);
        memcpy(&value, &bits, 4);
    } else {
        assert_string_equal(t->dtype, "F32");
        memcpy(&value, t->data + 4 * i, 4);
    }
    return value;
}

static const struct make_tensor *tensor_called(const struct make_set *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        if (!strcmp(set->tensors[i].name, name))
            return &set->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static const struct ram_entry *entry_called(const struct ram_manifest *m, const char *name,
                                            int expert)
{
    for (size_t i = 0; i < m->n_entries; i++)
        if (!strcmp(m->entries[i].name, name) && m->entries[i].expert == expert)
            return &m->entries[i];
    fail_msg("no entry %s", name);
    return NULL;
}

/* What the encoder itself says its error is, for one matrix. */
static double encoder_error(const float *w, size_t rows, size_t cols, int bits, int group)
{
    const struct ram_affine f = {bits, group, RAM_PROFILE_GPU, RAM_SCALE_BF16};
    uint8_t *codes = malloc(rows * ram_affine_code_size(&f, cols));
    uint8_t *scales = malloc(rows * ram_affine_scale_size(&f, cols) * 2);

    assert_true(codes && scales);
    const double error = ram_affine_encode(&f, w, rows, cols, codes, scales,
                                           scales + rows * ram_affine_scale_size(&f, cols));
    free(codes);
    free(scales);
    return error;
}

static void check_stats(const struct ram_entry *entry, const float *w, size_t n)
{
    double sum = 0, squares = 0, low = (double)w[0], high = (double)w[0], fourth = 0, second = 0;

    assert_true(entry->measured);
    for (size_t i = 0; i < n; i++) {
        sum += (double)w[i];
        squares += (double)w[i] * (double)w[i];
        low = fmin(low, (double)w[i]);
        high = fmax(high, (double)w[i]);
    }
    const double mean = sum / (double)n, rms = sqrt(squares / (double)n);
    for (size_t i = 0; i < n; i++) {
        second += pow((double)w[i] - mean, 2);
        fourth += pow((double)w[i] - mean, 4);
    }
    assert_true(fabs(entry->stats.mean - mean) < 1e-12);
    assert_true(fabs(entry->stats.rms / rms - 1) < 1e-12);
    assert_true(fabs(entry->stats.std / sqrt(second / (double)n) - 1) < 1e-12);
    assert_true(entry->stats.min == low && entry->stats.max == high);
    assert_true(fabs(entry->metrics.kurtosis + 3 - fourth * (double)n / (second * second)) < 1e-10);
    assert_true(fabs(entry->metrics.output / ((high - low) / (16 * sqrt(12) * rms)) - 1) < 1e-12);
    assert_true(entry->metrics.svd > 0 && entry->metrics.svd < 1);
    assert_true(entry->metrics.error > 0.01 && entry->metrics.error < 0.2);
}

/* A linear: what is stored is what is scored; its rows of 64 or 96 hold no group of 128. */
static void check_linear(const struct stage *stage, const struct make_set *set, const char *name)
{
    const struct make_tensor *t = tensor_called(set, name);
    const struct ram_entry *entry = entry_called(stage->manifest, name, -1);
    const size_t rows = (size_t)t->shape[0], cols = (size_t)t->shape[1];
    float *w = malloc(rows * cols * sizeof *w);

    assert_non_null(w);
    for (size_t i = 0; i < rows * cols; i++)
        w[i] = value_at(t, i);
    check_stats(entry, w, rows * cols);
    for (const struct ram_form *f = ram_forms; f < RAM_FORM_16; f++) {
        int group = f->group;
        while (cols % (size_t)group)
            group /= 2;
        const double error = encoder_error(w, rows, cols, f->bits, group);
        assert_true(fabs(entry->errors[ram_form_index(f)] / error - 1) < 1e-12);
    }
    assert_true(isnan(entry->errors[RAM_N_FORMS - 1]));
    free(w);
}

/* kv_b_proj [heads (nope + v), lora] is stored as embed_q [heads, lora, nope], turned, and
 * unembed_out [heads, v, lora]; rows of nope = 32 hold only the smallest group. */
static void check_kv_b(const struct stage *stage, const struct make_set *set, const char *name)
{
    enum { NOPE = MAKE_NOPE, V = MAKE_V, LORA = MAKE_KV_LORA };
    const struct make_tensor *t = tensor_called(set, name);
    const struct ram_entry *entry = entry_called(stage->manifest, name, -1);
    float q[LORA * NOPE], out[V * LORA];

    for (const struct ram_form *f = ram_forms; f < RAM_FORM_16; f++) {
        double error = 0;
        for (size_t h = 0; h < MAKE_HEADS; h++) {
            const size_t first = h * (NOPE + V) * LORA;
            for (size_t r = 0; r < LORA; r++)
                for (size_t n = 0; n < NOPE; n++)
                    q[r * NOPE + n] = value_at(t, first + n * LORA + r);
            for (size_t i = 0; i < V * LORA; i++)
                out[i] = value_at(t, first + NOPE * LORA + i);
            error += encoder_error(q, LORA, NOPE, f->bits, 32);
            error += encoder_error(out, V, LORA, f->bits, f->group > 32 ? 64 : 32);
        }
        assert_true(fabs(entry->errors[ram_form_index(f)] / error - 1) < 1e-12);
    }
}

static void figures(void **state)
{
    const struct make_opts opts = {.arch = "glm4_moe_lite", .shards = 3, .mtp = true, .seed = 5};
    const struct ram_analyze_opts analyze = {0};
    struct watch watch = {0};
    const struct ram_run run = {.threads = 2, .user = &watch, .progress = follow};
    struct ram_err err = {0};
    struct stage stage;
    struct make_set set;
    (void)state;

    make_ckpt(dir, &opts);
    set = make_tensors(&opts);
    if (sweep(&stage, &analyze, &run, &err))
        fail_msg("%s", err.message);
    check_linear(&stage, &set, "model.layers.0.mlp.down_proj.weight");
    check_linear(&stage, &set, "model.layers.1.mlp.shared_experts.up_proj.weight");
    check_linear(&stage, &set, "model.embed_tokens.weight");
    check_kv_b(&stage, &set, "model.layers.0.self_attn.kv_b_proj.weight");
    check_kv_b(&stage, &set, "model.layers.2.self_attn.kv_b_proj.weight");

    const struct ram_manifest *m = stage.manifest;
    assert_string_equal(m->model_type, "glm4_moe_lite");
    assert_int_equal(m->n_files, 3);
    assert_int_equal(m->n_entries, set.n);
    uint64_t parameters = 0, left = 0;
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct ram_entry *e = &m->entries[i];
        parameters += e->parameters;
        left += e->skip == RAM_SKIP_NOT_WEIGHT ? e->parameters : 0;
        assert_true(e->measured == (e->skip == RAM_SKIP_NONE));
        assert_true((e->n_stored == 0) == (e->skip == RAM_SKIP_NOT_WEIGHT));
    }
    assert_int_equal(m->parameters, parameters);
    assert_int_equal(watch.total, 2 * (parameters - left) + 2 * MAKE_EXPERTS * 2);
    assert_int_equal(entry_called(m, "model.norm.weight", -1)->skip, RAM_SKIP_1D);
    assert_int_equal(entry_called(m, "model.layers.1.mlp.gate.weight", -1)->skip, RAM_SKIP_TINY);
    assert_int_equal(entry_called(m, "model.layers.3.eh_proj.weight", -1)->skip,
                     RAM_SKIP_NOT_WEIGHT);
    const struct ram_entry *expert =
        entry_called(m, "model.layers.1.mlp.experts.2.up_proj.weight", 2);
    assert_string_equal(expert->unit, "model.layers.1.mlp.experts.*.up_proj.weight");
    assert_string_equal(expert->role, "up");
    assert_int_equal(expert->layer, 1);
    assert_int_equal(json_integer_value(json_object_get(m->config, "n_routed_experts")),
                     MAKE_EXPERTS);
    assert_int_equal(json_integer_value(json_object_get(m->settings, "seed")), 42);
    make_release(&set);
    stage_close(&stage);
}

/* A fused stack, in f32: every expert's gate and up are entries of their own. */
static void fused_experts(void **state)
{
    const struct make_opts opts = {.arch = "qwen3_moe", .experts = MAKE_FUSED, .dtype = "F32"};
    static const char name[] = "model.layers.1.mlp.experts.gate_up_proj";
    const struct ram_analyze_opts analyze = {0};
    const struct ram_run run = {.threads = 3};
    struct ram_err err = {0};
    struct stage stage;
    size_t seen = 0;
    (void)state;

    make_ckpt(dir, &opts);
    struct make_set set = make_tensors(&opts);
    const struct make_tensor *t = tensor_called(&set, name);
    if (sweep(&stage, &analyze, &run, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < stage.manifest->n_entries; i++) {
        const struct ram_entry *e = &stage.manifest->entries[i];
        float w[MAKE_MOE * MAKE_HIDDEN];
        if (strcmp(e->name, name))
            continue;
        const bool up = !strcmp(e->role, "up");
        for (size_t k = 0; k < MAKE_MOE * MAKE_HIDDEN; k++)
            w[k] = value_at(t, ((size_t)e->expert * 2 + up) * MAKE_MOE * MAKE_HIDDEN + k);
        check_stats(e, w, MAKE_MOE * MAKE_HIDDEN);
        assert_int_equal(e->n_dims, 2);
        assert_int_equal(e->shape[0], MAKE_MOE);
        seen++;
    }
    assert_int_equal(seen, 2 * MAKE_EXPERTS);
    make_release(&set);
    stage_close(&stage);
}

/* ---- the same text ----------------------------------------------------------------------------
 */

static void same_for_any_threads_and_memory(void **state)
{
    static const struct make_opts kinds[] = {
        {.arch = "qwen3", .shards = 2},
        {.arch = "glm4_moe_lite", .mtp = true},
        {.arch = "qwen3_moe", .experts = MAKE_FUSED, .dtype = "F16"},
        {.arch = "glm4_moe", .dtype = "F8_E4M3", .fp8_block = {16, 16}},
    };
    (void)state;

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        make_anew(&kinds[k]);
        for (unsigned probes = 0; probes <= 8; probes += 8) {
            const struct ram_analyze_opts opts = {.output_probes = probes};
            struct ram_run run = {.threads = 1};
            char *first = text_of(&opts, &run);
            for (unsigned threads = 2; threads <= 7; threads += 5)
                for (uint64_t memory = 40; memory <= 4000; memory *= 100) {
                    run = (struct ram_run){.threads = threads, .max_memory = memory << 20};
                    char *text = text_of(&opts, &run);
                    assert_string_equal(text, first);
                    free(text);
                }
            free(first);
        }
    }
}

static void settings_count(void **state)
{
    const struct make_opts make = {.arch = "qwen3_moe"};
    const struct ram_run run = {.threads = 2};
    const struct ram_analyze_opts closed = {0}, probes = {.output_probes = 32},
                                  other = {.output_probes = 32, .seed = 7};
    (void)state;

    make_ckpt(dir, &make);
    char *a = text_of(&closed, &run), *b = text_of(&probes, &run), *c = text_of(&other, &run);
    assert_string_not_equal(a, b);
    assert_string_not_equal(b, c);
    free(a);
    free(b);
    free(c);
}

static void expert_samples(void **state)
{
    const struct make_opts make = {.arch = "qwen3_moe"};
    static const char *const kept[] = {"1111", "1000", "1001", "1101", "1111", "1111"};
    const struct ram_run run = {.threads = 2};
    (void)state;

    make_ckpt(dir, &make);
    for (unsigned n = 0; n < 6; n++) {
        const struct ram_analyze_opts opts = {.expert_sample = n};
        struct ram_err err = {0};
        struct stage stage;
        if (sweep(&stage, &opts, &run, &err))
            fail_msg("%s", err.message);
        for (size_t i = 0; i < stage.manifest->n_entries; i++) {
            const struct ram_entry *e = &stage.manifest->entries[i];
            if (e->skip == RAM_SKIP_NONE)
                assert_int_equal(e->measured, e->expert < 0 || kept[n][e->expert] == '1');
        }
        stage_close(&stage);
    }
}

/* ---- interruptions ----------------------------------------------------------------------------
 */

/* Stopped after every number of matrices, by one thread and by several, and continued. */
/* Overwrites weight i of a BF16 tensor in the file. */
static void poke(const struct make_set *set, const char *name, size_t i, uint16_t bits)
{
    char path[300];
    size_t at = 0, header = 0;

    for (size_t k = 0; strcmp(set->tensors[k].name, name); k++)
        at += set->tensors[k].size;
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    for (int k = 0; k < 8; k++)
        header |= (size_t)fgetc(file) << (8 * k);
    assert_int_equal(fseek(file, (long)(8 + header + at + 2 * i), SEEK_SET), 0);
    assert_int_equal(fwrite(&bits, 2, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

/* Another first weight of a projection. */
static void poke_first(const struct make_opts *make)
{
    struct make_set set = make_tensors(make);
    poke(&set, "model.layers.0.mlp.down_proj.weight", 0, 0x3f80);
    make_release(&set);
}

static struct ram_store *store_of(bool resume, struct ram_store_found *found)
{
    struct ram_store *store = NULL;
    struct ram_err err = {0};

    if (ram_store_new(&store, partial, resume, found, &err) ||
        ram_store_bind(store, "this checkpoint", &err))
        fail_msg("%s", err.message);
    return store;
}

static void resumes_from_anywhere(void **state)
{
    const struct make_opts make = {.arch = "qwen3_moe", .layers = 1, .shards = 2};
    const struct ram_analyze_opts opts = {0};
    struct ram_store_found found;
    (void)state;

    make_ckpt(dir, &make);
    const struct ram_run plain = {.threads = 2};
    char *whole = text_of(&opts, &plain);
    int n_stopped = 0;
    for (int at = 1;; at++) {
        struct watch watch = {.stop_at = at};
        struct ram_run run = {
            .threads = at % 3 ? 1 : 3, .user = &watch, .cancelled = stop, .notice = note};
        struct ram_err err = {0};
        struct stage stage;
        run.store = store_of(false, &found);
        const int status = sweep(&stage, &opts, &run, &err);
        stage_close(&stage);
        ram_store_free(run.store, false);
        if (at % 3 && !status && watch.polls < at) /* one thread polls at every matrix */
            break;
        assert_true(status == RAM_EINTERRUPT || (!status && at % 3 == 0));
        n_stopped += status == RAM_EINTERRUPT;
        struct watch again = {0};
        const struct ram_run rest = {
            .threads = 2, .user = &again, .notice = note, .store = store_of(true, &found)};
        char *text = text_of(&opts, &rest);
        assert_string_equal(text, whole);
        assert_string_equal(again.notice, "");
        free(text);
        ram_store_free(rest.store, true);
        assert_int_not_equal(access(partial, F_OK), 0);
    }
    assert_true(n_stopped > 10);
    free(whole);
}

/* Nothing but what was left out is measured: figures of a store are taken as they stand. */
static void takes_figures_of_the_same_settings_only(void **state)
{
    const struct make_opts make = {.arch = "qwen3", .layers = 1};
    const struct ram_analyze_opts usual = {0}, other = {.seed = 7};
    struct ram_store_found found;
    struct ram_run run = {.threads = 1};
    (void)state;

    make_ckpt(dir, &make);
    char *whole = text_of(&usual, &run), *seed_7 = text_of(&other, &run);
    run.store = store_of(true, &found);
    free(text_of(&usual, &run));
    /* Weights that are others now, though a store that was bound to the old ones does not know. */
    poke_first(&make);
    char *again = text_of(&usual, &run), *anew = text_of(&other, &run);
    assert_string_equal(again, whole);
    assert_string_not_equal(anew, seed_7);
    ram_store_free(run.store, true);
    free(whole);
    free(seed_7);
    free(again);
    free(anew);
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static void names_what_is_not_finite(void **state)
{
    static const char kv_b[] = "model.layers.1.self_attn.kv_b_proj.weight";
    static const char dropped[] = "model.layers.3.eh_proj.weight";
    const struct make_opts make = {.arch = "glm4_moe_lite", .mtp = true};
    const struct ram_analyze_opts opts = {0};
    (void)state;

    make_ckpt(dir, &make);
    struct make_set set = make_tensors(&make);
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        const struct ram_run run = {.threads = threads};
        poke(&set, dropped, 0, 0x7fc0); /* nobody will see it */
        free(text_of(&opts, &run));
        poke(&set, kv_b, 5 * MAKE_KV_LORA + 3, 0x7fc0);
        poke(&set, kv_b, 7 * MAKE_KV_LORA, 0xff80);
        refuse(&opts, &run, RAM_EFORMAT, "'model.layers.1.self_attn.kv_b_proj.weight'");
        refuse(&opts, &run, RAM_EFORMAT, "row 5, column 3 is nan; 2 such");
        poke(&set, kv_b, 5 * MAKE_KV_LORA + 3, 0);
        refuse(&opts, &run, RAM_EFORMAT, "row 7, column 0 is -inf; 1 such");
        poke(&set, kv_b, 7 * MAKE_KV_LORA, 0);
        poke(&set, "model.norm.weight", 63, 0x7f80);
        refuse(&opts, &run, RAM_EFORMAT, "'model.norm.weight': weight at row 0, column 63 is inf");
        poke(&set, "model.norm.weight", 63, 0x3f80);
    }
    make_release(&set);
}

/* All figures of a matrix of one magnitude are finite, and none depends on its scale but those that
 * the coding's least step decides. */
static void extreme_weights(void **state)
{
    static const char down[] = "model.layers.1.mlp.down_proj.weight";
    static const float scales[] = {1, 1e-9f, 1e-20f, 0x1p-130f, 0x1p100f, 0};
    const struct make_opts make = {.arch = "llama", .dtype = "F32"};
    const struct ram_analyze_opts opts = {.output_probes = 2};
    const struct ram_run run = {.threads = 2};
    (void)state;

    make_ckpt(dir, &make);
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        struct make_set set = make_tensors(&make);
        struct make_tensor *t = make_find(&set, down);
        for (size_t at = 0; at < t->size; at += 4) {
            float value;
            memcpy(&value, t->data + at, 4);
            make_store("F32", value * scales[i], t->data + at);
        }
        make_weights(&set, dir);
        make_release(&set);
        struct ram_err err = {0};
        struct stage stage;
        if (sweep(&stage, &opts, &run, &err))
            fail_msg("scale %g: %s", (double)scales[i], err.message);
        for (size_t k = 0; k < stage.manifest->n_entries; k++) {
            const struct ram_entry *e = &stage.manifest->entries[k];
            if (strcmp(e->name, down) != 0)
                continue;
            const double error =
                sqrt(e->errors[ram_form_index(ram_form_of(4, 32))] / (MAKE_HIDDEN * MAKE_INTER)) /
                e->stats.rms;
            assert_true(isfinite(e->metrics.svd) && isfinite(e->metrics.error) &&
                        isfinite(e->metrics.output) && isfinite(e->metrics.kurtosis));
            if (scales[i] == 0)
                assert_true(e->metrics.error == 0 &&
                            e->errors[ram_form_index(ram_form_of(4, 32))] == 0);
            else if (scales[i] < 1)
                assert_float_equal(error, 1, 1e-6);
            else
                assert_true(error > 0.03 && error < 0.2);
        }
        stage_close(&stage);
    }
}

/* What has no place in the output is named before hours are spent on it. */
static void names_what_is_too_large(void **state)
{
    static const char down[] = "model.layers.1.mlp.down_proj.weight";
    const struct make_opts make = {.arch = "llama"};
    const struct ram_analyze_opts opts = {0};
    const struct ram_run run = {.threads = 2};
    (void)state;

    make_ckpt(dir, &make);
    struct make_set set = make_tensors(&make);
    poke(&set, "model.norm.weight", 3, 0xff7f);   /* is not quantised */
    poke(&set, down, 3 * MAKE_INTER + 5, 0x7380); /* 2^104 */
    poke(&set, down, 9 * MAKE_INTER + 5, 0xff7f);
    refuse(&opts, &run, RAM_EFORMAT, down);
    refuse(&opts, &run, RAM_EFORMAT, "row 3, column 5 is 2.02824e+31");
    poke(&set, down, 3 * MAKE_INTER + 5, 0);
    refuse(&opts, &run, RAM_EFORMAT, "row 9, column 5 is -3.38953e+38");
    poke(&set, down, 9 * MAKE_INTER + 5, 0x737f); /* just below */
    free(text_of(&opts, &run));
    make_release(&set);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/* A sparse checkpoint of one large matrix with one row in a thousand that is not zero. */
static void make_large(size_t rows, size_t cols)
{
    char path[300], header[200];
    static uint16_t row[131072];

    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("{\"model_type\": \"large\"}", file);
    assert_int_equal(fclose(file), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    file = fopen(path, "wb");
    assert_non_null(file);
    const uint64_t size = (uint64_t)snprintf(
        header, sizeof header,
        "{\"w\":{\"dtype\":\"BF16\",\"shape\":[%zu,%zu],\"data_offsets\":[0,%zu]}}", rows, cols,
        rows * cols * 2);
    assert_int_equal(fwrite(&size, 8, 1, file), 1);
    assert_int_equal(fwrite(header, size, 1, file), 1);
    for (size_t j = 0; j < cols; j++)
        row[j] = (uint16_t)(0x3f80 + j * 7919 % 100);
    for (size_t i = 0; i < rows; i += 1000) {
        assert_int_equal(fseek(file, (long)(8 + size + i * cols * 2), SEEK_SET), 0);
        assert_int_equal(fwrite(row, 2, cols, file), cols);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (off_t)(8 + size + rows * cols * 2)), 0);
}

/* Highest resident size of a process that does nothing but this, in MiB; -1: it failed. */
static long peak_of(uint64_t memory, unsigned threads)
{
    struct rusage usage;
    int result;

    const pid_t child = fork();
    if (child == 0) {
        const struct ram_run run = {.threads = threads, .max_memory = memory};
        const struct ram_analyze_opts opts = {0};
        struct ram_err err = {0};
        struct stage stage;
        _exit(sweep(&stage, &opts, &run, &err) ? 1 : 0);
    }
    assert_int_equal(wait4(child, &result, 0, &usage), child);
    return result ? -1 : usage.ru_maxrss / 1024;
}

static void stays_within_its_memory(void **state)
{
    static const struct {
        size_t rows, cols;
        uint64_t memory;
    } cases[] = {{131072, 1024, 160}, {1024, 131072, 300}, {24576, 4096, 128}};
    (void)state;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    for (size_t i = 0; i < 3; i++) {
        make_large(cases[i].rows, cases[i].cols);
        for (unsigned threads = 1; threads <= 2; threads++) {
            const long peak = peak_of(cases[i].memory << 20, threads);
            if (peak < 0 || peak > (long)cases[i].memory)
                fail_msg("case %zu, %u threads: %ld MiB, %llu allowed", i, threads, peak,
                         (unsigned long long)cases[i].memory);
        }
    }
    const struct ram_analyze_opts opts = {0};
    const struct ram_run little = {.threads = 2, .max_memory = 40 << 20};
    refuse(&opts, &little, RAM_ENOMEM, "'w' needs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(figures, setup, teardown),
        cmocka_unit_test_setup_teardown(fused_experts, setup, teardown),
        cmocka_unit_test_setup_teardown(same_for_any_threads_and_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_count, setup, teardown),
        cmocka_unit_test_setup_teardown(expert_samples, setup, teardown),
        cmocka_unit_test_setup_teardown(resumes_from_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_figures_of_the_same_settings_only, setup, teardown),
        cmocka_unit_test_setup_teardown(names_what_is_not_finite, setup, teardown),
        cmocka_unit_test_setup_teardown(extreme_weights, setup, teardown),
        cmocka_unit_test_setup_teardown(names_what_is_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(stays_within_its_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("analyze/sweep", tests, NULL, NULL);
}
