/*
 * plan.h - the record of what was decided, one unit for each thing the output format can give
 * its own form: a linear, an embedding, or the stack of a layer's experts of one projection. JSON
 * form: "ram.plan/1".
 */
#ifndef RAM_RECORD_PLAN_H
#define RAM_RECORD_PLAN_H

#include "record/manifest.h"

struct ram_scores {
    double svd, kurtosis, output, error, composite;
};

/* A number of equal matrices of a unit, as the output holds them. */
struct ram_matrices {
    uint64_t count, rows, cols;
};

struct ram_unit {
    const char *name;
    const char *role;
    int layer;        /* -1: none */
    uint64_t members; /* entries it decides */
    uint64_t parameters;
    const struct ram_form *form; /* RAM_FORM_16: stored as it is */
    bool scored;
    struct ram_scores scores;
    const char *reason; /* "score>=t16", "protected", "user", ... */
    uint64_t bytes;     /* on disk, scales and biases included */
    /* What bytes is computed from, so that a plan edited by hand still knows its size. n_blocks
     * = 0: not known (a plan from elsewhere), bytes is believed. */
    struct ram_matrices *blocks;
    size_t n_blocks;
    int stored_size; /* bytes a weight at 16 bits */
    /* To compute a token, `read` of `parts` equal parts are read: of experts those that a router
     * chooses, of an embedding that is not the head one row. parts 0: everything is. */
    uint64_t read, parts;
};

struct ram_share {
    uint64_t parameters, tensors;
};

struct ram_plan {
    struct ram_arena arena;
    const char *method;
    const char *manifest_sha256;
    const char *format; /* id; what schema 1 means where it says nothing is "mlx" */
    const char *model_name, *model_type;
    json_t *settings;       /* thresholds, weights, rules; "detected": why auto chose */
    json_t *predicted;      /* what the method predicts, or NULL */
    struct ram_unit *units; /* manifest order of first members */
    size_t n_units;
    size_t *by_name; /* unit numbers in byte order of names (ram_plan_index) */
    struct ram_totals totals;
    double span; /* of the headroom composite, NAN if nothing was scored */
    struct ram_share shares[RAM_MAX_BITS + 1]; /* by the width of codes */
    bool has_expert_shares; /* what deciding every expert alone would have given */
    struct ram_share expert_shares[RAM_MAX_BITS + 1];
};

int ram_plan_new(struct ram_plan **out, struct ram_err *err);
int ram_plan_text(const struct ram_plan *plan, char **out, struct ram_err *err);
int ram_plan_parse(struct ram_plan **out, const char *text, size_t size, const char *where,
                   struct ram_err *err);

/* Bytes of a unit in any form, from its blocks. */
uint64_t ram_unit_bytes(const struct ram_unit *unit, const struct ram_form *form);

/* Of so many bytes of the unit, those that are read for a token. */
uint64_t ram_unit_read(const struct ram_unit *unit, uint64_t bytes);

/* Recomputes totals and shares from the units, after the bytes of every unit whose blocks are
 * known. */
void ram_plan_sum(struct ram_plan *plan);

/* What a method decided is sealed: a digest of every unit's name and form in the settings, as
 * "decided". A plan that was edited since does not match it. */
int ram_plan_seal(struct ram_plan *plan, struct ram_err *err);
enum ram_plan_origin {
    RAM_PLAN_AS_DECIDED,
    RAM_PLAN_EDITED,
    RAM_PLAN_UNSEALED /* it holds no such digest: it was made by hand, or by an earlier version */
};
int ram_plan_origin(const struct ram_plan *plan, enum ram_plan_origin *out, struct ram_err *err);

/* A figure that the plan predicts: "kld", "relative_error", ...; NAN if it does not. */
double ram_plan_predicted(const struct ram_plan *plan, const char *key);

/* Sorts the names. RAM_EFORMAT if two units share one. */
int ram_plan_index(struct ram_plan *plan, const char *where, struct ram_err *err);

/* NULL if no unit has that name. Logarithmic in the units once they are indexed. */
const struct ram_unit *ram_plan_find(const struct ram_plan *plan, const char *unit);

/* One of several plans of one model. */
struct ram_candidate {
    char label[32]; /* "v3-opt", "4-bit g128" */
    bool uniform;
    struct ram_plan *plan;
    /* Of a method: the uniform candidate that loses least in no more bytes. NULL: there is none. */
    const struct ram_candidate *rival;
};

#endif
