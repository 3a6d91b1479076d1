/* encoder.c - see encoder.h. A new encoder is a line in the table. */
#include "convert/encoder.h"

#include "base/buf.h"

#include <string.h>

static int nearest(const struct ram_storage *as, const struct ram_weight_factors *factors,
                   const float *w, size_t n, size_t cols, uint8_t *const planes[RAM_MAX_PLANES],
                   double *squared_error, struct ram_err *err)
{
    (void)factors;
    (void)err;
    *squared_error = ram_storage_encode(as, w, n, cols, planes);
    return RAM_OK;
}

static int search(const struct ram_storage *as, const struct ram_weight_factors *factors,
                  const float *w, size_t n, size_t cols, uint8_t *const planes[RAM_MAX_PLANES],
                  double *squared_error, struct ram_err *err)
{
    (void)factors;
    (void)err;
    *squared_error = as->form->codec->search(as, w, n, cols, planes);
    return RAM_OK;
}

static int gptq(const struct ram_storage *as, const struct ram_weight_factors *factors,
                const float *w, size_t n, size_t cols, uint8_t *const planes[RAM_MAX_PLANES],
                double *squared_error, struct ram_err *err)
{
    const struct ram_gptq how = {
        .factor = factors->inputs, .outputs = factors->outputs, .sweeps = RAM_GPTQ_SWEEPS};

    return as->form->codec->gptq(as, &how, w, n, cols, planes, squared_error, err);
}

static const struct ram_weight_encoder encoders[] = {
    {.name = "rtn",
     .what = "round to nearest: the bytes that MLX itself would write",
     .encode = nearest},
    {.name = "search",
     .what = "scales and biases searched for the least error; 30 times as long",
     .encode = search},
    {.name = "gptq",
     .what = "the least error of what a layer gives on text of the model's own making",
     .wants_inputs = true,
     .rows = ram_gptq_block,
     .weight_bytes = RAM_GPTQ_WEIGHT_BYTES,
     .encode = gptq},
};

const struct ram_weight_encoder *ram_weight_encoders(size_t *n)
{
    *n = sizeof encoders / sizeof *encoders;
    return encoders;
}

int ram_weight_encoder_find(const struct ram_weight_encoder **out, const char *name,
                            struct ram_err *err)
{
    struct ram_buf names = {0};
    const size_t n = sizeof encoders / sizeof *encoders;

    for (size_t i = 0; i < n; i++) {
        if (!strcmp(name ? name : "rtn", encoders[i].name)) {
            *out = &encoders[i];
            return RAM_OK;
        }
    }
    for (size_t i = 0; i < n; i++)
        ram_buf_printf(&names, "%s%s", i ? ", " : "", encoders[i].name);
    const int status = ram_fail(err, RAM_EUSAGE, "unknown encoder \"%s\"; there is: %s", name,
                                names.data ? names.data : "rtn");
    ram_buf_release(&names);
    return status;
}
