/*
 * convert.c - see convert.h: what is refused, and the order in which a directory comes to be.
 *
 * Everything is written into "<dir>.partial-<pid>" and flushed; the rename at the end is what makes
 * it a checkpoint. What the loader looks for goes last, so that not even the temporary directory
 * could be taken for one before it is.
 */
#include "convert/convert.h"

#include "base/hash.h"
#include "base/output.h"
#include "ckpt/coding.h"
#include "ckpt/files.h"
#include "convert/conversion.h"
#include "convert/journal.h"
#include "record/calibration.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is refused ------------------------------------------------------------------------ */

/* FP8 is read as the floats it means; every other coding has lost what we would need. */
static int check_source(const struct ram_ckpt *ckpt, struct ram_err *err)
{
    const char *quantized = ram_coding_quantized(ckpt);

    if (ram_ckpt_check_coding(ckpt, err) || !quantized)
        return err->status;
    return ram_fail(err, RAM_EUNSUPPORTED,
                    "%s: is already quantised (%s); convert the original checkpoint instead",
                    ckpt->dir, quantized);
}

/* Is path a directory that was made by a conversion, ours or another to one of the formats? */
static bool is_converted(const char *path)
{
    struct ram_err ignored = {0};
    char *record = ram_path_join(path, "ram.json", &ignored);

    const bool is = (record && access(record, F_OK) == 0) || ram_format_of(path);
    free(record);
    return is;
}

static int add_input(struct ram_inputs *inputs, const char **paths, const char *dir,
                     const char *name, struct ram_err *err)
{
    paths[inputs->n] = ram_path_join(dir, name, err);
    inputs->n += paths[inputs->n] != NULL;
    return err->status;
}

/* The directory of the source, its weights, which may be links to where they really are, and what a
 * conversion takes over from it. paths[0] is borrowed. */
static int inputs_of(const struct ram_ckpt *ckpt, const struct ram_carried_list *carried,
                     struct ram_inputs *inputs, const char **paths, struct ram_err *err)
{
    paths[0] = ckpt->dir;
    *inputs = (struct ram_inputs){paths, 1};
    int status = add_input(inputs, paths, ckpt->dir, "config.json", err);
    if (!status)
        status = add_input(inputs, paths, ckpt->dir, ram_ckpt_index_name, err);
    for (size_t i = 0; !status && i < ckpt->n_files; i++)
        status = add_input(inputs, paths, ckpt->dir, ckpt->files[i].name, err);
    for (size_t i = 0; !status && i < carried->n; i++)
        status = add_input(inputs, paths, ckpt->dir, carried->files[i].name, err);
    return status;
}

static int check_against(const struct ram_ckpt *ckpt, const char *path, bool directory, bool force,
                         struct ram_err *err)
{
    struct ram_carried_list carried = {0};
    struct ram_inputs inputs = {0};
    struct ram_err ignored = {0}; /* what cannot be taken over, a conversion says */

    if (ram_carried_find(&carried, ckpt->dir, &ignored))
        carried = (struct ram_carried_list){0};
    const char **paths = ram_calloc(3 + ckpt->n_files + carried.n, sizeof *paths, err);
    int status = paths ? inputs_of(ckpt, &carried, &inputs, paths, err) : RAM_ENOMEM;
    if (!status)
        status = directory ? ram_output_check_dir(path, &inputs, force, is_converted, err)
                           : ram_output_check_file(path, &inputs, force, err);
    for (size_t i = 1; i < inputs.n; i++)
        free((char *)(uintptr_t)paths[i]);
    free(paths);
    ram_carried_release(&carried);
    return status;
}

int ram_convert_check_target(const struct ram_ckpt *ckpt, const char *dir, bool force,
                             struct ram_err *err)
{
    return check_against(ckpt, dir, true, force, err);
}

int ram_convert_check_file(const struct ram_ckpt *ckpt, const char *path, bool force,
                           struct ram_err *err)
{
    return check_against(ckpt, path, false, force, err);
}

/* ---- writing -------------------------------------------------------------------------------- */

static int write_text(const char *dir, const char *name, char *text, struct ram_err *err)
{
    char *path = ram_path_join(dir, name, err);
    const int status = path ? ram_file_write(path, text, strlen(text), false, err) : RAM_ENOMEM;
    free(path);
    free(text);
    return status;
}

/* Those that the loader reads go last. */
static int write_texts(const struct ram_conversion *c, const char *dir, struct ram_err *err)
{
    char *text = NULL;

    int status = ram_card_text(c, &text, err);
    if (!status)
        status = write_text(dir, "README.md", text, err);
    if (!status)
        status = ram_sidecar_text(c, &text, err);
    if (!status)
        status = write_text(dir, "ram.json", text, err);
    for (const struct ram_format_text *own = c->format->texts; own->name && !status; own++) {
        status = own->make(c->outline, &text, err);
        if (!status)
            status = write_text(dir, own->name, text, err);
    }
    return status;
}

/* Bytes of the disk that the weight files still need: some of them may lie in dir already. */
static uint64_t bytes_needed(const struct ram_outline *outline, const char *dir)
{
    struct ram_err ignored = {0};
    uint64_t there = 0;
    struct stat st;

    for (size_t i = 0; i < outline->n_files; i++) {
        char *path = ram_path_join(dir, outline->files[i].name, &ignored);
        if (path && stat(path, &st) == 0)
            there += (uint64_t)st.st_blocks * 512;
        free(path);
    }
    return there < outline->disk_bytes ? outline->disk_bytes - there : 0;
}

/* A weight file of this conversion may be an earlier run's; everything else is made again. */
static bool is_weight_file(void *ctx, const char *name)
{
    const struct ram_outline *outline = ctx;

    for (size_t i = 0; i < outline->n_files; i++)
        if (!strcmp(outline->files[i].name, name))
            return true;
    return false;
}

static int open_staging(const struct ram_conversion *c, const struct ram_exec *exec,
                        struct ram_staging *staging, struct ram_err *err)
{
    if (!exec->store)
        return ram_staging_open(staging, c->dir, c->replace, err);
    char *path = ram_store_output(exec->store, err);
    if (!path)
        return RAM_ENOMEM;
    ram_directory_clear(path, is_weight_file, c->outline);
    return ram_staging_reopen(staging, c->dir, path, c->replace, err);
}

static int write_all(struct ram_conversion *c, const struct ram_exec *exec, struct ram_err *err)
{
    const struct ram_encoding encoding = {c->encoder, c->inputs, c->dir};
    struct ram_staging staging = {0};
    bool resumable = false;

    int status = open_staging(c, exec, &staging, err);
    if (status)
        return status;
    if (!status)
        status = ram_output_check_space(staging.path, "the weight files",
                                        bytes_needed(c->outline, staging.path), err);
    ram_store_reserve(exec->store, bytes_needed(c->outline, staging.path));
    if (!status)
        status = ram_stream(c->ckpt, c->outline, &encoding, staging.path, exec, c->results,
                            &resumable, err);
    staging.keep = resumable;
    if (!status)
        status = ram_carried_copy(&c->carried, c->ckpt->dir, staging.path, err);
    if (!status)
        status = write_texts(c, staging.path, err);
    if (!status) {
        ram_written_put(exec->store, staging.path, c->key, c->results, c->outline->n_modules);
        status = ram_staging_commit(&staging, c->replace, err);
    }
    ram_staging_release(&staging);
    return status;
}

/* "out" of "/some/where/out/". */
static char *last_part(const char *dir, struct ram_err *err)
{
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && dir[start - 1] != '/')
        start--;
    char *name = ram_calloc(end - start + 1, 1, err);
    return name ? memcpy(name, dir + start, end - start) : NULL;
}

/* The encoder then uses other tokens than the plan was decided by. */
static void notice_calibration(const struct ram_conversion *c, const struct ram_exec *exec)
{
    const json_t *text = ram_plan_calibration(c->plan);
    const char *file = json_string_value(json_object_get(text, "file"));

    if (text && c->encoder->wants_inputs && !c->encoded_on)
        ram_exec_notice(exec,
                        "the plan was decided with the calibration text %s; without --calibration "
                        "the encoder %s uses text that the model generates",
                        file ? file : "?", c->encoder->name);
}

static void notice_fallbacks(const struct ram_conversion *c, const struct ram_exec *exec)
{
    for (size_t m = 0; m < c->outline->n_modules; m++) {
        const struct ram_out_module *module = &c->outline->modules[m];
        if (module->fallback)
            ram_exec_notice(exec, "%s: %s", module->target->module, module->fallback);
    }
}

/* Is the directory there because an earlier run was stopped behind this stage? Then there is
 * nothing to write, or what it wrote (under another plan) may be replaced. */
static int find_written(struct ram_conversion *c, struct ram_store *store, struct ram_err *err)
{
    struct ram_err ignored = {0};
    struct ram_map text = {0};

    c->results = ram_calloc(c->outline->n_modules, sizeof *c->results, err);
    if (!c->results)
        return RAM_ENOMEM;
    c->key = ram_hash64(c->encoder->name, strlen(c->encoder->name), ram_outline_hash(c->outline));
    if (c->opts->text && !ram_map_open(&text, c->opts->text, &ignored))
        c->key = ram_hash64(text.data, text.size, c->key);
    ram_map_close(&text);
    const enum ram_written found =
        ram_written_find(store, c->dir, c->key, c->results, c->outline->n_modules);
    c->written = found == RAM_WRITTEN_SAME;
    c->replace = c->opts->force || found == RAM_WRITTEN_OTHERWISE;
    return RAM_OK;
}

/* Everything that can be refused before a byte is written. */
static int prepare(struct ram_conversion *c, struct ram_store *store, struct ram_err *err)
{
    const struct ram_convert_opts *opts = c->opts;

    const char *planned = ram_plan_encoder(c->plan);

    int status = ram_weight_encoder_find(&c->encoder, opts->encoder ? opts->encoder : planned, err);
    if (!status && opts->text && !c->encoder->wants_inputs)
        status = ram_fail(err, RAM_EUSAGE,
                          "--calibration has no effect on encoder %s: only gptq runs the model",
                          c->encoder->name);
    if (!status)
        status = ram_format_find(&c->format, opts->format, err);
    if (!status && opts->profile != RAM_PROFILE_GPU && opts->profile != RAM_PROFILE_CPU)
        status = ram_fail(err, RAM_EUSAGE, "unknown profile %d", (int)opts->profile);
    if (!status && c->encoder->wants_inputs && !c->inputs)
        status =
            ram_fail(err, RAM_EUSAGE, "encoder \"%s\" needs to run the model, and this call cannot",
                     c->encoder->name);
    if (!status && opts->text)
        status = ram_calibration_identify(opts->text, &c->encoded_on, err);
    if (!status)
        status = check_source(c->ckpt, err);
    if (!status)
        status = ram_layout_new(&c->layout, c->ckpt, c->format, err);
    if (!status)
        status = ram_outline_new(&c->outline, c->layout, c->plan, opts, err);
    if (!status)
        status = ram_carried_find(&c->carried, c->ckpt->dir, err);
    if (!status && !opts->dry_run)
        status = find_written(c, store, err);
    if (!status && !opts->dry_run && !c->written)
        status = ram_convert_check_target(c->ckpt, c->dir, c->replace, err);
    return status;
}

int ram_convert_run(const struct ram_ckpt *ckpt, const struct ram_plan *plan, const char *dir,
                    const struct ram_convert_how *how, enum ram_markup markup, char **out,
                    struct ram_err *err)
{
    struct ram_conversion c = {
        .ckpt = ckpt, .plan = plan, .opts = how->opts, .dir = dir, .inputs = how->inputs};

    c.output_name = last_part(dir, err);
    int status = c.output_name ? prepare(&c, how->exec->store, err) : RAM_ENOMEM;
    if (!status) {
        ram_notice_left_out(c.layout, how->exec);
        ram_carried_notice(&c.carried, how->exec);
        ram_notes_tell(&c.layout->notes, how->exec);
        notice_fallbacks(&c, how->exec);
        if (!status)
            notice_calibration(&c, how->exec);
    }
    if (!status && !how->opts->dry_run && !c.written)
        status = write_all(&c, how->exec, err);
    if (!status && out)
        status = ram_conversion_describe(&c, markup, out, err);
    free(c.results);
    free(c.output_name);
    json_decref(c.encoded_on);
    ram_carried_release(&c.carried);
    ram_outline_free(c.outline);
    ram_layout_free(c.layout);
    return status;
}
