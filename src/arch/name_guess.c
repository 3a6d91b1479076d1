/*
 * name_guess.c - reads role, layer and expert from a tensor's name, in the same way for every
 * architecture, so that unknown architectures can be inspected, analysed and allocated, too.
 */
#include "arch/name_guess.h"

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
static enum ram_role role_of(struct part module, bool is_shared)
{
    static const struct {
        enum ram_role role, shared;
        const char *const names[6];
    } roles[] = {
        {RAM_ROLE_EMBED,
         RAM_ROLE_EMBED,
         {"embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embed_in"}},
        {RAM_ROLE_HEAD, RAM_ROLE_HEAD, {"lm_head", "embed_out", "output_layer"}},
        {RAM_ROLE_Q, RAM_ROLE_Q, {"q_proj", "wq", "query"}},
        {RAM_ROLE_K, RAM_ROLE_K, {"k_proj", "wk", "key"}},
        {RAM_ROLE_V, RAM_ROLE_V, {"v_proj", "wv", "value"}},
        {RAM_ROLE_O, RAM_ROLE_O, {"o_proj", "wo", "out_proj"}},
        {RAM_ROLE_Q_A, RAM_ROLE_Q_A, {"q_a_proj", "wq_a"}},
        {RAM_ROLE_Q_B, RAM_ROLE_Q_B, {"q_b_proj", "wq_b"}},
        {RAM_ROLE_KV_A, RAM_ROLE_KV_A, {"kv_a_proj_with_mqa", "wkv_a"}},
        {RAM_ROLE_KV_B, RAM_ROLE_KV_B, {"kv_b_proj", "wkv_b", "embed_q", "unembed_out"}},
        {RAM_ROLE_GATE, RAM_ROLE_SHARED_GATE, {"gate_proj", "w1"}},
        {RAM_ROLE_UP, RAM_ROLE_SHARED_UP, {"up_proj", "w3", "gate_up_proj"}},
        {RAM_ROLE_DOWN, RAM_ROLE_SHARED_DOWN, {"down_proj", "w2"}},
    };

    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (is_one_of(module, roles[i].names))
            return is_shared ? roles[i].shared : roles[i].role;
    if (is(module, "gate") || contains(module, "router"))
        return RAM_ROLE_ROUTER;
    return contains(module, "norm") ? RAM_ROLE_NORM : RAM_ROLE_OTHER;
}

struct ram_name ram_name_parse(const char *name)
{
    static const char *const layers[] = {"layers", "h", "blocks", "block", NULL};
    static const char *const shared_words[] = {"shared_experts", "shared_expert", "shared_mlp",
                                               NULL};
    static const char *const towers[] = {"visual",      "vision_tower",          "vision_model",
                                         "audio_tower", "multi_modal_projector", NULL};
    /* The last three are how GPTQ and AWQ, compressed-tensors, and MLX name codes and scales. */
    static const char *const weights[] = {"weight", "qweight", "weight_packed",
                                          "scales", "biases",  NULL};
    struct ram_name out = {.role = RAM_ROLE_OTHER, .layer = -1, .expert = -1};
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
        if (is(parts[i], "switch_mlp") || (is(parts[i], "experts") && next < 0)) {
            out.stack_at = (size_t)(parts[i].at - name);
            stacked = true;
        }
        shared = shared || is_one_of(parts[i], shared_words);
        tower = tower || is_one_of(parts[i], towers);
    }
    const struct part last = parts[n - 1];
    const bool weight = is_one_of(last, weights);
    const struct part module = n > 1 && (weight || is(last, "bias")) ? parts[n - 2] : last;
    out.is_bias = is(last, "bias") || contains(last, "correction_bias");
    if (out.is_bias)
        out.role = RAM_ROLE_BIAS;
    else if (!tower && (weight || stacked))
        out.role = role_of(module, shared);
    if (stacked && !out.is_bias)
        out.stack = is(module, "gate_up_proj")   ? RAM_STACK_GATE_UP
                    : out.role != RAM_ROLE_OTHER ? RAM_STACK_ONE
                                                 : RAM_STACK_NONE;
    return out;
}

bool ram_name_is_mtp(const char *name)
{
    static const char prefix[] = "mtp.";
    return !strncmp(name, prefix, strlen(prefix));
}

const char *const ram_names_scored_only[] = {"embed_tokens", "lm_head", "mlp\\.gate(\\.|$)",
                                             "router", NULL};
const char *const ram_names_always[] = {"norm",
                                        "e_score_correction_bias",
                                        "vision_model|vision_tower|visual",
                                        "multi_modal_projector",
                                        "pos(ition(al)?)?_embed",
                                        "class_embed|cls_token",
                                        "patch_embed",
                                        NULL};
