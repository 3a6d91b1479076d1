/* output.c - see output.h. Directories are compared by device and inode, so that a link, a relative
 * name, or a trailing slash does not hide which one is meant. */
#include "base/output.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *const decimal[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
static const char *const binary[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
enum { N_UNITS = sizeof decimal / sizeof *decimal };

/* Three digits. up: what is printed is at least what is meant. */
static const char *size_text(double bytes, const char *const *units, double base, bool up,
                             char text[RAM_SIZE_TEXT])
{
    size_t u = 0;

    while (bytes >= 999.5 && u + 1 < N_UNITS) {
        bytes /= base;
        u++;
    }
    const int decimals = u == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    const double step = decimals == 2 ? 100 : decimals == 1 ? 10 : 1;
    snprintf(text, RAM_SIZE_TEXT, "%.*f %s", decimals, up ? ceil(bytes * step) / step : bytes,
             units[u]);
    return text;
}

const char *ram_size_text(double bytes, char text[RAM_SIZE_TEXT])
{
    return size_text(bytes, decimal, 1000, false, text);
}

const char *ram_size_text_up(double bytes, char text[RAM_SIZE_TEXT])
{
    return size_text(bytes, decimal, 1000, true, text);
}

const char *ram_size_text_like(double bytes, uint64_t like, char text[RAM_SIZE_TEXT])
{
    const bool is_binary = like % (1 << 20) == 0 && like % 1000000 != 0;
    return is_binary ? size_text(bytes, binary, 1024, false, text) : ram_size_text(bytes, text);
}

/* ---- paths ---------------------------------------------------------------------------------- */

static char *without_slashes(const char *path, struct ram_err *err)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    char *out = ram_calloc(n + 1, 1, err);
    return out ? memcpy(out, path, n) : NULL;
}

/* The directory that path is, or will be, in; resolved, so that ".." leads where the system goes.
 * Fails where there is none. */
static int parent_of(const char *path, char **out, struct ram_err *err)
{
    char *parent = without_slashes(path, err);

    *out = NULL;
    if (!parent)
        return RAM_ENOMEM;
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = '\0';
    const char *name = slash ? parent : ".";
    *out = realpath(name, NULL);
    const int status =
        *out ? RAM_OK
        : errno == ENOENT
            ? ram_fail(err, RAM_EIO, "%s: there is no directory %s to write it into; make it first",
                       path, name)
            : ram_fail_errno(err, "%s", name);
    free(parent);
    return status;
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is `dir` the file or directory `path` (resolved), or one that it lies in? */
static bool holds(const struct stat *dir, const char *path)
{
    char name[PATH_MAX];
    struct stat st;

    if (strlen(path) >= sizeof name)
        return false;
    strcpy(name, path);
    for (char *slash = name; slash;) {
        if (!stat(*name ? name : "/", &st) && same(dir, &st))
            return true;
        slash = strrchr(name, '/');
        if (slash)
            *slash = '\0';
    }
    return false;
}

/* ---- what both kinds have in common --------------------------------------------------------- */

/* *st: of what is there; *there: something is. A link that leads nowhere is refused. */
static int look(const char *path, struct stat *st, bool *there, struct ram_err *err)
{
    struct stat link;

    *there = false;
    if (!*path)
        return ram_fail(err, RAM_EUSAGE, "-o: the name of the output is empty");
    char *name = without_slashes(path, err);
    if (!name)
        return RAM_ENOMEM;
    int status = RAM_OK;
    if (!stat(path, st))
        *there = true;
    else if (errno != ENOENT)
        status = ram_fail_errno(err, "%s", path);
    else if (!lstat(name, &link) && S_ISLNK(link.st_mode))
        status =
            ram_fail(err, RAM_EEXIST,
                     "%s: is a symbolic link to something that does not exist; remove the link "
                     "or choose another output",
                     name);
    free(name);
    return status;
}

static int check_parent(const char *path, struct ram_err *err)
{
    char *parent = NULL;

    int status = parent_of(path, &parent, err);
    if (!status && access(parent, W_OK | X_OK))
        status = ram_fail_errno(err, "%s: cannot write into %s", path, parent);
    free(parent);
    return status;
}

int ram_output_check_file(const char *path, const struct ram_inputs *inputs, bool force,
                          struct ram_err *err)
{
    struct stat st, input;
    bool there;

    int status = look(path, &st, &there, err);
    if (status)
        return status;
    if (there && S_ISDIR(st.st_mode))
        return ram_fail(err, RAM_EEXIST, "%s: is a directory; name the file to write", path);
    for (size_t i = 0; there && i < inputs->n; i++)
        if (!stat(inputs->paths[i], &input) && same(&st, &input))
            return ram_fail(err, RAM_EUSAGE,
                            "%s: is what is being read (%s); choose another output", path,
                            inputs->paths[i]);
    if (there && !force)
        return ram_fail(err, RAM_EEXIST, "%s: exists; --force replaces it", path);
    return path[strlen(path) - 1] == '/'
               ? ram_fail(err, RAM_EUSAGE, "%s: ends in a slash; name the file to write", path)
               : check_parent(path, err);
}

/* ---- directories ---------------------------------------------------------------------------- */

static int refuse_overlap(const char *path, const struct stat *st, bool there, const char *input,
                          struct ram_err *err)
{
    char *source = realpath(input, NULL), *parent = NULL;
    struct stat in;
    int status = RAM_OK;

    if (!source || stat(source, &in))
        goto done;
    if (there && same(st, &in))
        status = ram_fail(err, RAM_EUSAGE,
                          "Output directory %s is the source model; choose another -o", path);
    else if (there && S_ISDIR(st->st_mode) && holds(st, source))
        status =
            ram_fail(err, RAM_EUSAGE,
                     "Output directory %s holds the source (%s); choose another -o", path, input);
    else if (S_ISDIR(in.st_mode)) {
        status = parent_of(path, &parent, err);
        if (!status && holds(&in, parent))
            status = ram_fail(err, RAM_EUSAGE,
                              "Output directory %s lies inside the source model (%s); choose "
                              "another -o",
                              path, input);
    }
done:
    free(source);
    free(parent);
    return status;
}

static bool is_empty(const char *path)
{
    DIR *stream = opendir(path);
    const struct dirent *entry;
    bool empty = stream != NULL;

    while (empty && (entry = readdir(stream)))
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    if (stream)
        closedir(stream);
    return empty;
}

int ram_output_check_dir(const char *path, const struct ram_inputs *inputs, bool force,
                         bool (*ours)(const char *path), struct ram_err *err)
{
    struct stat st;
    bool there;

    int status = look(path, &st, &there, err);
    for (size_t i = 0; !status && i < inputs->n; i++)
        status = refuse_overlap(path, &st, there, inputs->paths[i], err);
    if (status)
        return status;
    if (there && !S_ISDIR(st.st_mode))
        return ram_fail(err, RAM_EEXIST, "%s: is a file; the output is a directory", path);
    if (there && !is_empty(path) && !(ours && ours(path)))
        return ram_fail(err, RAM_EEXIST,
                        "%s: exists and is not a quantised model; even --force does not replace "
                        "it. Choose another -o",
                        path);
    if (there && !force)
        return ram_fail(err, RAM_EEXIST, "%s: exists; --force replaces it", path);
    return check_parent(path, err);
}

int ram_output_check_space(const char *path, const char *what, uint64_t bytes, struct ram_err *err)
{
    char *parent = NULL, needs[RAM_SIZE_TEXT], has[RAM_SIZE_TEXT];
    struct statvfs fs;

    int status = parent_of(path, &parent, err);
    if (!status && !statvfs(parent, &fs) && fs.f_blocks) {
        const uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        if (bytes > free_bytes)
            status =
                ram_fail(err, RAM_EIO, "%s: %s need %s (%llu bytes), and %s (%llu bytes) are free",
                         path, what, ram_size_text((double)bytes, needs), (unsigned long long)bytes,
                         ram_size_text((double)free_bytes, has), (unsigned long long)free_bytes);
    }
    free(parent);
    return status;
}
