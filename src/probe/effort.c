/*
 * effort.c - see effort.h. Times an operation takes beside matrix products are those of one core of
 * Zen 4 (docs/speed.md), brought to this machine by the ratio of the products.
 */
#include "probe/effort.h"

#include "arch/config_read.h"
#include "arch/role.h"
#include "kern/gemm.h"
#include "probe/check.h"
#include "probe/curve.h"
#include "probe/gradients.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum {
    PRODUCT = 768,     /* rows, columns and depth of the product that is timed */
    CURVE_ROWS = 32,   /* of a matrix, coded for its curve ... */
    CURVE_EXPERTS = 4, /* ... of so many experts of a stack ... */
    CURVE_FORMS = 18   /* ... in so many forms */
};

static const double reference_f32 = 100e9; /* products of the core that the figures below are of */
static const double error_ns = 3.5, search_ns = 16, write_ns = 1, verify_ns = 2.5; /* a weight */
static const double as_if_ns = 1.5;                       /* a weight coded for a probe */
static const double step_ns = 0.2;                        /* a weight read for a step of samples */
static const double gptq_ns = 105, gptq_column_ns = 0.02; /* a weight, and its columns */
static const double factor_ns = 4.5e-3;                   /* x columns^3 */

/* Operations a token up to which a model is tiny, and probed on more tokens, since they cost
 * nothing. */
static const double tiny_forward = 2e8;
/* Two cores with AVX-512, by which the usual effort is chosen. */
static const double usual_f32 = 180e9, usual_seconds = 600;

struct work {
    double forward; /* operations a token ... */
    double head;    /* ... and of them the head's */
    double units, layers;
    double weights;
    double gptq, curves, factors; /* seconds of the reference core */
    double experts;               /* of a layer; 0: dense */
    double hessian, steps;        /* tokens for Hessians, and those of a sequence */
    double derived;               /* tokens for derivatives */
    uint64_t bytes;
};

/* ---- the machine ------------------------------------------------------------------------ */

static double seconds_of(const struct timespec *from)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - from->tv_sec) + 1e-9 * (double)(now.tv_nsec - from->tv_nsec);
}

/* Operations a second of all threads, in f32. */
static int time_machine(double *rate, struct ram_pool *pool, struct ram_err *err)
{
    float *room = ram_calloc((size_t)3 * PRODUCT * PRODUCT, sizeof *room, err);
    const struct ram_mat a = {room, RAM_ELEM_F32, PRODUCT, 1};
    const struct ram_mat b = {room + PRODUCT * PRODUCT, RAM_ELEM_F32, PRODUCT, 1};
    double best = INFINITY;
    int status = room ? RAM_OK : RAM_ENOMEM;

    for (int run = 0; run < 3 && !status; run++) {
        struct timespec from;
        clock_gettime(CLOCK_MONOTONIC, &from);
        status = ram_gemm(RAM_GEMM_F32, PRODUCT, PRODUCT, PRODUCT, a, b,
                          room + 2 * PRODUCT * PRODUCT, PRODUCT, false, pool, err);
        best = fmin(best, fmax(seconds_of(&from), 1e-6));
    }
    *rate = 2.0 * PRODUCT * PRODUCT * PRODUCT / best;
    free(room);
    return status;
}

/* ---- the work --------------------------------------------------------------------------- */

/* What part of the experts a token meets. */
static double expert_share(const struct ram_manifest *m, double *experts)
{
    struct ram_arena arena = {0};
    struct ram_config config;
    struct ram_err ignored = {0}; /* an estimate does without what cannot be read */

    ram_config_read(&config, m->config, "manifest", &arena, &ignored);
    ram_arena_release(&arena);
    const double n = (double)config.n_experts, chosen = (double)config.top_k;
    *experts = n;
    return n > 0 && chosen > 0 && chosen < n ? chosen / n : 1;
}

static void count_entry(struct work *work, const struct ram_entry *e, double share)
{
    const double n = (double)e->parameters, cols = (double)e->stored[0].cols;
    const double gptq = n * (gptq_ns + gptq_column_ns * cols) * 1e-9;
    const bool of_expert = e->expert >= 0;
    const enum ram_role role = ram_role_find(e->role);

    work->weights += n;
    work->gptq += gptq;
    work->curves += gptq * CURVE_FORMS * fmin(1, CURVE_ROWS / (double)e->stored[0].rows) *
                    (of_expert ? fmin(1, CURVE_EXPERTS / work->experts) : 1);
    if (role == RAM_ROLE_EMBED || role == RAM_ROLE_HEAD)
        work->head = 2 * n; /* the same rows, if there are two */
    else
        work->forward += 2 * n * (of_expert ? share : 1);
    /* Experts have factors of their own; of the others every second matrix shares one. */
    work->factors += cols * cols * cols * factor_ns * 1e-9 * (of_expert ? 0.67 : 0.5);
    if (e->layer + 1 > work->layers)
        work->layers = e->layer + 1;
}

static void count(struct work *work, const struct ram_manifest *m)
{
    const struct ram_synthetic tokens = ram_hessian_tokens(m->bytes, NULL);
    const char *unit = "";

    *work = (struct work){.hessian = (double)(tokens.n * tokens.length),
                          .steps = (double)tokens.length,
                          .derived = (double)ram_gradients_of(tokens.n * tokens.length, m->bytes),
                          .bytes = m->bytes};
    const double share = expert_share(m, &work->experts);
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct ram_entry *e = &m->entries[i];
        if (e->skip != RAM_SKIP_NONE || e->n_stored == 0)
            continue;
        count_entry(work, e, share);
        work->units += strcmp(unit, e->unit) != 0;
        unit = e->unit;
    }
    /* Entries of a stack need not lie together. */
    work->units = fmin(work->units, 8 * work->layers + 2);
    work->forward += work->head;
}

/* ---- efforts ---------------------------------------------------------------------------- */

/* Seconds of each stage, with so many operations a second of all threads, and of all together. */
static double estimate(const struct ram_effort *effort, const struct work *w, double rate,
                       double stages[RAM_N_STAGES])
{
    const struct ram_probe_opts *p = &effort->probe;
    const double tokens = (double)p->sequences * p->length, body = w->forward - w->head;
    /* Of a mixture at two widths. */
    const double probes =
        p->tier == RAM_TIER_LOCAL
            ? 10 * body + 4 * w->head
            : (w->experts > 0 ? 2 : 1) * (w->units * (body / 2 + w->head) + 2 * w->forward);
    const bool gptq = !strcmp(effort->encoder, "gptq");
    /* Operations of a weight that is measured or coded; of the probes' tokens, which are sampled;
     * of all tokens that Hessians are of, which a conversion takes over from the curves. */
    const double ns = w->weights * 1e-9 * reference_f32;
    const double pass = w->hessian * w->forward;
    const struct ram_synthetic held_out = ram_check_tokens(w->bytes, p->tier);
    const double check = (double)(held_out.n * held_out.length);
    double sum = 0;

    stages[RAM_STAGE_ANALYZE] = error_ns * ns;
    stages[RAM_STAGE_TOKENS] = tokens * w->forward + p->length * step_ns * ns;
    stages[RAM_STAGE_PROBE] = tokens * probes + as_if_ns * ns;
    stages[RAM_STAGE_INPUTS] = p->curves || gptq ? pass + w->steps * step_ns * ns : 0;
    stages[RAM_STAGE_CURVES] =
        !p->curves ? 0
                   : pass + reference_f32 *
                                (w->curves +
                                 w->factors * (w->experts > 0 ? CURVE_EXPERTS / w->experts : 1));
    /* Forward, again and backward, and the moments. */
    stages[RAM_STAGE_DERIVE] = gptq ? 3.3 * w->derived * w->forward : 0;
    stages[RAM_STAGE_CONVERT] =
        write_ns * ns + (gptq ? pass + (w->gptq + w->factors) * reference_f32 : search_ns * ns);
    stages[RAM_STAGE_VERIFY] = verify_ns * ns;
    stages[RAM_STAGE_HELD_OUT] = check * w->forward + (double)held_out.length * step_ns * ns;
    stages[RAM_STAGE_CHECK] = check * 3 * w->forward + as_if_ns * ns; /* three models */
    for (size_t i = 0; i < RAM_N_STAGES; i++)
        sum += stages[i] /= rate;
    return sum;
}

const char *ram_effort_at(size_t i, const char **what)
{
    static const struct {
        const char *name, *what;
    } names[RAM_N_EFFORTS] = {
        [RAM_EFFORT_FAST] = {"fast", "sensitivities by layer, encoder search"},
        [RAM_EFFORT_NORMAL] = {"normal", "sensitivities by divergence, encoder search"},
        [RAM_EFFORT_BEST] = {"best",
                             "sensitivities by divergence, encoder gptq and its error curves"},
    };

    if (i >= RAM_N_EFFORTS)
        return NULL;
    *what = names[i].what;
    return names[i].name;
}

static void describe(struct ram_effort efforts[RAM_N_EFFORTS], const struct work *work)
{
    const bool sparse = work->experts > 0;
    const bool tiny = work->forward < tiny_forward;
    const unsigned n = (tiny ? 4 : 2) * (sparse ? 2 : 1);
    const unsigned length = (tiny ? 128 : 32) * (sparse ? 2 : 1);
    const struct ram_probe_opts kl = {
        .tier = RAM_TIER_KL, .sequences = n, .length = length, .seed = 42};
    struct ram_probe_opts local = kl, curves = kl;

    /* Distances are means over all numbers of a layer: few tokens do. */
    local.tier = RAM_TIER_LOCAL;
    local.sequences = 4;
    local.length = length / (tiny ? 16 : 8);
    curves.curves = true;
    efforts[RAM_EFFORT_FAST] = (struct ram_effort){.probe = local, .encoder = "search"};
    efforts[RAM_EFFORT_NORMAL] = (struct ram_effort){.probe = kl, .encoder = "search"};
    efforts[RAM_EFFORT_BEST] = (struct ram_effort){.probe = curves, .encoder = "gptq"};
    for (size_t i = 0; i < RAM_N_EFFORTS; i++)
        efforts[i].name = ram_effort_at(i, &efforts[i].what);
}

void ram_effort_tokens(const struct ram_manifest *manifest, struct ram_probe_opts *opts)
{
    struct ram_effort efforts[RAM_N_EFFORTS];
    struct work work;

    count(&work, manifest);
    describe(efforts, &work);
    const struct ram_probe_opts *usual =
        &efforts[opts->tier == RAM_TIER_LOCAL ? RAM_EFFORT_FAST : RAM_EFFORT_NORMAL].probe;
    opts->sequences = usual->sequences;
    opts->length = usual->length;
}

int ram_efforts_plan(const struct ram_manifest *manifest, struct ram_pool *pool,
                     struct ram_effort efforts[RAM_N_EFFORTS], enum ram_effort_level *usual,
                     struct ram_err *err)
{
    struct work work;
    double rate, unused[RAM_N_STAGES];

    count(&work, manifest);
    describe(efforts, &work);
    *usual = estimate(&efforts[RAM_EFFORT_BEST], &work, usual_f32, unused) <= usual_seconds
                 ? RAM_EFFORT_BEST
                 : RAM_EFFORT_NORMAL;
    const int status = time_machine(&rate, pool, err);
    for (size_t i = 0; !status && i < RAM_N_EFFORTS; i++)
        efforts[i].seconds = estimate(&efforts[i], &work, rate, efforts[i].stages);
    return status;
}
