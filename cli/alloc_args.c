/* alloc_args.c - see alloc_args.h. */
#include "alloc_args.h"

#include "message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct alloc_args, member)
const struct opt alloc_size_table[] = {
    {"bpw", 0, OPT_POSITIVE, AT(opts.bpw), "BITS",
     "average bits per weight, counting every byte of the weight files (default: 4.5)", NULL},
    {"size", 0, OPT_SIZE, AT(opts.size), "SIZE",
     "at most this size of all weight files together, such as 5GB or 6GiB", NULL},
    {"fit", 0, OPT_SIZE, AT(opts.fit), "SIZE",
     "memory of the machine that will run the model, such as 16GiB: 75 % of it, less the KV cache "
     "for --context tokens and activations, is left for the weights",
     NULL},
    {"context", 0, OPT_COUNT, AT(opts.context), "N",
     "with --fit: the number of tokens that the KV cache must hold (default: 8192)", NULL},
    {"bytes-per-token", 0, OPT_SIZE, AT(opts.bytes_per_token), "SIZE",
     "besides, at most so many bytes of weights are read to compute a token, which bounds its "
     "time: "
     "of a layer's experts those that its router chooses count",
     NULL},
    {0},
};

const struct opt alloc_args_table[] = {
    {"method", 0, OPT_TEXT, AT(opts.method), "M",
     "budget: the least predicted divergence at a given size; uniform: one width; v1, v2, v3, "
     "v2-opt, v3-opt: by scores and thresholds; auto: v2 for mixtures of experts, else v3-opt "
     "(default: budget if a size is given, and of quantize; else auto)",
     NULL},
    {"bits", 0, OPT_INT, AT(opts.bits), "B", "uniform: 2, 3, 4, 5, 6 or 8 (default: 4)", NULL},
    {"group", 0, OPT_INT, AT(opts.group), "G",
     "uniform: how many weights share a scale: 32, 64 or 128 (default: 128)", NULL},
    {"keep-embeddings", 0, OPT_FLAG, AT(opts.keep_embeddings), NULL,
     "uniform: keep embeddings and head at 16 bits", NULL},
    {"set", 0, OPT_LIST, AT(set), "RULE",
     "REGEX=BITS[gGROUP], such as 'down_proj=6g64': takes precedence over every other rule; the "
     "first match counts (repeatable)",
     NULL},
    {"protect", 0, OPT_LIST, AT(protect), "REGEX",
     "names that stay at 16 bits; replaces the default list (repeatable)", NULL},
    {"sensitive", 0, OPT_LIST, AT(sensitive), "REGEX",
     "names that get at least 8 bits (repeatable)", NULL},
    {"t2", 0, OPT_THRESHOLD, AT(opts.t2), "T",
     "v1 to v3-opt: a score at or below T gives 2 bits; or off", NULL},
    {"t8", 0, OPT_THRESHOLD, AT(opts.t8), "T",
     "v1 to v3-opt: a score of at least T gives 8 bits; or off", NULL},
    {"t16", 0, OPT_THRESHOLD, AT(opts.t16), "T",
     "v1 to v3-opt: a score of at least T keeps 16 bits; or off", NULL},
    {"search", 0, OPT_FLAG, AT(opts.search), NULL,
     "v1 to v3-opt: choose the thresholds by a grid search for the least predicted error at no "
     "larger size",
     NULL},
    {"weights", 0, OPT_TEXT, AT(weights), "LIST",
     "v1 to v3-opt: weights of the metrics in the score; those left out count 0 (default: "
     "svd=.20,kurtosis=.45,output=.15,error=.20)",
     NULL},
    {"expert-rule", 0, OPT_TEXT, AT(opts.expert_rule), "R",
     "v1 to v3-opt: how the scores of a layer's experts are combined: mean, max or p90 (default: "
     "mean)",
     NULL},
    {0},
};
#undef AT

/* Reads "name=number" at text, up to a comma; the end of it, or NULL. */
static const char *read_weight(const char *text, double weights[4])
{
    static const char *const names[4] = {"svd", "kurtosis", "output", "error"};

    for (int i = 0; i < 4; i++) {
        const size_t n = strlen(names[i]);
        char *end;
        if (strncmp(text, names[i], n) || text[n] != '=' || !strchr("0123456789.", text[n + 1]))
            continue;
        weights[i] = strtod(text + n + 1, &end);
        return end > text + n + 1 && isfinite(weights[i]) && (*end == ',' || !*end) ? end : NULL;
    }
    return NULL;
}

static int read_weights(const char *list, double weights[4], const char *verb)
{
    double sum = 0;

    for (const char *text = list; text;) {
        text = read_weight(text, weights);
        if (!text) {
            message("%s: --weights %s: expected a list such as svd=.2,kurtosis=.45", verb, list);
            return 2;
        }
        text = *text ? text + 1 : NULL;
    }
    for (int i = 0; i < 4; i++)
        sum += weights[i];
    if (!(sum > 0)) {
        message("%s: --weights %s: at least one weight must be above 0", verb, list);
        return 2;
    }
    return OPT_GO;
}

int alloc_args_finish(struct alloc_args *args, const char *verb)
{
    args->opts.protect = args->protect.items;
    args->opts.n_protect = args->protect.n;
    args->opts.sensitive = args->sensitive.items;
    args->opts.n_sensitive = args->sensitive.n;
    args->opts.set = args->set.items;
    args->opts.n_set = args->set.n;
    return args->weights ? read_weights(args->weights, args->opts.weights, verb) : OPT_GO;
}

void alloc_args_release(struct alloc_args *args)
{
    opt_list_release(&args->protect);
    opt_list_release(&args->sensitive);
    opt_list_release(&args->set);
}
