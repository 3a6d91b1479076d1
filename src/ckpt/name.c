/*
 * name.c - reads role, layer and expert from a tensor's name, in the same way for every
 * architecture, so that unknown architectures can be inspected, analysed and allocated, too.
 */
#include "ckpt/arch.h"

#include <string.h>

/* One of the parts between the dots. */
struct part {
    const char *at;
    size_t size;
};

enum { MAX_PARTS = 32, MAX_NUMBER = 1000000 };

static bool is(struct part part, const char *word)
{
    return part.size == strlen(word) && !memcmp(part.at, word, part.size);
}

static bool is_one_of(struct part part, const char *const *words)
{
    for (; *words; words++)
        if (is(part, *words))
            return true;
    return false;
}

static bool contains(struct part part, const char *word)
{
    const size_t n = strlen(word);

    for (size_t i = 0; i + n <= part.size; i++)
        if (!memcmp(part.at + i, word, n))
            return true;
    return false;
}

/* A part that is a number, else -1. */
static int number(struct part part)
{
    int value = 0;

    for (size_t i = 0; i < part.size; i++) {
        if (part.at[i] < '0' || part.at[i] > '9' || value > MAX_NUMBER)
            return -1;
        value = value * 10 + (part.at[i] - '0');
    }
    return part.size ? value : -1;
}

/* Splits at dots; of a very long name the first parts. */
static size_t split(const char *name, struct part parts[MAX_PARTS])
{
    size_t n = 0;

    while (n < MAX_PARTS) {
        const size_t size = strcspn(name, ".");
        parts[n++] = (struct part){name, size};
        if (!name[size])
            break;
        name += size + 1;
    }
    return n;
}

/* The module's own name to its role: what all the families call it. */
static const char *role_of(struct part module, bool shared)
{
    static const struct {
        const char *role, *shared;
        const char *const names[6];
    } roles[] = {
        {"embed", NULL, {"embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embed_in"}},
        {"head", NULL, {"lm_head", "embed_out", "output_layer"}},
        {"q", NULL, {"q_proj", "wq", "query"}},
        {"k", NULL, {"k_proj", "wk", "key"}},
        {"v", NULL, {"v_proj", "wv", "value"}},
        {"o", NULL, {"o_proj", "wo", "out_proj"}},
        {"q_a", NULL, {"q_a_proj", "wq_a"}},
        {"q_b", NULL, {"q_b_proj", "wq_b"}},
        {"kv_a", NULL, {"kv_a_proj_with_mqa", "wkv_a"}},
        {"kv_b", NULL, {"kv_b_proj", "wkv_b", "embed_q", "unembed_out"}},
        {"gate", "shared_gate", {"gate_proj", "w1"}},
        {"up", "shared_up", {"up_proj", "w3", "gate_up_proj"}},
        {"down", "shared_down", {"down_proj", "w2"}},
    };

    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (is_one_of(module, roles[i].names))
            return shared && roles[i].shared ? roles[i].shared : roles[i].role;
    if (is(module, "gate") || contains(module, "router"))
        return "router";
    if (contains(module, "norm"))
        return "norm";
    return "other";
}

struct ram_name ram_arch_name(const char *name)
{
    static const char *const layers[] = {"layers", "h", "blocks", "block", NULL};
    static const char *const shared_words[] = {"shared_experts", "shared_expert", "shared_mlp",
                                               NULL};
    static const char *const towers[] = {"visual",      "vision_tower",          "vision_model",
                                         "audio_tower", "multi_modal_projector", NULL};
    /* The last three are how GPTQ and AWQ, compressed-tensors, and MLX name codes and scales. */
    static const char *const weights[] = {"weight", "qweight", "weight_packed",
                                          "scales", "biases",  NULL};
    struct ram_name out = {.role = "other", .layer = -1, .expert = -1};
    struct part parts[MAX_PARTS];
    bool shared = false, tower = false, stacked = false;

    const size_t n = split(name, parts);
    for (size_t i = 0; i < n; i++) {
        const int next = i + 1 < n ? number(parts[i + 1]) : -1;
        if (next >= 0 && out.layer < 0 && is_one_of(parts[i], layers)) {
            out.layer = next;
        } else if (next >= 0 && out.expert < 0 && is(parts[i], "experts")) {
            out.expert = next;
            out.expert_at = (size_t)(parts[i + 1].at - name);
            out.expert_end = out.expert_at + parts[i + 1].size;
        }
        stacked = stacked || is(parts[i], "switch_mlp") || (is(parts[i], "experts") && next < 0);
        shared = shared || is_one_of(parts[i], shared_words);
        tower = tower || is_one_of(parts[i], towers);
    }
    const struct part last = parts[n - 1];
    const bool weight = is_one_of(last, weights);
    const struct part module = n > 1 && (weight || is(last, "bias")) ? parts[n - 2] : last;
    out.is_bias = is(last, "bias") || contains(last, "correction_bias");
    if (out.is_bias)
        out.role = "bias";
    else if (!tower && (weight || stacked))
        out.role = role_of(module, shared);
    if (stacked && !out.is_bias)
        out.stack = is(module, "gate_up_proj")  ? RAM_STACK_GATE_UP
                    : strcmp(out.role, "other") ? RAM_STACK_ONE
                                                : RAM_STACK_NONE;
    return out;
}
