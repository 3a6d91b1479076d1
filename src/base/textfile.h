/*
 * textfile.h - text files from users: texts to evaluate on, questions, calibration texts.
 *
 * They are read as Python reads a file in text mode with encoding="utf-8-sig": a byte order mark
 * is left out, "\r\n" and "\r" are line ends like "\n", and bytes that are not UTF-8 are an error.
 * Compressed, columnar and other binary files and UTF-16 are refused by the name of what they are,
 * since a perplexity of their bytes would mean nothing.
 */
#ifndef RAM_BASE_TEXTFILE_H
#define RAM_BASE_TEXTFILE_H

#include "base/err.h"
#include "base/exec.h"
#include "base/hash.h"

enum ram_textfile_use {
    RAM_TEXTFILE_PLAIN,   /* running text; half a character at its end is left out */
    RAM_TEXTFILE_RECORDS, /* documents, in JSON or otherwise */
    /* The exact text, for tokenizing: a byte order mark and line ends are kept, and bytes that are
     * not UTF-8 are only counted. */
    RAM_TEXTFILE_VERBATIM
};

struct ram_textfile {
    char *text; /* 0-terminated */
    size_t size;
    size_t file_size;
    char sha256[RAM_SHA256_HEX]; /* of the bytes of the file, before anything was left out */
};

/*
 * path: a file, a pipe, or "-" for the standard input; at most max bytes. run (may be NULL) is told
 * in a notice what was left out or changed. RAM_EFORMAT: not text, or empty (not if verbatim).
 */
int ram_textfile_read(struct ram_textfile *out, const char *path, size_t max,
                      enum ram_textfile_use use, const struct ram_exec *exec, struct ram_err *err);

/* The same from bytes, whose ownership passes on (0-terminated, from malloc). where: what messages
 * begin with. */
int ram_textfile_take(struct ram_textfile *out, char *bytes, size_t size, const char *where,
                      enum ram_textfile_use use, const struct ram_exec *exec, struct ram_err *err);
void ram_textfile_release(struct ram_textfile *file);

#endif
