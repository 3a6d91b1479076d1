/*
 * plan.h - the record of what was decided, one unit for each thing the output format can give
 * its own width: a linear, an embedding, or the stack of a layer's experts of one projection.
 *
 * Here too: what a width costs in bytes, since a plan promises bytes. JSON form: "ram.plan/1".
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
    int bits, group; /* 16 and 0: stored as it is */
    bool scored;
    struct ram_scores scores;
    const char *reason; /* "score>=t16", "protected", "user", ... */
    uint64_t bytes;     /* on disk, scales and biases included */
    /* What bytes is computed from, so that a plan edited by hand still knows its size. n_blocks
     * = 0: not known (a plan from elsewhere), bytes is believed. */
    struct ram_matrices *blocks;
    size_t n_blocks;
    int stored_size; /* bytes a weight at 16 bits */
};

struct ram_share {
    uint64_t parameters, tensors;
};

struct ram_plan {
    struct ram_arena arena;
    const char *method;
    const char *manifest_sha256;
    const char *format; /* "mlx" */
    const char *model_name, *model_type;
    json_t *settings;       /* thresholds, weights, rules; "detected": why auto chose */
    json_t *predicted;      /* what the method predicts, or NULL */
    struct ram_unit *units; /* manifest order of first members */
    size_t n_units;
    size_t *by_name; /* unit numbers in byte order of names (ram_plan_index) */
    struct ram_plan_totals totals;
    double span; /* of the headroom composite, NAN if nothing was scored */
    struct ram_share shares[RAM_N_BITS + 1]; /* by ram_bits_grid, then 16 bits */
    bool has_expert_shares;                  /* what deciding every expert alone would have given */
    struct ram_share expert_shares[RAM_N_BITS + 1];
};

int ram_plan_new(struct ram_plan **out, struct ram_err *err);
int ram_plan_text(const struct ram_plan *plan, char **out, struct ram_err *err);
int ram_plan_parse(struct ram_plan **out, const char *text, size_t size, const char *where,
                   struct ram_err *err);

/* Bytes of a unit at another width, from its blocks. */
uint64_t ram_unit_bytes(const struct ram_unit *unit, int bits, int group);

/* Recomputes totals and shares from the units, after the bytes of every unit whose blocks are
 * known. */
void ram_plan_sum(struct ram_plan *plan);

/* What a method decided is sealed: a digest of every unit's name, bits and group in the settings,
 * as "decided". A plan that was edited since does not match it. */
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

/* The group that a row of cols weights can really have: group, or the next smaller of the grid
 * that divides the row; 0 if none does (the matrix then stays at 16 bits). */
int ram_group_fit(uint64_t cols, int group);

/* Bytes of a stored matrix; bits = 16 (or a group that cannot fit): rows x cols x stored_size.
 * Otherwise codes + a scale and a bias of stored_size bytes for each group. */
uint64_t ram_stored_bytes(const struct ram_stored *stored, int stored_size, int bits, int group);

/* Can a unit have these? bits of the grid with group 32, 64 or 128, or 16 with group 0. */
bool ram_width_valid(int bits, int group);

/* Index in the shares of a plan: that of the grid, RAM_N_BITS for 16. */
int ram_share_index(int bits);

#endif
