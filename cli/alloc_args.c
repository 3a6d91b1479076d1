/* alloc_args.c - see alloc_args.h. */
#include "alloc_args.h"

#include "message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct alloc_args, member)
const struct opt alloc_args_table[] = {
    {"method", 0, OPT_TEXT, AT(opts.method), "M",
     "budget, uniform, v1, v2, v3, v2-opt, v3-opt or auto, which takes v2 for mixtures of experts "
     "and v3-opt for dense models (default: budget if a size is given, and of quantize; else auto)",
     NULL},
    {"bpw", 0, OPT_REAL, AT(opts.bpw), "BITS",
     "budget: average bits per weight, counting every byte of the weight files (default: 4.5)",
     NULL},
    {"size", 0, OPT_SIZE, AT(opts.size), "SIZE",
     "budget: total size of the weight files, such as 6GB or 6GiB", NULL},
    {"fit", 0, OPT_SIZE, AT(opts.fit), "SIZE",
     "budget: memory of the machine that will run the model, such as 16GiB; the size follows from "
     "three quarters of it, less the KV cache for --context and a reserve for activations",
     NULL},
    {"context", 0, OPT_U64, AT(opts.context), "N",
     "with --fit: tokens of the KV cache (default: 8192)", NULL},
    {"bits", 0, OPT_INT, AT(opts.bits), "B", "uniform only: 2, 3, 4, 5, 6 or 8 (default: 4)", NULL},
    {"group", 0, OPT_INT, AT(opts.group), "G",
     "uniform only: number of weights that share a scale: 32, 64 or 128 (default: 128)", NULL},
    {"keep-embeddings", 0, OPT_FLAG, AT(opts.keep_embeddings), NULL,
     "uniform only: keep embeddings and head at 16 bits", NULL},
    {"t2", 0, OPT_THRESHOLD, AT(opts.t2), "T",
     "a matrix with a score of at most T gets 2 bits; or off", NULL},
    {"t8", 0, OPT_THRESHOLD, AT(opts.t8), "T",
     "a matrix with a score of at least T gets 8 bits; or off", NULL},
    {"t16", 0, OPT_THRESHOLD, AT(opts.t16), "T",
     "a matrix with a score of at least T stays at 16 bits; or off", NULL},
    {"search", 0, OPT_FLAG, AT(opts.search), NULL,
     "choose the thresholds by a grid search for the least predicted error at no more bytes", NULL},
    {"weights", 0, OPT_TEXT, AT(weights), "LIST",
     "weights of the metrics in the score; metrics not listed get 0 (default: "
     "svd=.20,kurtosis=.45,output=.15,error=.20)",
     NULL},
    {"protect", 0, OPT_LIST, AT(protect), "REGEX",
     "names of tensors that stay at 16 bits; replaces the default list (repeatable)", NULL},
    {"sensitive", 0, OPT_LIST, AT(sensitive), "REGEX",
     "names of tensors that get at least 8 bits (repeatable)", NULL},
    {"set", 0, OPT_LIST, AT(set), "RULE",
     "REGEX=BITS[gGROUP], such as 'down_proj=6g64': overrides every other rule; the first match "
     "counts (repeatable)",
     NULL},
    {"expert-rule", 0, OPT_TEXT, AT(opts.expert_rule), "R",
     "how the scores of the experts in a stack are combined: mean, max or p90 (default: mean)",
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
