/*
 * output.h - is this a place where an output may be written? Asked before any work is done.
 *
 * An output directory replaces what stood there under its name, so with `force` a great deal could
 * be lost by one wrong argument. Only an empty directory and one that the caller recognises as an
 * earlier output are ever replaced, never a directory that holds, or lies in, what is being read.
 */
#ifndef RAM_BASE_OUTPUT_H
#define RAM_BASE_OUTPUT_H

#include "base/err.h"

/* What is being read, by path; directories and files alike. */
struct ram_inputs {
    const char *const *paths;
    size_t n;
};

/*
 * A file: not a directory, not a dangling link, not one of the inputs, in a directory that exists
 * and can be written to. RAM_EEXIST if something is there and force is false.
 */
int ram_output_check_file(const char *path, const struct ram_inputs *inputs, bool force,
                          struct ram_err *err);

/*
 * A directory: the same; and it neither is an input, nor lies in one, nor holds one, however either
 * is spelled or linked. ours(path) says whether an existing one is an earlier output; NULL: none
 * is.
 */
int ram_output_check_dir(const char *path, const struct ram_inputs *inputs, bool force,
                         bool (*ours)(const char *path), struct ram_err *err);

/* RAM_EIO with both sizes if the file system that will hold path has less than `bytes` free. A file
 * system that does not say how much it has passes. what: "the weight files". */
int ram_output_check_space(const char *path, const char *what, uint64_t bytes, struct ram_err *err);

/* "1.68 MB", "6.44 GB", "12 B": decimal units, for messages. Returns text. */
enum { RAM_SIZE_TEXT = 24 };
const char *ram_size_text(double bytes, char text[RAM_SIZE_TEXT]);

/* The same, never below what is meant: a minimum that a reader can type. */
const char *ram_size_text_up(double bytes, char text[RAM_SIZE_TEXT]);

/* In the units that a person gave `like` in: binary for 16GiB, decimal for 16GB. */
const char *ram_size_text_like(double bytes, uint64_t like, char text[RAM_SIZE_TEXT]);

#endif
