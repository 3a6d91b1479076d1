/*
 * convert.c - see convert.h: what is refused, and the order in which a directory comes to be.
 *
 * Everything is written into "<dir>.partial-<pid>" and flushed; the rename at the end is what makes
 * it a checkpoint. config.json goes last, so that not even the temporary directory could be taken
 * for one before it is.
 */
#include "convert/convert.h"

#include "convert/directory.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- what is refused ------------------------------------------------------------------------ */

/* FP8 is read as the floats it means; every other coding has lost what we would need. */
static int check_source(const struct ram_ckpt *ckpt, struct ram_err *err)
{
    const json_t *mlx = json_object_get(ckpt->config, "quantization");

    if (ckpt->coding.mlx || json_is_object(mlx))
        return ram_fail(err, RAM_EUNSUPPORTED,
                        "%s: is already quantised (%s); convert the original checkpoint instead",
                        ckpt->dir,
                        ckpt->coding.mlx ? "its weights are MLX codes"
                                         : "config.json has an MLX quantization block");
    return ram_ckpt_check_coding(ckpt, err);
}

/* Is dir empty, or something that could be a model: nothing else is ever replaced. */
static bool replaceable(const char *dir, struct ram_err *err)
{
    const struct dirent *entry;
    bool empty = true, model = false;
    DIR *stream = opendir(dir);

    while (stream && (entry = readdir(stream))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        empty = false;
        model |= !strcmp(entry->d_name, "config.json");
    }
    if (stream)
        closedir(stream);
    else
        ram_fail_errno(err, "%s", dir);
    return stream && (empty || model);
}

static int check_target(const struct ram_ckpt *ckpt, const char *dir, bool force,
                        struct ram_err *err)
{
    struct stat target, source;

    if (stat(dir, &target))
        return RAM_OK;
    if (!stat(ckpt->dir, &source) && target.st_dev == source.st_dev &&
        target.st_ino == source.st_ino)
        return ram_fail(err, RAM_EUSAGE, "%s: is the checkpoint itself", dir);
    if (!force)
        return ram_fail(err, RAM_EEXIST, "%s: exists; --force replaces it", dir);
    if (!S_ISDIR(target.st_mode) || !replaceable(dir, err))
        return ram_fail(err, RAM_EEXIST,
                        "%s: exists and is not a model directory; it is not replaced", dir);
    return RAM_OK;
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

static int write_texts(const struct ram_conversion *c, const char *dir, struct ram_err *err)
{
    char *text = NULL;

    int status = ram_mlx_index(c->outline, &text, err);
    if (!status)
        status = write_text(dir, "model.safetensors.index.json", text, err);
    if (!status)
        status = ram_mlx_card(c, &text, err);
    if (!status)
        status = write_text(dir, "README.md", text, err);
    if (!status)
        status = ram_mlx_sidecar(c, &text, err);
    if (!status)
        status = write_text(dir, "ram.json", text, err);
    if (!status)
        status = ram_mlx_config(c->ckpt, c->outline, &text, err);
    if (!status)
        status = write_text(dir, "config.json", text, err);
    return status;
}

/* Told before the work instead of after it. What else is written is small. */
static int check_room(const struct ram_outline *outline, const char *dir, struct ram_err *err)
{
    struct statvfs fs;

    if (statvfs(dir, &fs) || !fs.f_blocks) /* a file system that does not say */
        return RAM_OK;
    const uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (outline->disk_bytes <= free_bytes)
        return RAM_OK;
    return ram_fail(err, RAM_EIO, "%s: the weight files need %llu bytes, %llu are free", dir,
                    (unsigned long long)outline->disk_bytes, (unsigned long long)free_bytes);
}

static int write_all(struct ram_conversion *c, const struct ram_run *run, struct ram_err *err)
{
    const struct ram_encoding encoding = {c->encoder, c->inputs};
    struct ram_staging staging = {0};

    int status = ram_staging_open(&staging, c->dir, c->opts->force, err);
    if (status)
        return status;
    c->results = ram_calloc(c->outline->n_modules, sizeof *c->results, err);
    if (!c->results)
        status = RAM_ENOMEM;
    if (!status)
        status = check_room(c->outline, staging.path, err);
    if (!status)
        status = ram_stream(c->ckpt, c->outline, &encoding, staging.path, run, c->results, err);
    if (!status)
        status = ram_carried_copy(&c->carried, c->ckpt->dir, staging.path, err);
    if (!status)
        status = write_texts(c, staging.path, err);
    if (!status)
        status = ram_staging_commit(&staging, c->opts->force, err);
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

static void notice_fallbacks(const struct ram_conversion *c, const struct ram_run *run)
{
    for (size_t m = 0; run->notice && m < c->outline->n_modules; m++) {
        const struct ram_out_module *module = &c->outline->modules[m];
        struct ram_buf line = {0};
        if (!module->fallback)
            continue;
        ram_buf_printf(&line, "%s: %s", module->target->module, module->fallback);
        if (!line.failed)
            run->notice(run->user, line.data);
        ram_buf_release(&line);
    }
}

/* Everything that can be refused before a byte is written. */
static int prepare(struct ram_conversion *c, struct ram_err *err)
{
    const struct ram_convert_opts *opts = c->opts;

    int status = ram_weight_encoder_find(&c->encoder, opts->encoder, err);
    if (!status && opts->format && strcmp(opts->format, "mlx"))
        status = ram_fail(err, RAM_EUSAGE, "unknown format \"%s\"; there is: mlx", opts->format);
    if (!status && opts->profile != RAM_PROFILE_GPU && opts->profile != RAM_PROFILE_CPU)
        status = ram_fail(err, RAM_EUSAGE, "unknown profile %d", (int)opts->profile);
    if (!status && c->encoder->wants_inputs && !c->inputs)
        status = ram_fail(err, RAM_EUSAGE, "encoder \"%s\": nobody says what flows into a matrix",
                          c->encoder->name);
    if (!status)
        status = check_source(c->ckpt, err);
    if (!status)
        status = ram_layout_new(&c->layout, c->ckpt, err);
    if (!status)
        status = ram_outline_new(&c->outline, c->layout, c->plan, opts, err);
    if (!status)
        status = ram_carried_find(&c->carried, c->ckpt->dir, err);
    if (!status && !opts->dry_run)
        status = check_target(c->ckpt, c->dir, opts->force, err);
    return status;
}

int ram_convert_informed(const struct ram_ckpt *ckpt, const struct ram_plan *plan, const char *dir,
                         const struct ram_convert_how *how, enum ram_form form, char **out,
                         struct ram_err *err)
{
    struct ram_conversion c = {
        .ckpt = ckpt, .plan = plan, .opts = how->opts, .dir = dir, .inputs = how->inputs};

    c.output_name = last_part(dir, err);
    int status = c.output_name ? prepare(&c, err) : RAM_ENOMEM;
    if (!status) {
        ram_notice_left_out(c.layout, how->run);
        ram_carried_notice(&c.carried, how->run);
        notice_fallbacks(&c, how->run);
    }
    if (!status && !how->opts->dry_run)
        status = write_all(&c, how->run, err);
    if (!status && out)
        status = ram_conversion_describe(&c, form, out, err);
    free(c.results);
    free(c.output_name);
    ram_carried_release(&c.carried);
    ram_outline_free(c.outline);
    ram_layout_free(c.layout);
    return status;
}

int ram_convert_run(const struct ram_ckpt *ckpt, const struct ram_plan *plan, const char *dir,
                    const struct ram_convert_opts *opts, const struct ram_run *run,
                    enum ram_form form, char **out, struct ram_err *err)
{
    const struct ram_convert_how how = {opts, run, NULL};
    return ram_convert_informed(ckpt, plan, dir, &how, form, out, err);
}
