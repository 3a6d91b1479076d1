/* options.c - see options.h. */
#include "allocate/options.h"

#include "allocate/asked_size.h"

#include <math.h>
#include <string.h>

/* ---- which options go together -------------------------------------------------------------- */

static bool has_weights(const struct ram_allocate_opts *opts)
{
    return opts->weights[0] + opts->weights[1] + opts->weights[2] + opts->weights[3] > 0;
}

static int check_budget(const struct ram_method *method, const struct ram_allocate_opts *opts,
                        struct ram_err *err)
{
    const char *size = opts->size ? "--size" : NULL, *bpw = opts->bpw != 0 ? "--bpw" : NULL;
    const char *fit = opts->fit ? "--fit" : NULL;
    const char *first = size ? size : bpw ? bpw : fit;
    const char *second = size && bpw ? bpw : (size || bpw) && fit ? fit : NULL;

    if (opts->context && !opts->fit)
        return ram_fail(err, RAM_EUSAGE,
                        "--context needs --fit: it is the number of tokens for which --fit leaves "
                        "memory");
    if (second)
        return ram_fail(err, RAM_EUSAGE,
                        "%s and %s exclude each other: each says how large the result may be",
                        first, second);
    if (opts->bytes_per_token && !first)
        first = "--bytes-per-token";
    if (first && !method->budget)
        return ram_fail(err, RAM_EUSAGE,
                        "%s applies only to method budget, not to %s; leave out --method to use "
                        "the budget method",
                        first, method->name);
    return RAM_OK;
}

/* An option that the method does not have is a misunderstanding, not something to pass over. */
int ram_allocate_check(const struct ram_method *method, const struct ram_allocate_opts *opts,
                       struct ram_err *err)
{
    const char *threshold = opts->t2 != 0    ? "--t2"
                            : opts->t8 != 0  ? "--t8"
                            : opts->t16 != 0 ? "--t16"
                            : opts->search   ? "--search"
                                             : NULL;
    const char *score = threshold           ? threshold
                        : has_weights(opts) ? "--weights"
                        : opts->expert_rule ? "--expert-rule"
                                            : NULL;
    const char *uniform = opts->bits              ? "--bits"
                          : opts->group           ? "--group"
                          : opts->keep_embeddings ? "--keep-embeddings"
                                                  : NULL;

    if (score && (method->budget || method->uniform))
        return ram_fail(err, RAM_EUSAGE,
                        "%s applies only to methods v1 to v3-opt and auto, which decide by scores, "
                        "not to %s",
                        score, method->name);
    if (uniform && !method->uniform)
        return ram_fail(err, RAM_EUSAGE, "%s needs --method uniform%s", uniform,
                        opts->bits ? "; for an average number of bits use --bpw" : "");
    if (!ram_budget_encoder_known(opts->encoder))
        return ram_fail(err, RAM_EUSAGE, "unknown encoder \"%s\"; use rtn, search or gptq",
                        opts->encoder);
    return check_budget(method, opts, err);
}

/* ---- what is recorded ----------------------------------------------------------------------- */

/* An option that was not given is null, and leaves no key; NULL: memory ran out. */
static int put_known(json_t *object, const char *key, json_t *value, struct ram_err *err)
{
    return json_is_null(value) ? RAM_OK : ram_json_put(object, key, value, err);
}

/* The same with a borrowed value that may be absent. */
static int put_same(json_t *object, const char *key, json_t *value, struct ram_err *err)
{
    return value ? put_known(object, key, json_incref(value), err) : RAM_OK;
}

static json_t *list_of(const char *const *items, size_t n)
{
    json_t *list = n ? json_array() : json_null();

    for (size_t i = 0; list && i < n; i++) {
        if (json_array_append_new(list, json_string(items[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *integer_if(bool given, uint64_t n)
{
    return given ? json_integer((json_int_t)n) : json_null();
}

static json_t *true_if(bool given)
{
    return given ? json_true() : json_null();
}

static json_t *threshold_of(double t)
{
    return t == 0 ? json_null() : t == RAM_THRESHOLD_OFF ? json_string("off") : ram_json_real(t);
}

/* "svd=0.2,kurtosis=0.45" */
static json_t *weights_of(const struct ram_allocate_opts *opts)
{
    if (!has_weights(opts))
        return json_null();
    json_t *weights = json_object();
    for (size_t i = 0; weights && i < RAM_N_METRICS; i++) {
        if (json_object_set_new(weights, ram_metric_names[i], ram_json_real(opts->weights[i]))) {
            json_decref(weights);
            return NULL;
        }
    }
    return weights;
}

static json_t *bpw_of(const struct ram_method *method, const struct ram_allocate_opts *opts)
{
    if (!method->budget || opts->size || (opts->fit && opts->bpw == 0))
        return json_null();
    return ram_json_real(opts->bpw > 0 ? opts->bpw : RAM_BUDGET_BPW);
}

static int put_options(json_t *out, const char *name, const struct ram_allocate_opts *opts,
                       struct ram_err *err)
{
    const struct ram_method *method = ram_method_find(name);
    const struct {
        const char *key;
        json_t *value;
    } options[] = {
        {"method", json_string(name)},
        {"size", integer_if(opts->size, opts->size)},
        {"bpw", bpw_of(method, opts)},
        {"fit", integer_if(opts->fit, opts->fit)},
        {"context", integer_if(opts->fit, ram_budget_context(opts))},
        {"bytes-per-token", integer_if(opts->bytes_per_token, opts->bytes_per_token)},
        {"bits", integer_if(method->uniform, (uint64_t)(opts->bits ? opts->bits : 4))},
        {"group", integer_if(method->uniform && opts->bits != 16,
                             (uint64_t)(opts->group ? opts->group : 128))},
        {"keep-embeddings", true_if(opts->keep_embeddings)},
        {"t2", threshold_of(opts->t2)},
        {"t8", threshold_of(opts->t8)},
        {"t16", threshold_of(opts->t16)},
        {"search", true_if(opts->search)},
        {"weights", weights_of(opts)},
        {"protect", list_of(opts->protect, opts->n_protect)},
        {"sensitive", list_of(opts->sensitive, opts->n_sensitive)},
        {"set", list_of(opts->set, opts->n_set)},
        {"expert-rule", opts->expert_rule ? json_string(opts->expert_rule) : json_null()},
    };
    int status = RAM_OK;

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (!status)
            status = put_known(out, options[i].key, options[i].value, err);
        else
            json_decref(options[i].value);
    }
    return status;
}

/* What the manifest says of its own making, in the names of options. */
static int put_measured(json_t *out, const struct ram_manifest *manifest, struct ram_err *err)
{
    static const char *const counts[][2] = {{"expert_sample", "expert-sample"},
                                            {"output_probes", "output-probes"}};
    const struct ram_sensitivity_record *probes = manifest->sensitivities;
    const json_t *settings = manifest->settings;
    const json_int_t seed = json_integer_value(json_object_get(settings, "seed"));
    int status = RAM_OK;

    for (size_t i = 0; i < 2 && !status; i++) {
        const json_int_t n = json_integer_value(json_object_get(settings, counts[i][0]));
        status = put_known(out, counts[i][1], integer_if(n, (uint64_t)n), err);
    }
    if (!status && json_is_null(json_object_get(settings, "svd")))
        status = ram_json_put(out, "no-svd", json_true(), err);
    if (!status)
        status = put_known(out, "seed", integer_if(seed && seed != 42, (uint64_t)seed), err);
    if (status || !probes)
        return status;
    status = ram_json_put(out, "probe", json_true(), err);
    if (!status)
        status = put_known(out, "tier", json_string(probes->tier), err);
    if (!status && probes->curves.encoder)
        status = ram_json_put(out, "curves", json_true(), err);
    if (!status)
        status = put_same(out, "calibration", probes->calibration, err);
    return status;
}

int ram_allocate_record(struct ram_plan *plan, const struct ram_manifest *manifest,
                        const char *method, const struct ram_allocate_opts *opts,
                        struct ram_err *err)
{
    json_t *options = json_object(), *measured = json_object();
    const char *encoder = opts->encoder;
    int status = options && measured ? RAM_OK : ram_fail(err, RAM_ENOMEM, "no memory for settings");

    if (!status)
        status = put_options(options, method, opts, err);
    if (!status)
        status = put_measured(measured, manifest, err);
    if (!status && encoder && !json_object_get(plan->settings, "encoder"))
        status = ram_json_put(plan->settings, "encoder", json_string(encoder), err);
    if (!status)
        status = ram_json_put(plan->settings, "options", json_incref(options), err);
    if (!status)
        status = ram_json_put(plan->settings, "measured", json_incref(measured), err);
    json_decref(options);
    json_decref(measured);
    return status;
}
