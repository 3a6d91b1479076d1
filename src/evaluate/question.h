/* question.h - one question of a choice task, and how it is read from one JSON object. */
#ifndef RAM_EVALUATE_QUESTION_H
#define RAM_EVALUATE_QUESTION_H

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

enum { RAM_MAX_CHOICES = 64 };

enum ram_choice_task { RAM_ARC_CHALLENGE, RAM_HELLASWAG };

struct ram_document {
    const char *query;
    const char **choices;
    size_t n_choices, gold;
    char sha256[RAM_SHA256_HEX]; /* of all that the file says of it, to find equal ones */
};

/* Where a document comes from: texts go to the arena, messages begin with where. */
struct ram_document_source {
    struct ram_arena *arena;
    enum ram_choice_task task;
    const char *where;
};

/* out->sha256 stays empty where strict JSON cannot say what the object holds (NaN). *answered:
 * false if the file keeps the answer to itself, as test splits do; the document is then of no use.
 * RAM_EFORMAT names the member that is missing or wrong, and what is there. */
int ram_document_from_json(const struct ram_document_source *source, const json_t *object,
                           struct ram_document *out, bool *answered, struct ram_err *err);

/* Allocates document->choices. */
int ram_document_choices(const struct ram_document_source *source, struct ram_document *document,
                         size_t n, struct ram_err *err);

/* The index of the right choice: an integer, or its digits. */
int ram_document_gold(const struct ram_document_source *source, const json_t *value,
                      const char *key, struct ram_document *document, struct ram_err *err);

/* A sentence of HellaSwag, cleaned as the harness cleans it. */
int ram_document_clean(const struct ram_document_source *source, const char *text, const char **out,
                       struct ram_err *err);

#endif
