/*
 * file.h - files as bytes: mapped for reading; for writing whole or absent.
 *
 * Outputs are written under a temporary name in the same directory, flushed to the disk and
 * renamed, so that a kill or a full disk never leaves something that looks finished.
 */
#ifndef RAM_BASE_FILE_H
#define RAM_BASE_FILE_H

#include "base/err.h"

struct ram_map {
    const uint8_t *data; /* page aligned; NULL for an empty file */
    size_t size;
};

/*
 * Maps a regular file read-only. RAM_EIO names the file. RAM_EFORMAT: what lies there is a Git LFS
 * pointer, which a clone without git-lfs leaves in place of a large file; the message says how to
 * get the file. ram_file_read refuses pointers, too.
 */
int ram_map_open(struct ram_map *map, const char *path, struct ram_err *err);
void ram_map_close(struct ram_map *map);

/* RAM_EFORMAT if these bytes, the whole of a file, are a Git LFS pointer. */
int ram_file_check_pointer(const char *path, const void *data, size_t size, struct ram_err *err);

/* Lets go of the resident pages that lie wholly inside [offset, offset + size): they come back
 * from the file when touched again. Keeps a pass over a mapping within bounded memory. */
void ram_map_forget(const struct ram_map *map, size_t offset, size_t size);

/* Asks the system to read [offset, offset + size) ahead. */
void ram_map_ahead(const struct ram_map *map, size_t offset, size_t size);

/* Reads a whole file of at most max bytes into memory (0-terminated); RAM_ERANGE beyond. */
int ram_file_read(const char *path, size_t max, char **data, size_t *size, struct ram_err *err);

/* Writes a file whole or not at all. RAM_EEXIST if it is there and force is false. */
int ram_file_write(const char *path, const void *data, size_t size, bool force,
                   struct ram_err *err);

/* A file being written front to back; errors are sticky and reported by _close. */
struct ram_sink {
    int fd;
    uint64_t written;
    char *path; /* own copy, for messages */
};

/* again: the file may be there, and keeps what is in it. */
int ram_sink_open(struct ram_sink *sink, const char *path, bool again, struct ram_err *err);
int ram_sink_write(struct ram_sink *sink, const void *data, size_t size, struct ram_err *err);
/* Gives a file its final size, so that a full disk is known before the work is done. */
int ram_sink_reserve(struct ram_sink *sink, uint64_t size, struct ram_err *err);
/* Writes at a place of its own, whatever was written before; from any thread. */
int ram_sink_put(const struct ram_sink *sink, uint64_t offset, const void *data, size_t size,
                 struct ram_err *err);
/* Lets the system begin to write to disk what it holds in memory, so that _close waits less. */
void ram_sink_push(const struct ram_sink *sink);
/* Flushes to disk and closes. Safe on a zeroed or already closed sink. */
int ram_sink_close(struct ram_sink *sink, struct ram_err *err);
/* Closes without a promise, on the way out of a failure. */
void ram_sink_abandon(struct ram_sink *sink);

/* A directory being made: files are written into `path`, and _commit gives it its name. */
struct ram_staging {
    char *target; /* the name it will have */
    char *path;   /* "<target>.partial-<pid>", beside it */
    bool keep;    /* what was staged stays if it is not committed */
};

/* RAM_EEXIST if target is there and force is false; a leftover of a dead process is cleared. */
int ram_staging_open(struct ram_staging *staging, const char *target, bool force,
                     struct ram_err *err);
/* The same with `path` for the staged files, which are then kept unless they are committed: those
 * of an earlier run may be there. */
int ram_staging_reopen(struct ram_staging *staging, const char *target, char *path, bool force,
                       struct ram_err *err);
/* fsync of the directory, then rename; an existing target (force) is replaced. */
int ram_staging_commit(struct ram_staging *staging, bool force, struct ram_err *err);
/* Removes what was staged unless it was committed, or is kept. */
void ram_staging_release(struct ram_staging *staging);

/* Removes the plain files of a directory that `stays` does not want to stay, and the directory if
 * then nothing is in it. */
void ram_directory_clear(const char *path, bool (*stays)(void *ctx, const char *name), void *ctx);

/* "dir/name", to be freed. NULL with RAM_ENOMEM. */
char *ram_path_join(const char *dir, const char *name, struct ram_err *err);

#endif
