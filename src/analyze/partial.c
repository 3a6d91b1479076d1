/* partial.c - see partial.h. */
#include "analyze/partial.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { N_ERRORS = RAM_N_BITS * RAM_N_GROUPS, MAX_LINE = 1 << 16 };

/* Far above a line for each of RAM_MAX_ENTRIES. */
#define MAX_SIZE ((size_t)1 << 36)

struct ram_partial {
    int fd;
    char *path;
    const struct ram_manifest *manifest;
};

/* The figures of an entry, in the order of a line. */
enum { N_FIGURES = 9 };
static void figures_of(struct ram_entry *entry, double *out[N_FIGURES])
{
    double *const figures[N_FIGURES] = {
        &entry->metrics.svd,   &entry->metrics.kurtosis, &entry->metrics.output,
        &entry->metrics.error, &entry->stats.mean,       &entry->stats.std,
        &entry->stats.rms,     &entry->stats.min,        &entry->stats.max};
    memcpy(out, figures, sizeof figures);
}

/* ---- lines --------------------------------------------------------------------------------- */

/* The first line: all that decides whether figures may be shared. */
static json_t *header(const struct ram_manifest *m)
{
    json_t *files = json_array();

    for (size_t i = 0; i < m->n_files; i++)
        json_array_append_new(files,
                              json_pack("[sIs]", m->files[i].name, (json_int_t)m->files[i].bytes,
                                        m->files[i].header_sha256));
    return json_pack("{ss ss so sI sO}", "partial", "ram.partial/1", "ram", m->version, "files",
                     files, "entries", (json_int_t)m->n_entries, "settings", m->settings);
}

/* One line of text with its newline; steals value. */
static int line_of(json_t *value, struct ram_buf *out, struct ram_err *err)
{
    char *text = NULL;

    if (!value)
        return ram_fail(err, RAM_ENOMEM, "no memory for a line of the partial file");
    const int status = ram_json_text(value, 0, false, &text, err);
    if (!status) {
        ram_buf_puts(out, text);
        ram_buf_puts(out, "\n");
    }
    free(text);
    json_decref(value);
    return status;
}

static json_t *entry_line(struct ram_entry *entry, size_t i)
{
    double *figures[N_FIGURES];
    json_t *numbers = json_array(), *errors = json_array();

    figures_of(entry, figures);
    for (size_t k = 0; k < N_FIGURES; k++)
        json_array_append_new(numbers, ram_json_real(*figures[k]));
    for (size_t k = 0; k < N_ERRORS; k++)
        json_array_append_new(errors,
                              ram_json_real(entry->errors[k / RAM_N_GROUPS][k % RAM_N_GROUPS]));
    return json_pack("{sI ss so so}", "entry", (json_int_t)i, "name", entry->name, "figures",
                     numbers, "errors", errors);
}

static bool read_numbers(const json_t *array, size_t n, bool null_allowed, double *out)
{
    if (json_array_size(array) != n)
        return false;
    for (size_t k = 0; k < n; k++) {
        const json_t *value = json_array_get(array, k);
        if (!json_is_number(value) && !(null_allowed && json_is_null(value)))
            return false;
        out[k] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    return true;
}

/* False if the line is not an entry of this manifest: it and all that follows is dropped. */
static bool read_entry(struct ram_manifest *m, const char *line, size_t size)
{
    double numbers[N_FIGURES], errors[N_ERRORS], *figures[N_FIGURES];
    json_error_t at;
    json_t *value = json_loadb(line, size, JSON_REJECT_DUPLICATES, &at);
    const json_t *index = json_object_get(value, "entry");
    const char *name = json_string_value(json_object_get(value, "name"));
    bool good = json_is_integer(index) && json_integer_value(index) >= 0 && name &&
                (uint64_t)json_integer_value(index) < m->n_entries;
    struct ram_entry *entry = good ? &m->entries[json_integer_value(index)] : NULL;

    good = good && entry->skip == RAM_SKIP_NONE && !strcmp(entry->name, name) &&
           read_numbers(json_object_get(value, "figures"), N_FIGURES, true, numbers) &&
           read_numbers(json_object_get(value, "errors"), N_ERRORS, true, errors);
    if (good) {
        figures_of(entry, figures);
        for (size_t k = 0; k < N_FIGURES; k++)
            *figures[k] = numbers[k];
        memcpy(entry->errors, errors, sizeof errors);
        entry->measured = true;
    }
    json_decref(value);
    return good;
}

/* ---- the file ------------------------------------------------------------------------------ */

/* Entries of a file that begins with the header line; returns the bytes that are worth keeping. */
static size_t read_lines(struct ram_manifest *m, const char *text, size_t size, size_t header_size,
                         size_t *n)
{
    size_t kept = header_size;

    while (kept < size) {
        const char *line = text + kept, *end = memchr(line, '\n', size - kept);
        if (!end || end - line > MAX_LINE || !read_entry(m, line, (size_t)(end - line)))
            break;
        kept += (size_t)(end - line) + 1;
        ++*n;
    }
    return kept;
}

static int append(const struct ram_partial *partial, const struct ram_buf *line,
                  struct ram_err *err)
{
    ssize_t written;

    if (line->failed)
        return ram_fail(err, RAM_ENOMEM, "no memory for a line of the partial file");
    do
        written = write(partial->fd, line->data, line->size);
    while (written < 0 && errno == EINTR);
    if (written < 0)
        return ram_fail_errno(err, "%s: cannot write", partial->path);
    if ((size_t)written < line->size)
        return ram_fail(err, RAM_EIO, "%s: wrote %zd of %zu bytes", partial->path, written,
                        line->size);
    return RAM_OK;
}

static int begin(struct ram_partial *partial, bool resume, struct ram_manifest *m, size_t *n,
                 bool *stale, struct ram_err *err)
{
    struct ram_buf first = {0};
    char *text = NULL;
    size_t size = 0, kept = 0;

    int status = line_of(header(m), &first, err);
    if (!status && first.failed)
        status = ram_fail(err, RAM_ENOMEM, "no memory for a line of the partial file");
    if (!status && resume)
        status = ram_file_read(partial->path, MAX_SIZE, &text, &size, err);
    if (status)
        goto done;
    if (size >= first.size && !memcmp(text, first.data, first.size))
        kept = read_lines(m, text, size, first.size, n);
    else
        *stale = size > 0;
    if (ftruncate(partial->fd, (off_t)kept))
        status = ram_fail_errno(err, "%s: cannot cut", partial->path);
    if (!status && kept == 0)
        status = append(partial, &first, err);
done:
    free(text);
    ram_buf_release(&first);
    return status;
}

int ram_partial_open(struct ram_partial **out, const char *path, bool resume,
                     struct ram_manifest *manifest, size_t *n, bool *stale, struct ram_err *err)
{
    int status = RAM_OK;

    *n = 0;
    *stale = false;
    struct ram_partial *partial = ram_calloc(1, sizeof *partial, err);
    if (!partial)
        return RAM_ENOMEM;
    partial->manifest = manifest;
    partial->path = ram_strdup(path, err);
    partial->fd = partial->path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (!partial->path)
        status = RAM_ENOMEM;
    else if (partial->fd < 0)
        status = ram_fail_errno(err, "%s: cannot open", path);
    else if (flock(partial->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        status = ram_fail(err, RAM_EUSAGE, "%s: another analysis is writing to it", path);
    if (!status)
        status = begin(partial, resume, manifest, n, stale, err);
    if (status) {
        ram_partial_close(partial);
        return status;
    }
    *out = partial;
    return RAM_OK;
}

int ram_partial_add(struct ram_partial *partial, size_t i, struct ram_err *err)
{
    struct ram_buf line = {0};

    int status = line_of(entry_line(&partial->manifest->entries[i], i), &line, err);
    /* One write to a file in append mode: lines of several threads do not mix. */
    if (!status)
        status = append(partial, &line, err);
    ram_buf_release(&line);
    return status;
}

void ram_partial_close(struct ram_partial *partial)
{
    if (!partial)
        return;
    if (partial->fd >= 0)
        close(partial->fd);
    free(partial->path);
    free(partial);
}
