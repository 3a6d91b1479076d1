/*
 * score.h - the record of what an evaluation found: results, and everything needed to repeat it.
 *
 * Results differ by task and are kept as JSON; code that shows or compares scores reads the members
 * that the interface "ram.score/1" (docs/evaluation.md) names. Per-item values (a window's NLL, a
 * question's outcome) stay in the score, so that two scores can be compared in pairs.
 */
#ifndef RAM_RECORD_SCORE_H
#define RAM_RECORD_SCORE_H

#include "base/json.h"
#include "base/mem.h"

struct ram_score_model {
    const char *path;
    uint64_t bytes;            /* of the weight files; 0: there is no such model */
    double effective_bits;     /* bytes x 8 / parameters that the architecture has */
    const char *header_sha256; /* of all headers' digests, in order of file names */
};

struct ram_score {
    struct ram_arena arena;
    const char *version; /* of the program that evaluated */
    const char *task;    /* wikitext, text, arc_challenge, hellaswag */
    struct ram_score_model model, reference;
    json_t *settings; /* paths, digests, seeds, lengths */
    json_t *machine;  /* cpu, threads, kernel */
    json_t *results;  /* see docs/evaluation.md */
    uint64_t peak_memory_bytes;
    double seconds, tokens_per_second;
};

/* What a score may be compared with, and what a test in pairs says of the two. */
struct ram_pairing {
    /* The first score of the same task that was run with the same settings on the same data; its
     * own index if it is that one itself. */
    size_t base;
    /* Where base is itself, and an earlier score has the same task: that one, in what this one
     * differs from it ("seq_len 512"), and the same as a sentence's part. */
    size_t unlike;
    char label[48], difference[256];
    bool same_windows;        /* same text, same windows: the first three are set */
    double ppl_change;        /* PPL / PPL of the other - 1 */
    double ppl_low, ppl_high; /* its 95 % interval */
    bool same_documents;      /* same documents in the same order */
    uint64_t n_lost, n_won;   /* right before and wrong now; wrong before and right now */
    double p_value;           /* McNemar, on acc_norm */
};

int ram_score_new(struct ram_score **out, struct ram_err *err);
void ram_score_free(struct ram_score *score);

int ram_score_text(const struct ram_score *score, char **out, struct ram_err *err);
int ram_score_parse(struct ram_score **out, const char *text, size_t size, const char *where,
                    struct ram_err *err);

#endif
