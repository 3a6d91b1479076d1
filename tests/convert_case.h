/*
 * convert_case.h - what the tests of convert share: a checkpoint that is made, opened and laid out,
 * with a plan; files read back.
 */
#ifndef TESTS_CONVERT_CASE_H
#define TESTS_CONVERT_CASE_H

#include "ckpt_make.h"
#include "convert_plan.h"

#include "convert/convert.h"
#include "convert/verify.h"
#include "format/outline.h"

#include <dirent.h>
#include <setjmp.h>

#include <cmocka.h>

struct test_case {
    char dir[256]; /* temporary; the checkpoint is dir/model */
    char model[300], out[300];
    struct ram_ckpt *ckpt;
    struct ram_layout *layout;
    struct ram_plan *plan;
    struct ram_err err;
};

/* Of all widths, in an order that depends on the name alone; some units stay at 16. */
static inline struct width mixed_width(const struct ram_target *target, void *user)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8, 16};
    static const int groups[] = {32, 64, 128};
    unsigned hash = user ? *(const unsigned *)user : 0;
    for (const char *s = target->unit; *s; s++)
        hash = hash * 31 + (unsigned char)*s;
    return (struct width){bits[hash % 7], groups[hash / 7 % 3]};
}

static inline void case_open(struct test_case *c, const struct make_opts *opts,
                             choose_width *choose, void *user)
{
    memset(c, 0, sizeof *c);
    snprintf(c->dir, sizeof c->dir, "%s", make_temp_dir());
    snprintf(c->model, sizeof c->model, "%s/model", c->dir);
    snprintf(c->out, sizeof c->out, "%s/out", c->dir);
    make_ckpt(c->model, opts);
    if (ram_ckpt_open(&c->ckpt, c->model, &c->err) ||
        ram_layout_new(&c->layout, c->ckpt, ram_format_at(0), &c->err))
        fail_msg("%s", c->err.message);
    c->plan = plan_for(c->layout, choose, user);
    assert_non_null(c->plan);
}

static inline void case_close(struct test_case *c)
{
    ram_plan_free(c->plan);
    ram_layout_free(c->layout);
    ram_ckpt_close(c->ckpt);
    make_remove_dir(c->dir);
}

/* ram_convert and ram_verify without an encoder that runs the model. */
static inline int convert_by(const struct ram_ckpt *ckpt, const struct ram_plan *plan,
                             const char *out, const struct ram_convert_opts *opts,
                             const struct ram_run *run, char **text, struct ram_err *err)
{
    struct ram_exec exec;
    const struct ram_convert_how how = {opts, &exec, NULL};
    int status = ram_exec_begin(&exec, run, err);
    if (!status)
        status = ram_convert_run(ckpt, plan, out, &how, text ? RAM_JSON : RAM_TEXT, text, err);
    ram_exec_end(&exec);
    return status;
}

static inline int verify_by(struct test_case *c, const struct ram_ckpt *source,
                            const struct ram_plan *plan, const struct ram_run *run,
                            enum ram_markup markup, char **text)
{
    struct ram_exec exec;
    int status = ram_exec_begin(&exec, run, &c->err);
    if (!status)
        status = ram_verify_run(c->out, source, plan, &exec, markup, text, &c->err);
    ram_exec_end(&exec);
    return status;
}

/* Converts to c->out; *text (may be NULL) is the JSON description. */
static inline int case_convert(struct test_case *c, const struct ram_convert_opts *opts,
                               unsigned threads, char **text)
{
    const struct ram_run run = {.threads = threads};
    c->err = (struct ram_err){0};
    return convert_by(c->ckpt, c->plan, c->out, opts, &run, text, &c->err);
}

/* dir/name whole, with a final 0; NULL if it is not there. */
static inline char *slurp(const char *dir, const char *name, size_t *size)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    *size = 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = calloc(*size + 1, 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

static inline void spill(const char *dir, const char *name, const void *data, size_t size)
{
    FILE *file = make_open(dir, name);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Entries of a directory, "." and ".." aside; -1 if there is none. */
static inline int count_entries(const char *dir)
{
    DIR *stream = opendir(dir);
    int n = 0;
    if (!stream)
        return -1;
    while (readdir(stream))
        n++;
    closedir(stream);
    return n - 2;
}

/* Every architecture, and every form in which its experts and types come. */
static const struct make_opts all_forms[] = {
    {.arch = "llama", .seed = 1, .bias = true},
    {.arch = "llama", .seed = 2, .tied = true, .spare_head = true, .dtype = "F16"},
    {.arch = "mistral", .seed = 3, .shards = 2},
    {.arch = "qwen2", .seed = 4, .tied = true, .inv_freq = true},
    {.arch = "qwen3", .seed = 5, .dtype = "F32"},
    {.arch = "qwen3", .seed = 6, .dtype = "F8_E4M3", .fp8_block = {32, 48}},
    {.arch = "qwen3_moe", .seed = 7, .shards = 3},
    {.arch = "qwen3_moe", .seed = 8, .experts = MAKE_FUSED, .new_spelling = true},
    {.arch = "qwen3_moe", .seed = 9, .experts = MAKE_STACKED},
    {.arch = "qwen3_moe", .seed = 10, .dtype = "F8_E4M3"},
    {.arch = "glm4_moe", .seed = 11, .bias = true, .mtp = true},
    {.arch = "glm4_moe", .seed = 12, .experts = MAKE_FUSED, .new_spelling = true},
    {.arch = "glm4_moe_lite", .seed = 13, .mtp = true},
    {.arch = "glm4_moe_lite", .seed = 14, .tied = true},
    {.arch = "glm4_moe_lite", .seed = 15, .dtype = "F64"},
};

enum { N_FORMS = sizeof all_forms / sizeof *all_forms };

#endif
