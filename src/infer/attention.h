/* attention.h - causal softmax attention of many queries over keys that lie in up to two runs. */
#ifndef RAM_INFER_ATTENTION_H
#define RAM_INFER_ATTENTION_H

#include "kern/gemm.h"

/* Keys and values of consecutive positions, all heads of a position in one row. */
struct ram_keys {
    const float *k, *v; /* [n, k_stride], [n, v_stride] */
    size_t n;
};

struct ram_attention {
    size_t n_heads, n_kv_heads, qk_dim, v_dim;
    size_t window; /* the number of keys that a query sees at most, its own included; 0: all */
    float scale;
    enum ram_gemm_mode mode;
};

/*
 * Queries q [n, n_heads * qk_dim] stand at the last n positions of the keys (first run, then
 * second; the second may be empty); query i sees the keys up to its own. out [n, n_heads *
 * v_dim]. Work is cut by head and by tile of queries, scores of one tile at a time.
 */
int ram_attention_apply(const struct ram_attention *a, const float *q, size_t n,
                        const struct ram_keys keys[2], float *out, struct ram_pool *pool,
                        struct ram_err *err);

#endif
