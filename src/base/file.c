/* file.c - see file.h. POSIX only. */
#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A pointer is a few lines of text: "version https://git-lfs.github.com/spec/v1", "oid sha256:...",
 * "size N" (git-lfs, docs/spec.md).
 */
int ram_file_check_pointer(const char *path, const void *data, size_t size, struct ram_err *err)
{
    static const char mark[] = "version https://git-lfs.github.com/spec/";
    enum { MAX_POINTER = 1024 };
    char text[MAX_POINTER + 1], *end;

    if (size > MAX_POINTER || size < sizeof mark - 1 || memcmp(data, mark, sizeof mark - 1) != 0)
        return RAM_OK;
    memcpy(text, data, size);
    text[size] = '\0';
    const char *line = strstr(text, "\nsize ");
    const unsigned long long bytes = line ? strtoull(line + 6, &end, 10) : 0;
    if (bytes)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: a Git LFS pointer instead of the file itself, which has %llu bytes; "
                        "run \"git lfs pull\" in the clone, or download the file",
                        path, bytes);
    return ram_fail(err, RAM_EFORMAT,
                    "%s: a Git LFS pointer instead of the file itself; run \"git lfs pull\" in the "
                    "clone, or download the file",
                    path);
}

int ram_map_open(struct ram_map *map, const char *path, struct ram_err *err)
{
    struct stat st;
    int status = RAM_OK;

    *map = (struct ram_map){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        status = ram_fail_errno(err, "%s", path);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        status = ram_fail(err, RAM_EIO, "%s: not a regular file", path);
        goto done;
    }
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            status = ram_fail_errno(err, "%s: cannot map", path);
            goto done;
        }
        map->data = p;
        map->size = (size_t)st.st_size;
        status = ram_file_check_pointer(path, map->data, map->size, err);
        if (status)
            ram_map_close(map);
    }
done:
    if (fd >= 0)
        close(fd);
    return status;
}

void ram_map_close(struct ram_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct ram_map){0};
}

static void advise(const struct ram_map *map, size_t first, size_t last, int advice)
{
    if (map->data && first < last)
        madvise((void *)(uintptr_t)(map->data + first), last - first, advice);
}

void ram_map_forget(const struct ram_map *map, size_t offset, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    advise(map, (offset + page - 1) / page * page, (offset + size) / page * page, MADV_DONTNEED);
}

void ram_map_ahead(const struct ram_map *map, size_t offset, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    advise(map, offset / page * page, offset + size, MADV_WILLNEED);
}

int ram_file_read(const char *path, size_t max, char **data, size_t *size, struct ram_err *err)
{
    struct stat st;
    char *p = NULL;
    size_t have = 0;
    int status = RAM_OK;

    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        status = ram_fail_errno(err, "%s", path);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        status = ram_fail(err, RAM_EIO, "%s: not a regular file", path);
        goto done;
    }
    const size_t want = (size_t)st.st_size;
    if (want > max) {
        status =
            ram_fail(err, RAM_ERANGE, "%s: %zu bytes, at most %zu are allowed", path, want, max);
        goto done;
    }
    p = ram_calloc(want + 1, 1, err);
    if (!p) {
        status = RAM_ENOMEM;
        goto done;
    }
    while (have < want) {
        const ssize_t n = read(fd, p + have, want - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            status = n < 0
                         ? ram_fail_errno(err, "%s: cannot read", path)
                         : ram_fail(err, RAM_EIO, "%s: ends at byte %zu of %zu", path, have, want);
            goto done;
        }
        have += (size_t)n;
    }
    status = ram_file_check_pointer(path, p, want, err);
    if (status)
        goto done;
    *data = p;
    *size = want;
    p = NULL;
done:
    free(p);
    if (fd >= 0)
        close(fd);
    return status;
}

static int write_all(int fd, const char *path, const void *data, size_t size, struct ram_err *err)
{
    const char *p = data;

    while (size) {
        const ssize_t n = write(fd, p, size > (1u << 30) ? (1u << 30) : size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ram_fail_errno(err, "%s: cannot write", path);
        p += n;
        size -= (size_t)n;
    }
    return RAM_OK;
}

/* Makes a rename or a new entry in the directory of path durable. */
static int sync_parent(const char *path, struct ram_err *err)
{
    char *dir = ram_strdup(path, err);
    if (!dir)
        return RAM_ENOMEM;
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    const int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = RAM_OK;
    /* Some file systems cannot sync a directory (EINVAL); they have nothing to promise. */
    if (fd < 0 || (fsync(fd) && errno != EINVAL))
        status = ram_fail_errno(err, "%s: cannot flush the directory", dir);
    if (fd >= 0)
        close(fd);
    free(dir);
    return status;
}

int ram_file_write(const char *path, const void *data, size_t size, bool force, struct ram_err *err)
{
    char *temp = NULL;
    int fd = -1, status = RAM_OK;

    if (!force && access(path, F_OK) == 0)
        return ram_fail(err, RAM_EEXIST, "%s: exists; --force replaces it", path);
    const size_t room = strlen(path) + 32;
    temp = ram_calloc(room, 1, err);
    if (!temp)
        return RAM_ENOMEM;
    snprintf(temp, room, "%s.partial-%ld", path, (long)getpid());
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = ram_fail_errno(err, "%s: cannot create", temp);
        goto done;
    }
    status = write_all(fd, temp, data, size, err);
    if (!status && fsync(fd))
        status = ram_fail_errno(err, "%s: cannot flush", temp);
    if (close(fd) && !status)
        status = ram_fail_errno(err, "%s: cannot close", temp);
    if (!status && rename(temp, path))
        status = ram_fail_errno(err, "%s: cannot rename to %s", temp, path);
    if (status)
        unlink(temp);
    else
        status = sync_parent(path, err);
done:
    free(temp);
    return status;
}

int ram_sink_open(struct ram_sink *sink, const char *path, bool again, struct ram_err *err)
{
    *sink = (struct ram_sink){.fd = -1};
    sink->path = ram_strdup(path, err);
    if (!sink->path)
        return RAM_ENOMEM;
    sink->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (again ? O_NOFOLLOW : O_EXCL), 0666);
    if (sink->fd < 0) {
        const int status = ram_fail_errno(err, "%s: cannot create", path);
        ram_sink_abandon(sink);
        return status;
    }
    return RAM_OK;
}

int ram_sink_write(struct ram_sink *sink, const void *data, size_t size, struct ram_err *err)
{
    const int status = write_all(sink->fd, sink->path, data, size, err);
    if (!status)
        sink->written += size;
    return status;
}

int ram_sink_reserve(struct ram_sink *sink, uint64_t size, struct ram_err *err)
{
    int code = EOPNOTSUPP;

    if (size > INT64_MAX)
        return ram_fail(err, RAM_ERANGE, "%s: %llu bytes are no file", sink->path,
                        (unsigned long long)size);
#if defined(__linux__)
    /* Not posix_fallocate: where the file system cannot, that writes every block. */
    if (size == 0)
        return RAM_OK;
    do
        code = fallocate(sink->fd, 0, 0, (off_t)size) ? errno : 0;
    while (code == EINTR);
#endif
    struct stat st;
    const bool longer = fstat(sink->fd, &st) == 0 && (uint64_t)st.st_size > size;
    if (code == EOPNOTSUPP || code == ENOSYS || longer)
        code = ftruncate(sink->fd, (off_t)size) ? errno : 0;
    errno = code;
    return code ? ram_fail_errno(err, "%s: no room for %llu bytes", sink->path,
                                 (unsigned long long)size)
                : RAM_OK;
}

int ram_sink_put(const struct ram_sink *sink, uint64_t offset, const void *data, size_t size,
                 struct ram_err *err)
{
    const char *p = data;

    while (size) {
        const ssize_t n = pwrite(sink->fd, p, size > (1u << 30) ? (1u << 30) : size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ram_fail_errno(err, "%s: cannot write", sink->path);
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return RAM_OK;
}

void ram_sink_push(const struct ram_sink *sink)
{
#if defined(__linux__)
    /* A hint: a failure to write is found by the flush. */
    (void)sync_file_range(sink->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#else
    (void)sink;
#endif
}

int ram_sink_close(struct ram_sink *sink, struct ram_err *err)
{
    int status = RAM_OK;

    if (!sink->path)
        return RAM_OK;
    if (fsync(sink->fd))
        status = ram_fail_errno(err, "%s: cannot flush", sink->path);
    if (close(sink->fd) && !status)
        status = ram_fail_errno(err, "%s: cannot close", sink->path);
    sink->fd = -1;
    ram_sink_abandon(sink);
    return status;
}

void ram_sink_abandon(struct ram_sink *sink)
{
    if (sink->path && sink->fd >= 0)
        close(sink->fd);
    free(sink->path);
    *sink = (struct ram_sink){.fd = -1};
}

char *ram_path_join(const char *dir, const char *name, struct ram_err *err)
{
    const size_t n = strlen(dir);
    const size_t room = n + strlen(name) + 2;
    char *path = ram_calloc(room, 1, err);
    if (path)
        snprintf(path, room, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    return path;
}

/* ---- staging ---------------------------------------------------------------------------- */

/* Removes the chat templates of a folder, and the folder if it then is empty: a model's directory
 * may hold such folders. Other folders are a user's own and stay. */
static void remove_templates(const char *path)
{
    static const char suffix[] = ".jinja";
    struct ram_err ignored = {0};
    DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        const size_t n = strlen(entry->d_name), m = strlen(suffix);
        char *file = n > m && !strcmp(entry->d_name + n - m, suffix)
                         ? ram_path_join(path, entry->d_name, &ignored)
                         : NULL;
        if (file)
            unlink(file);
        free(file);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

void ram_directory_clear(const char *path, bool (*stays)(void *ctx, const char *name), void *ctx)
{
    struct ram_err ignored = {0};
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            (stays && stays(ctx, entry->d_name)))
            continue;
        char *file = ram_path_join(path, entry->d_name, &ignored);
        if (file && unlink(file))
            remove_templates(file);
        free(file);
    }
    closedir(dir);
    rmdir(path);
}

/* A directory and the plain files in it: a staging directory holds nothing else. */
static void remove_flat_directory(const char *path)
{
    ram_directory_clear(path, NULL, NULL);
}

/* Clears "<target>.partial-<pid>" of processes that are gone. */
static void clear_leftovers(const char *target)
{
    struct ram_err ignored = {0};
    const char *slash = strrchr(target, '/');
    const char *base = slash ? slash + 1 : target;
    char *parent = ram_strdup(target, &ignored);
    if (!parent)
        return;
    parent[slash ? (size_t)(slash - target) + (slash == target) : 0] = '\0';
    DIR *dir = opendir(*parent ? parent : ".");
    struct dirent *entry;
    const size_t n = strlen(base);

    while (dir && (entry = readdir(dir))) {
        long pid;
        char rest;
        if (strncmp(entry->d_name, base, n) ||
            sscanf(entry->d_name + n, ".partial-%ld%c", &pid, &rest) != 1 || pid <= 0 ||
            kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        char *path = ram_path_join(*parent ? parent : ".", entry->d_name, &ignored);
        if (path)
            remove_flat_directory(path);
        free(path);
    }
    if (dir)
        closedir(dir);
    free(parent);
}

int ram_staging_open(struct ram_staging *staging, const char *target, bool force,
                     struct ram_err *err)
{
    *staging = (struct ram_staging){0};
    size_t n = strlen(target);
    while (n > 1 && target[n - 1] == '/')
        n--;
    if (n == 0)
        return ram_fail(err, RAM_EUSAGE, "the name of the output directory is empty");
    staging->target = ram_calloc(n + 1, 1, err);
    staging->path = ram_calloc(n + 32, 1, err);
    if (!staging->target || !staging->path) {
        ram_staging_release(staging);
        return RAM_ENOMEM;
    }
    memcpy(staging->target, target, n);
    /* A link to an existing directory stays; what it leads to is replaced. "." has no name of its
     * own to rename either. */
    char *real = realpath(staging->target, NULL);
    if (real) {
        free(staging->target);
        free(staging->path);
        n = strlen(real);
        staging->target = real;
        staging->path = ram_calloc(n + 32, 1, err);
        if (!staging->path) {
            ram_staging_release(staging);
            return RAM_ENOMEM;
        }
    }
    if (!force && access(staging->target, F_OK) == 0) {
        const int status = ram_fail(err, RAM_EEXIST, "%s: exists; --force replaces it", target);
        free(staging->path);
        staging->path = NULL;
        ram_staging_release(staging);
        return status;
    }
    clear_leftovers(staging->target);
    snprintf(staging->path, n + 32, "%s.partial-%ld", staging->target, (long)getpid());
    remove_flat_directory(staging->path);
    if (mkdir(staging->path, 0777)) {
        const int status = ram_fail_errno(err, "%s: cannot create", staging->path);
        free(staging->path);
        staging->path = NULL;
        ram_staging_release(staging);
        return status;
    }
    return RAM_OK;
}

int ram_staging_reopen(struct ram_staging *staging, const char *target, char *path, bool force,
                       struct ram_err *err)
{
    /* The checks and the names of another staging directory, which is then not used. */
    int status = ram_staging_open(staging, target, force, err);

    if (!status)
        remove_flat_directory(staging->path);
    if (!status && mkdir(path, 0777) && errno != EEXIST)
        status = ram_fail_errno(err, "%s: cannot create", path);
    if (status) {
        free(path);
        ram_staging_release(staging);
        return status;
    }
    free(staging->path);
    staging->path = path;
    staging->keep = true;
    return RAM_OK;
}

int ram_staging_commit(struct ram_staging *staging, bool force, struct ram_err *err)
{
    char *old = NULL;
    int status = RAM_OK;

    const int fd = open(staging->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) && errno != EINVAL))
        status = ram_fail_errno(err, "%s: cannot flush the directory", staging->path);
    if (fd >= 0)
        close(fd);
    if (status)
        return status;
    if (force && access(staging->target, F_OK) == 0) {
        const size_t room = strlen(staging->target) + 32;
        old = ram_calloc(room, 1, err);
        if (!old)
            return RAM_ENOMEM;
        snprintf(old, room, "%s.old-%ld", staging->target, (long)getpid());
        if (rename(staging->target, old)) {
            status = ram_fail_errno(err, "%s: cannot move aside", staging->target);
            goto done;
        }
    }
    if (rename(staging->path, staging->target)) {
        status = ram_fail_errno(err, "%s: cannot rename to %s", staging->path, staging->target);
        if (old)
            (void)!rename(old, staging->target);
        goto done;
    }
    free(staging->path);
    staging->path = NULL;
    status = sync_parent(staging->target, err);
    if (old)
        remove_flat_directory(old);
done:
    free(old);
    return status;
}

void ram_staging_release(struct ram_staging *staging)
{
    if (staging->path && !staging->keep)
        remove_flat_directory(staging->path);
    free(staging->path);
    free(staging->target);
    *staging = (struct ram_staging){0};
}
