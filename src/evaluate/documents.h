/*
 * documents.h - the questions of a choice task, from a file: a text that goes before, some
 * continuations, and which of them is right. docs/evaluation.md lists the forms that are read.
 */
#ifndef RAM_EVALUATE_DOCUMENTS_H
#define RAM_EVALUATE_DOCUMENTS_H

#include "base/exec.h"
#include "evaluate/question.h"

/* Zeroed storage is empty. */
struct ram_documents {
    struct ram_arena arena;
    struct ram_document *items;
    size_t n, cap;
    char sha256[RAM_SHA256_HEX]; /* of the file */
};

struct ram_documents_opts {
    enum ram_choice_task task;
    size_t limit;                /* read only the first `limit` documents; 0: all */
    const struct ram_exec *exec; /* receives notes of what was skipped; may be NULL */
};

/*
 * JSON documents one after the other (a line each, or printed over several lines), or one array of
 * them; or llama.cpp's text. Blank lines and documents without an answer are skipped.
 * RAM_EFORMAT and RAM_ERANGE name file and line.
 */
int ram_documents_read(struct ram_documents *out, const char *path,
                       const struct ram_documents_opts *opts, struct ram_err *err);

/* The same from the bytes of a file; where: what messages begin with. */
int ram_documents_parse(struct ram_documents *out, const char *bytes, size_t size,
                        const struct ram_documents_opts *opts, const char *where,
                        struct ram_err *err);
void ram_documents_release(struct ram_documents *documents);

#endif
