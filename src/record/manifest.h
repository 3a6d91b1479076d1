/*
 * manifest.h - the record of what was measured, one entry for each matrix as the method sees it.
 *
 * An entry is usually a tensor of the checkpoint; of a fused expert stack every expert's
 * projection is one. Strings live in the manifest's arena. JSON form: "ram.manifest/1".
 */
#ifndef RAM_RECORD_MANIFEST_H
#define RAM_RECORD_MANIFEST_H

#include "base/json.h"
#include "base/mem.h"
#include "codec/form.h"
#include "record/limits.h"
#include "record/sensitivity_record.h"

enum { RAM_MAX_DIMS = 8, RAM_MAX_STORED = 2 };

enum ram_skip {
    RAM_SKIP_NONE,
    RAM_SKIP_1D,        /* "1d": at most one dimension above 1 */
    RAM_SKIP_TINY,      /* "tiny": under 1,024 parameters */
    RAM_SKIP_NOT_WEIGHT /* "not-weight": integers, FP8 scales, buffers; and what the output drops:
                         * a second head beside a tied one, MTP layers */
};

struct ram_metrics {
    double svd; /* raw values of the method, docs/metrics.md; NAN: left out, with opts->no_svd */
    double kurtosis, output, error;
};

struct ram_stats {
    double mean, std, rms, min, max;
};

/* A matrix as the output format holds it: its rows are what forms have to fit. */
struct ram_stored {
    uint64_t rows, cols;
};

struct ram_entry {
    const char *name; /* as in the checkpoint */
    uint64_t shape[RAM_MAX_DIMS];
    int n_dims;
    const char *dtype; /* as in the checkpoint: "BF16", "F8_E4M3", ... */
    uint64_t parameters;
    const char *file;
    const char *role;  /* embed head norm q k v o gate up down router ... (arch/role.h) */
    int layer, expert; /* -1: none */
    const char *unit;  /* the name under which a plan decides it */
    enum ram_skip skip;
    /* How the output holds it. n_stored = 0: not at all (dropped). kv_b_proj is stored as two. */
    struct ram_stored stored[RAM_MAX_STORED];
    int n_stored;
    int stored_size; /* bytes a weight when it is not quantised: 2 for BF16 */
    bool measured;   /* metrics holds figures; the two others do unless they are NAN */
    struct ram_metrics metrics;
    struct ram_stats stats;
    /* The sum of squared errors in each form of the table, or in what takes its place; NAN: the
     * matrix then stays at 16 bits, or it was not measured. */
    double errors[RAM_N_FORMS];
    /* Not written, for a look at coded checkpoints: what it is in the source. */
    struct {
        uint64_t bytes;
        int bits, group; /* of a code or a float; group 0: none */
        bool scales;     /* of FP8 weights: applied when these are read */
        bool part;       /* scales, biases or tables of another tensor: no weights of its own */
    } source;
};

/* Whether it has everything that scores are computed from. */
bool ram_entry_scored(const struct ram_entry *entry);

/* "1d", "tiny", "not-weight"; NULL for RAM_SKIP_NONE. */
const char *ram_skip_name(enum ram_skip skip);

/* Weights that the output holds of an entry: 0 if it is dropped. */
uint64_t ram_entry_stored(const struct ram_entry *entry);

struct ram_manifest_file {
    const char *name;
    uint64_t bytes;
    const char *header_sha256;
};

struct ram_manifest {
    struct ram_arena arena;
    const char *sha256;  /* of the text it was read from; NULL if it never was a text */
    const char *version; /* of the program that measured */
    const char *model_name, *model_type, *architecture;
    uint64_t parameters, bytes; /* of the checkpoint's weight files */
    struct ram_manifest_file *files;
    size_t n_files;
    json_t *config;   /* the keys of config.json that matter to later stages */
    json_t *settings; /* everything that could change a figure */
    struct ram_sensitivity_record *sensitivities; /* what probing the model found, or NULL */
    struct ram_entry *entries;                    /* checkpoint order: by natural order of names */
    size_t n_entries;
    /* Not written: how the source is coded (NULL: floats), whether it is so that nothing can be
     * decided for it, and why it cannot be converted (NULL: it can). */
    const char *coding, *obstacle;
    bool coded;
};

/* What probing found of a unit, in nats a token; NAN: it was not probed. */
double ram_manifest_sensitivity(const struct ram_manifest *manifest, const char *unit);

/* An empty manifest; strings for it come from ram_arena_strdup(&m->arena, ...). */
int ram_manifest_new(struct ram_manifest **out, struct ram_err *err);

/* JSON text of a manifest (one line a tensor, so that diff and grep work), and the other way,
 * validating everything; where names the source. Unknown keys are allowed and forgotten. */
int ram_manifest_text(const struct ram_manifest *manifest, char **out, struct ram_err *err);
int ram_manifest_parse(struct ram_manifest **out, const char *text, size_t size, const char *where,
                       struct ram_err *err);

#endif
