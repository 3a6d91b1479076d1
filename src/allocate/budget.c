/*
 * budget.c - the widths of least predicted divergence within a number of bytes.
 *
 * Minimise sum over units of a_i d_i(o_i), where a_i is what the unit costs in nats a token when it
 * is probed at 3 bits in groups of 64 (probe/sensitivity.h) and d_i(o) is the squared error at
 * option o over the one at the probe. By the linearity theorem (Malinovskii et al., "Pushing the
 * limits of large language model quantization via the linearity theorem", 2024) the sum is the
 * divergence of the whole. Without sensitivities a_i is the unit's parameters times its relative
 * error: a tier that knows the weights alone, and says so.
 *
 * docs/allocation.md tells what was measured, and why there are floors and a veto.
 */
#include "allocate/knapsack.h"
#include "allocate/method.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_OPTIONS = RAM_N_BITS * RAM_N_GROUPS + 1, /* the last: 16 bits */
    PROBE_BITS = 3,
    PROBE_GROUP = 64,
    EMBEDDING_FLOOR = 4,
    DEFAULT_CONTEXT = 8192
};

static const double default_bpw = 4.5;
static const double usable_share =
    0.75; /* of a machine's memory: what Metal lets one process wire */
static const double worst_2bit_error = 0.126; /* relative squared error: 9 dB */

/* Error of an encoder over that of round-to-nearest, by (bits, group), which scales what the
 * manifest measured for round-to-nearest. search: squares on normal weights (bench_codec_search).
 * gptq, where the manifest has no curves: medians of those of tiny-qwen3's layers; of an embedding,
 * that is looked up, nobody knows the inputs, and it counts as searched for. */
static const struct encoder_gain {
    const char *name;
    double gain[RAM_N_BITS][RAM_N_GROUPS];
} encoder_gains[] = {
    {"rtn", {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}}},
    {"search",
     {{.667, .653, .608},
      {.706, .739, .730},
      {.727, .787, .813},
      {.710, .790, .848},
      {.683, .777, .841},
      {.434, .512, .581}}},
    {"gptq",
     {{.239, .251, .232},
      {.233, .256, .257},
      {.237, .266, .279},
      {.231, .269, .290},
      {.230, .266, .283},
      {.145, .170, .185}}},
};
enum { RTN, SEARCH, GPTQ };

struct budget {
    struct ram_problem *problem;
    const struct encoder_gain *encoder;
    uint64_t bytes;         /* of all weight files */
    uint64_t fixed;         /* headers, and units that have no choice; */
    double fixed_cost;      /* what those are predicted to cost, if the user set them */
    bool probed;            /* a_i were measured, */
    const json_t *curves;   /* and what widths cost under this encoder, by unit; or NULL */
    struct ram_item *items; /* of the units that have a choice */
    size_t *unit_of;        /* [n_items] */
    size_t n_items;
    struct ram_option *options; /* [n_items, N_OPTIONS] */
    unsigned char *width;       /* [n_items, N_OPTIONS] which option of the grid it is */
};

/* ---- how many bytes --------------------------------------------------------------------- */

static unsigned digits(uint64_t n)
{
    unsigned d = 1;
    while (n >= 10) {
        n /= 10;
        d++;
    }
    return d;
}

/* One tensor's line in a safetensors header, at most: name, type, shape, two offsets of up to
 * `size`. Rows of heads are written as two numbers, a digit more in all; those of a stack as a
 * number of experts and rows. */
static uint64_t header_line(size_t name, const struct ram_block *block, uint64_t size)
{
    static const char frame[] = "\"\":{\"dtype\":\"BF16\",\"shape\":[,,],\"data_offsets\":[,]},";
    return sizeof frame - 1 + name + digits(block->count) + digits(block->rows) + 1 +
           digits(block->cols) + 2 * digits(size);
}

/* What headers take beside the weights, if every unit that may be is quantised. */
static uint64_t header_bytes(const struct ram_problem *problem, uint64_t size)
{
    uint64_t bytes = 64; /* the length, {"__metadata__": ...} and padding */

    for (size_t i = 0; i < problem->plan->n_units; i++) {
        const struct ram_unit *unit = &problem->plan->units[i];
        const size_t name = strlen(unit->name) + 2; /* "unembed_out" for "kv_b_proj" */
        const uint64_t parts = problem->cases[i].quantizable ? 3 : 1;
        for (size_t b = 0; b < unit->n_blocks; b++) {
            /* Of a stack all members are one tensor; another unit may have two of one shape. */
            const uint64_t tensors = (unit->blocks[b].count + unit->members - 1) / unit->members;
            bytes += tensors * parts * header_line(name, &unit->blocks[b], size);
        }
    }
    return bytes;
}

static uint64_t config_uint(const struct ram_problem *problem, const char *key)
{
    const json_t *value = json_object_get(problem->manifest->config, key);
    return json_is_integer(value) && json_integer_value(value) > 0
               ? (uint64_t)json_integer_value(value)
               : 0;
}

/* Keys and values of one token in bf16: heads x dimensions, or the latent of MLA. */
static uint64_t kv_bytes(const struct ram_problem *problem)
{
    const uint64_t layers = config_uint(problem, "num_hidden_layers");
    const uint64_t latent = config_uint(problem, "kv_lora_rank");
    const uint64_t heads = config_uint(problem, "num_attention_heads");
    uint64_t kv_heads = config_uint(problem, "num_key_value_heads");
    uint64_t dim = config_uint(problem, "head_dim");

    if (latent)
        return 2 * layers * (latent + config_uint(problem, "qk_rope_head_dim"));
    kv_heads = kv_heads ? kv_heads : heads;
    dim = dim || !heads ? dim : config_uint(problem, "hidden_size") / heads;
    return 2 * layers * 2 * kv_heads * dim;
}

static int fit_machine(struct budget *b, struct ram_err *err)
{
    const struct ram_allocate_opts *opts = b->problem->opts;
    const uint64_t context = opts->context ? opts->context : DEFAULT_CONTEXT;
    const double usable = usable_share * (double)opts->fit;
    const double kv = (double)kv_bytes(b->problem) * (double)context;
    const double activations = 64.0 * 1048576 + 0.02 * usable;
    json_t *settings = b->problem->plan->settings;

    if (usable <= kv + activations)
        return ram_fail(err, RAM_EBUDGET,
                        "keys and values of %" PRIu64
                        " tokens take %.0f bytes and leave no room in "
                        "%.0f of the %" PRIu64 " bytes of this machine",
                        context, kv, usable, opts->fit);
    b->bytes = (uint64_t)(usable - kv - activations);
    int status = ram_json_put(settings, "fit", json_integer((json_int_t)opts->fit), err);
    if (!status)
        status = ram_json_put(settings, "fit_usable", json_integer((json_int_t)usable), err);
    if (!status)
        status = ram_json_put(settings, "fit_context", json_integer((json_int_t)context), err);
    if (!status)
        status = ram_json_put(settings, "fit_keys_values", json_integer((json_int_t)kv), err);
    return status ? status
                  : ram_json_put(settings, "fit_activations", json_integer((json_int_t)activations),
                                 err);
}

static int find_bytes(struct budget *b, struct ram_err *err)
{
    const struct ram_allocate_opts *opts = b->problem->opts;
    uint64_t parameters = 0;

    for (size_t i = 0; i < b->problem->plan->n_units; i++)
        parameters += b->problem->plan->units[i].parameters;
    if (opts->bpw < 0 || !isfinite(opts->bpw))
        return ram_fail(err, RAM_EUSAGE, "%g bits a weight make no sense", opts->bpw);
    const double bpw = opts->bpw > 0 ? opts->bpw : default_bpw;
    int status = RAM_OK;
    if (opts->size)
        b->bytes = opts->size;
    else if (opts->fit && opts->bpw == 0)
        status = fit_machine(b, err);
    else
        b->bytes = (uint64_t)(bpw * (double)parameters / 8);
    b->fixed = header_bytes(b->problem, b->bytes);
    return status;
}

/* ---- what a width costs ----------------------------------------------------------------- */

/* Nats a token of unit i at its probe, rounded to 2^(k/8) so that the last bits of a processor's
 * arithmetic do not decide; NAN if it was not probed. */
static double alpha_of(const struct ram_problem *problem, size_t i)
{
    const json_t *units = json_object_get(problem->manifest->sensitivities, "units");
    const json_t *value = json_object_get(units, problem->plan->units[i].name);

    if (!json_is_number(value))
        return NAN;
    const double alpha = fmax(json_number_value(value), 1e-9);
    return exp2(round(8 * log2(alpha)) / 8);
}

/* Predicted divergence for one unit of squared error; NAN if nothing was measured. */
static double weight_of(const struct budget *b, size_t i)
{
    const struct ram_problem *problem = b->problem;
    const double energy = ram_case_energy(problem, i);

    if (b->probed) {
        const double alpha = alpha_of(problem, i);
        const double probe = ram_case_error(problem, i, PROBE_BITS, PROBE_GROUP);
        return probe > 0 ? alpha / probe : isnan(alpha) ? NAN : 0;
    }
    return energy > 0 ? (double)problem->plan->units[i].parameters / energy : 0;
}

static double gain_of(const struct budget *b, size_t i, size_t bits, size_t group)
{
    const bool looked_up = b->encoder == &encoder_gains[GPTQ] && b->problem->cases[i].is_embedding;
    return (looked_up ? &encoder_gains[SEARCH] : b->encoder)->gain[bits][group];
}

/* Of the weights themselves: gptq moves them no less than the search does. */
static double weights_gain(const struct budget *b, size_t k)
{
    const struct encoder_gain *encoder =
        b->encoder == &encoder_gains[GPTQ] ? &encoder_gains[SEARCH] : b->encoder;
    return encoder->gain[k / RAM_N_GROUPS][k % RAM_N_GROUPS];
}

/* Predicted divergence of unit i at an option of the grid, given its squared error there; NAN: the
 * option does not exist. */
static double cost_of(const struct budget *b, size_t i, size_t k, double error)
{
    const json_t *curve = json_object_get(b->curves, b->problem->plan->units[i].name);
    char key[16];

    if (!curve || isnan(error))
        return weight_of(b, i) * error;
    snprintf(key, sizeof key, "%dg%d", ram_bits_grid[k / RAM_N_GROUPS],
             ram_group_grid[k % RAM_N_GROUPS]);
    const json_t *ratio = json_object_get(curve, key);
    return json_is_number(ratio) ? alpha_of(b->problem, i) * fmax(0, json_number_value(ratio))
                                 : weight_of(b, i) * error;
}

static const char *floor_reason(const struct ram_problem *problem, size_t i, int bits, double error)
{
    if (problem->cases[i].is_embedding && bits < EMBEDDING_FLOOR)
        return "floor-embedding";
    if (problem->cases[i].is_sensitive && bits < 8)
        return "sensitive";
    if (bits == 2 && error > worst_2bit_error * ram_case_energy(problem, i))
        return "veto-2bit";
    return NULL;
}

/* A unit without a choice: its reason; NULL if it has one. */
static const char *fixed_reason(const struct ram_problem *problem, size_t i)
{
    const struct ram_case *c = &problem->cases[i];

    if (c->user_bits)
        return "user";
    if (!c->quantizable || c->skip)
        return c->skip ? c->skip : "protected";
    return c->is_untouchable || !strcmp(c->first->role, "router") ? "protected" : NULL;
}

static int add_options(struct budget *b, size_t i, struct ram_err *err)
{
    struct ram_problem *problem = b->problem;
    const struct ram_unit *unit = &problem->plan->units[i];
    struct ram_option *options = b->options + b->n_items * N_OPTIONS;
    unsigned char *width = b->width + b->n_items * N_OPTIONS;
    size_t n = 0;

    if (isnan(weight_of(b, i)))
        return ram_fail(err, RAM_EFORMAT,
                        "unit %s was not measured: analyze the checkpoint%s first", unit->name,
                        b->probed ? " with --probe" : "");
    for (size_t k = 0; k + 1 < N_OPTIONS; k++) {
        const int bits = ram_bits_grid[k / RAM_N_GROUPS], group = ram_group_grid[k % RAM_N_GROUPS];
        const double nearest = ram_case_error(problem, i, bits, group);
        const double gain = gain_of(b, i, k / RAM_N_GROUPS, k % RAM_N_GROUPS);
        const double cost = cost_of(b, i, k, nearest * gain);
        if (!isfinite(cost) || floor_reason(problem, i, bits, nearest * weights_gain(b, k)))
            continue;
        options[n] = (struct ram_option){ram_unit_bytes(unit, bits, group), cost};
        width[n++] = (unsigned char)k;
    }
    options[n] = (struct ram_option){ram_unit_bytes(unit, 16, 0), 0};
    width[n++] = N_OPTIONS - 1;
    b->items[b->n_items] = (struct ram_item){options, n};
    b->unit_of[b->n_items++] = i;
    return RAM_OK;
}

/* Predicted divergence of a unit whose width the user set; 0 if nothing is known of it. */
static double fixed_cost(const struct budget *b, size_t i)
{
    const struct ram_unit *unit = &b->problem->plan->units[i];
    const int bits = ram_bits_index(unit->bits), group = ram_group_index(unit->group);

    if (bits < 0 || group < 0)
        return 0;
    const double error = ram_case_error(b->problem, i, unit->bits, unit->group) *
                         gain_of(b, i, (size_t)bits, (size_t)group);
    const double cost = cost_of(b, i, (size_t)(bits * RAM_N_GROUPS + group), error);
    return isfinite(cost) ? cost : 0;
}

static int build(struct budget *b, struct ram_err *err)
{
    struct ram_problem *problem = b->problem;
    const size_t n = problem->plan->n_units;
    int status = RAM_OK;

    b->items = ram_calloc(n, sizeof *b->items, err);
    b->unit_of = ram_calloc(n, sizeof *b->unit_of, err);
    b->options = ram_calloc(n, N_OPTIONS * sizeof *b->options, err);
    b->width = ram_calloc(n, N_OPTIONS, err);
    if (!b->items || !b->unit_of || !b->options || !b->width)
        return RAM_ENOMEM;
    for (size_t i = 0; !status && i < n; i++) {
        const struct ram_case *c = &problem->cases[i];
        const char *reason = fixed_reason(problem, i);
        if (!reason) {
            status = add_options(b, i, err);
            continue;
        }
        ram_decide_unit(problem, i, c->user_bits ? c->user_bits : 16, c->user_group, reason);
        b->fixed += ram_unit_bytes(&problem->plan->units[i], problem->plan->units[i].bits,
                                   problem->plan->units[i].group);
        b->fixed_cost += fixed_cost(b, i);
    }
    return status;
}

/* ---- the plan --------------------------------------------------------------------------- */

/* Would the unit have gone lower, had its floor allowed it? Then the floor is the reason. */
static const char *reason_of(const struct budget *b, size_t item, size_t chosen)
{
    const size_t i = b->unit_of[item];
    const unsigned first = b->width[item * N_OPTIONS];

    if (chosen > 0 || first == N_OPTIONS - 1)
        return "budget";
    const int lowest = ram_bits_grid[first / RAM_N_GROUPS];
    if (lowest == 2)
        return "budget";
    const double error = ram_case_error(b->problem, i, 2, 32);
    const char *reason = floor_reason(b->problem, i, lowest - 1, error);
    return reason ? reason : floor_reason(b->problem, i, 2, error) ? "veto-2bit" : "budget";
}

static void decide_items(struct budget *b, const size_t *choice)
{
    for (size_t k = 0; k < b->n_items; k++) {
        const unsigned w = b->width[k * N_OPTIONS + choice[k]];
        const bool whole = w == N_OPTIONS - 1;
        ram_decide_unit(b->problem, b->unit_of[k], whole ? 16 : ram_bits_grid[w / RAM_N_GROUPS],
                        whole ? 0 : ram_group_grid[w % RAM_N_GROUPS], reason_of(b, k, choice[k]));
    }
}

/* Everything at one width of the ladder, the largest that fits: what the choice must not lose to.
 */
static double best_uniform(const struct budget *b)
{
    double best = INFINITY;

    for (unsigned w = 0; w < N_OPTIONS; w++) {
        uint64_t bytes = b->fixed;
        double cost = b->fixed_cost;
        for (size_t k = 0; k < b->n_items; k++) {
            size_t o = 0;
            while (o < b->items[k].n && b->width[k * N_OPTIONS + o] < w)
                o++;
            bytes += b->items[k].options[o].bytes;
            cost += b->items[k].options[o].cost;
        }
        if (bytes <= b->bytes && cost < best)
            best = cost;
    }
    return best;
}

static int describe(const struct budget *b, const struct ram_choice *result, struct ram_err *err)
{
    struct ram_plan *plan = b->problem->plan;
    const double gap = result->bound > 0 ? result->cost / result->bound - 1 : 0;
    const double uniform = best_uniform(b);
    const char *tier = b->probed ? "probed: nats a token on synthetic tokens"
                                 : "weights only: relative squared error, not nats";

    int status =
        ram_json_put(plan->settings, "budget_bytes", json_integer((json_int_t)b->bytes), err);
    if (!status)
        status = ram_json_put(plan->settings, "encoder", json_string(b->encoder->name), err);
    if (!status)
        status = ram_json_put(plan->settings, "tier", json_string(tier), err);
    if (!plan->predicted)
        plan->predicted = json_object();
    if (!status)
        status = ram_json_put(plan->predicted, b->probed ? "kld" : "cost",
                              ram_json_real(result->cost + b->fixed_cost), err);
    if (!status && isfinite(uniform))
        status = ram_json_put(plan->predicted, b->probed ? "kld_uniform" : "cost_uniform",
                              ram_json_real(uniform), err);
    if (!status)
        status = ram_json_put(plan->predicted, "optimality_gap", ram_json_real(fmax(0, gap)), err);
    if (!status)
        status = ram_json_put(plan->predicted, "file_bytes",
                              json_integer((json_int_t)(result->bytes + b->fixed)), err);
    return status ? status : ram_predict_error(b->problem, err);
}

static const struct encoder_gain *find_encoder(const char *name)
{
    for (size_t i = 0; name && i < sizeof encoder_gains / sizeof *encoder_gains; i++)
        if (!strcmp(name, encoder_gains[i].name))
            return &encoder_gains[i];
    return &encoder_gains[RTN]; /* what is not known gains nothing */
}

static int solve(struct budget *b, struct ram_err *err)
{
    struct ram_choice result;
    size_t *choice = ram_calloc(b->n_items, sizeof *choice, err);

    if (!choice)
        return RAM_ENOMEM;
    const uint64_t room = b->bytes > b->fixed ? b->bytes - b->fixed : 0;
    int status = ram_knapsack_solve(b->items, b->n_items, room, choice, &result, err);
    if (status == RAM_EBUDGET) {
        *err = (struct ram_err){0};
        ram_fail(err, RAM_EBUDGET,
                 "%" PRIu64 " bytes cannot hold this model: its smallest plan takes %" PRIu64
                 " bytes",
                 b->bytes, result.bytes + b->fixed);
    }
    if (!status) {
        decide_items(b, choice);
        status = describe(b, &result, err);
    }
    free(choice);
    return status;
}

/* The manifest's curves, if they are of the encoder that will convert. */
static const json_t *find_curves(const struct ram_problem *problem)
{
    const json_t *curves = json_object_get(problem->manifest->sensitivities, "curves");
    const char *encoder = json_string_value(json_object_get(curves, "encoder"));

    return encoder && problem->opts->encoder && !strcmp(encoder, problem->opts->encoder)
               ? json_object_get(curves, "units")
               : NULL;
}

int ram_decide_budget(struct ram_problem *problem, const struct ram_method *method,
                      struct ram_err *err)
{
    struct budget b = {.problem = problem,
                       .encoder = find_encoder(problem->opts->encoder),
                       .probed = problem->manifest->sensitivities != NULL,
                       .curves = find_curves(problem)};
    (void)method;

    int status = find_bytes(&b, err);
    if (!status)
        status = build(&b, err);
    if (!status)
        status = solve(&b, err);
    free(b.items);
    free(b.unit_of);
    free(b.options);
    free(b.width);
    return status;
}
