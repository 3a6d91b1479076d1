/*
 * config.h - what config.json says of a model, read once and for every stage: sizes, flags, rotary
 * embedding and what its layers are, with the defaults of the model's own class.
 *
 * A family's table (family.h) says which keys its class reads, what an absent or null key means
 * there, and what the loader of outputs makes of the same key. Keys may be in the published
 * spelling or in that of transformers 5 (num_local_experts, rope_parameters, dtype); those of
 * "text_config" count where the top level has none.
 */
#ifndef RAM_ARCH_CONFIG_H
#define RAM_ARCH_CONFIG_H

#include "base/json.h"
#include "base/mem.h"

enum {
    RAM_CONFIG_MAX_LAYERS = 4096,
    RAM_CONFIG_MAX_EXPERTS = 1 << 16,
    RAM_CONFIG_MAX_WIDTH = 1 << 24 /* any dimension of a matrix, the vocabulary included */
};

enum ram_tied { RAM_TIED_UNSAID, RAM_TIED_NO, RAM_TIED_YES };

/* The function of the gate in an MLP. */
enum ram_act { RAM_ACT_SILU, RAM_ACT_RELU, RAM_ACT_RELU2, RAM_ACT_GELU, RAM_ACT_GELU_TANH };

/* The type that config.json asks weights to be cast to. */
enum ram_cast { RAM_CAST_NONE, RAM_CAST_F16, RAM_CAST_BF16, RAM_CAST_F32 };

enum ram_rope_kind {
    RAM_ROPE_DEFAULT,
    RAM_ROPE_LINEAR,
    RAM_ROPE_LLAMA3,
    RAM_ROPE_YARN,
    RAM_ROPE_ALPHA, /* "dynamic" with a fixed alpha, which stretches theta */
    RAM_ROPE_OTHER  /* not computed here; loaders may know it */
};

/* Rotary embedding, with every default filled in. */
struct ram_rope_config {
    enum ram_rope_kind kind;
    const char *name;            /* of the kind, as config.json says */
    double theta;                /* base of the frequencies */
    double partial;              /* part of the dimensions that is rotated */
    double factor;               /* linear, llama3, yarn */
    double context;              /* llama3, yarn: original_max_position_embeddings */
    double low, high;            /* llama3: low_freq_factor, high_freq_factor */
    double alpha;                /* of RAM_ROPE_ALPHA */
    double beta_fast, beta_slow; /* yarn, and the following */
    double mscale, mscale_all;   /* 0: not said */
    double attention_factor;     /* by which cosines and sines are multiplied; 1 but for yarn */
    bool truncate;
};

struct ram_family;

/* Of an unknown family what is absent leaves 0. */
struct ram_config {
    const char *model_type;          /* "qwen3_moe"; "" if config.json does not say */
    const char *architecture;        /* architectures[0], or "" */
    const struct ram_family *family; /* NULL: unknown */
    const char *where;               /* what messages begin with */
    uint64_t unsaid;                 /* a bit for each row of the family's table without a value */
    uint64_t hidden, intermediate, vocab, n_layers, max_positions;
    uint64_t n_heads, n_kv_heads, head_dim;
    bool kv_heads_unsaid;    /* n_kv_heads is the class's own number */
    const char *experts_key; /* the key that says n_experts; NULL: none does */
    uint64_t n_experts, top_k, moe_intermediate, n_shared, n_mtp;
    uint64_t n_group, topk_group; /* experts are chosen from the best groups */
    uint64_t shared_intermediate; /* width of the shared expert; 0: as n_shared says */
    uint64_t linear_k_heads, linear_v_heads, linear_k_dim, linear_v_dim,
        conv_kernel;                                    /* delta rule */
    uint64_t q_lora, kv_lora, qk_nope, qk_rope, v_head; /* MLA; q_lora 0: a plain q_proj */
    double norm_eps, routed_scale;
    bool attention_bias, output_bias, mlp_bias, qk_norm, norm_topk, rope_interleave;
    enum ram_act act;
    enum ram_tied tied;
    struct ram_rope_config rope;
    bool has_sliding_rope; /* layers with a window are turned as sliding_rope says */
    struct ram_rope_config sliding_rope;
    uint64_t sliding_window; /* 0: no layer has one */
    bool may_slide;          /* config.json gives a window, whether a layer has it or not */
    bool has_layer_types;    /* config.json says of each layer whether it slides */
    bool *dense;             /* n_layers: the layer has no experts; in the arena */
    bool *slides;            /* n_layers: the layer sees the last sliding_window positions only */
    bool *turns;             /* n_layers: queries and keys are turned by position */
    bool *recurs;            /* n_layers: a delta rule stands in place of attention */
    bool gains_whole;        /* the tensors of RAM_PLACE_GAIN hold the whole factor */
    enum ram_cast cast;
    const char *quant_method; /* quantization_config.quant_method, or NULL */
    /* Why the model cannot be computed although its shapes are known: a key that we do not
     * implement, or a value that makes no sense. status RAM_OK: it can. */
    struct ram_err refusal;
    bool rope_refused;       /* the reason is the rotary embedding, and all else is supported */
    const char *strange_key; /* the reason is this key, which no family's class reads; or NULL */
};

#endif
