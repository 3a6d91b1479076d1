/* convert_inputs.c - see convert_inputs.h. */
#include "drive/convert_inputs.h"

#include "probe/gradients.h"
#include "probe/hessian.h"

/* What flows into the matrices, and how the loss depends on what they give, for encoders that ask:
 * the model is run on tokens of its own, forward and backward. */
struct inputs {
    const struct ram_ckpt *ckpt;
    const struct ram_exec *exec;
    const char *text;
    struct ram_model *model;
    struct ram_hessians *hessians;
    struct ram_sequences derived; /* what the gradients are of */
    struct ram_gradients *gradients;
};

static int open_inputs(void *ctx, struct ram_err *err)
{
    struct inputs *in = ctx;
    const int status = ram_model_open(&in->model, in->ckpt, err);
    if (status)
        return status;
    const struct ram_synthetic what = ram_hessian_tokens(ram_model_bytes(in->model), in->text);
    /* The moments of derivatives lie beside everything else for as long as there is any. */
    const struct ram_exec most = ram_exec_share(in->exec, in->exec->max_memory / 4 * 3);
    const int opened = ram_hessians_open(&in->hessians, in->model, &what, RAM_HESSIAN_DAMP,
                                         RAM_HESSIAN_ENCODE, &most, err);
    if (opened)
        return opened;
    in->derived = ram_gradients_tokens(in->hessians, ram_model_bytes(in->model));
    return ram_gradients_open(&in->gradients, in->model, in->derived, in->exec, err);
}

static int factor_of(void *ctx, const char *unit, size_t expert, bool turned,
                     const struct ram_gptq_factor **out, struct ram_err *err)
{
    const struct inputs *in = ctx;
    return ram_hessians_factor(in->hessians, unit, expert, turned, out, err);
}

static int outputs_of(void *ctx, const char *unit, size_t matrix, size_t row, size_t n,
                      const struct ram_gptq_factor **out, struct ram_err *err)
{
    const struct inputs *in = ctx;
    return ram_gradients_factor(in->gradients, unit, matrix, row, n, out, err);
}

static void forget(void *ctx)
{
    const struct inputs *in = ctx;
    ram_gradients_forget(in->gradients);
    ram_hessians_forget(in->hessians);
}

static json_t *settings_of(void *ctx)
{
    const struct inputs *in = ctx;
    const struct ram_synthetic *what = ram_hessians_tokens(in->hessians);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "tokens", in->text ? "text" : "synthetic",
                     "sequences", (json_int_t)what->n, "derived", (json_int_t)in->derived.n,
                     "length", (json_int_t)what->length, "seed", (json_int_t)what->seed, "damp",
                     RAM_HESSIAN_DAMP);
}

static void identify(void *ctx, struct ram_buf *text)
{
    const struct inputs *in = ctx;
    ram_hessians_settings(in->hessians, text);
    ram_buf_printf(text, ", rows coupled by %zu sequences, those of experts by %zu tokens",
                   in->derived.n, ram_gradients_drawn(in->gradients));
}

int ram_convert_with_inputs(const struct ram_ckpt *ckpt, const struct ram_plan *plan,
                            const char *dir, const struct ram_convert_how *how,
                            enum ram_markup markup, char **out, struct ram_err *err)
{
    struct inputs in = {.ckpt = ckpt, .exec = how->exec, .text = how->opts->text};
    const struct ram_weight_inputs inputs = {&in,    open_inputs, factor_of, outputs_of,
                                             forget, settings_of, identify};
    const struct ram_convert_how own = {how->opts, how->exec, &inputs};

    const int status = ram_convert_run(ckpt, plan, dir, &own, markup, out, err);
    ram_gradients_close(in.gradients);
    ram_hessians_close(in.hessians);
    ram_model_close(in.model);
    return status;
}
