/* asked_size.c - see asked_size.h. */
#include "allocate/asked_size.h"

#include "allocate/method.h"
#include "arch/config_read.h"
#include "base/output.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_CONTEXT = 8192 };

static const double usable_share =
    0.75; /* of a machine's memory: what Metal lets one process wire */

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
static uint64_t header_line(size_t name, const struct ram_matrices *block, uint64_t size)
{
    static const char frame[] = "\"\":{\"dtype\":\"BF16\",\"shape\":[,,],\"data_offsets\":[,]},";
    return sizeof frame - 1 + name + digits(block->count) + digits(block->rows) + 1 +
           digits(block->cols) + 2 * digits(size);
}

uint64_t ram_budget_headers(const struct ram_problem *problem, uint64_t bytes)
{
    uint64_t sum = 64; /* the length, {"__metadata__": ...} and padding */

    for (size_t i = 0; i < problem->plan->n_units; i++) {
        const struct ram_unit *unit = &problem->plan->units[i];
        const size_t name = strlen(unit->name) + 2; /* "unembed_out" for "kv_b_proj" */
        const uint64_t parts = problem->cases[i].quantizable ? 3 : 1;
        for (size_t b = 0; b < unit->n_blocks; b++) {
            /* Of a stack all members are one tensor; another unit may have two of one shape. */
            const uint64_t tensors = (unit->blocks[b].count + unit->members - 1) / unit->members;
            sum += tensors * parts * header_line(name, &unit->blocks[b], bytes);
        }
    }
    return sum;
}

/* Keys and values of one token in bf16: heads x dimensions, or the latent of MLA. */
static uint64_t kv_bytes(const struct ram_problem *problem)
{
    struct ram_arena arena = {0};
    struct ram_config c;
    struct ram_err ignored = {0}; /* what cannot be read counts as 0 */

    ram_config_read(&c, problem->manifest->config, "manifest", &arena, &ignored);
    ram_arena_release(&arena);
    return c.kv_lora ? 2 * c.n_layers * (c.kv_lora + c.qk_rope)
                     : 2 * c.n_layers * 2 * c.n_kv_heads * c.head_dim;
}

uint64_t ram_budget_context(const struct ram_allocate_opts *opts)
{
    return opts->context ? opts->context : DEFAULT_CONTEXT;
}

static double weights_of(const struct ram_problem *problem)
{
    double sum = 0;

    for (size_t i = 0; i < problem->plan->n_units; i++)
        sum += (double)problem->plan->units[i].parameters;
    return sum;
}

int ram_budget_too_small(const struct ram_problem *problem, uint64_t bytes, uint64_t smallest,
                         struct ram_err *err)
{
    const struct ram_allocate_opts *opts = problem->opts;
    const double weights = weights_of(problem);
    char asked[96], has[RAM_SIZE_TEXT], minimum[RAM_SIZE_TEXT];

    ram_size_text((double)bytes, has);
    if (opts->fit)
        snprintf(asked, sizeof asked, "--fit leaves %s for the weights, which", has);
    else if (opts->size)
        snprintf(asked, sizeof asked, "--size: %s", has);
    else
        snprintf(asked, sizeof asked, "%g bits/weight (%s)",
                 opts->bpw > 0 ? opts->bpw : RAM_BUDGET_BPW, has);
    return ram_fail(err, RAM_EBUDGET,
                    "%s is too small for this model; the minimum is %s (%.2f bits/weight): its "
                    "smallest plan takes %" PRIu64 " bytes",
                    asked, ram_size_text_up((double)smallest, minimum),
                    weights > 0 ? 8 * (double)smallest / weights : 0, smallest);
}

int ram_budget_reads_too_much(uint64_t bytes, uint64_t smallest, struct ram_err *err)
{
    return ram_fail(err, RAM_EBUDGET,
                    "--bytes-per-token: %" PRIu64 " bytes are too few for this model; its smallest "
                    "plan reads %" PRIu64 " bytes a token",
                    bytes, smallest);
}

static int fit_machine(struct ram_problem *problem, uint64_t *bytes, struct ram_err *err)
{
    const struct ram_allocate_opts *opts = problem->opts;
    const uint64_t context = ram_budget_context(opts);
    const double usable = usable_share * (double)opts->fit;
    const double kv = (double)kv_bytes(problem) * (double)context;
    const double activations = 64.0 * 1048576 + 0.02 * usable;
    json_t *settings = problem->plan->settings;

    char text[4][RAM_SIZE_TEXT];

    if (usable <= kv + activations)
        return ram_fail(err, RAM_EBUDGET,
                        "--fit %s is too small: %s of it are usable; the KV cache of %" PRIu64
                        " tokens needs %s, activations %s",
                        ram_size_text_like((double)opts->fit, opts->fit, text[0]),
                        ram_size_text_like(usable, opts->fit, text[1]), context,
                        ram_size_text_like(kv, opts->fit, text[2]),
                        ram_size_text_like(activations, opts->fit, text[3]));
    *bytes = (uint64_t)(usable - kv - activations);
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

int ram_budget_bytes(struct ram_problem *problem, uint64_t *bytes, struct ram_err *err)
{
    const struct ram_allocate_opts *opts = problem->opts;
    const double weights = weights_of(problem);

    if (opts->bpw < 0 || !isfinite(opts->bpw))
        return ram_fail(err, RAM_EUSAGE, "--bpw %g: expected a number of bits above 0", opts->bpw);
    const double bpw = opts->bpw > 0 ? opts->bpw : RAM_BUDGET_BPW;
    *bytes = opts->size ? opts->size : (uint64_t)(bpw * weights / 8);
    return opts->fit && !opts->size && opts->bpw == 0 ? fit_machine(problem, bytes, err) : RAM_OK;
}
