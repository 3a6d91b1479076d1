/* sequences.c - see sequences.h. */
#include "probe/sequences.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>

int ram_probe_forward(struct ram_forward **out, const struct ram_model *model,
                      struct ram_sequences on, size_t copies, const struct ram_exec *exec,
                      struct ram_err *err)
{
    const struct ram_forward_opts opts = {.f32 = true, .exec = exec};
    const size_t length = on.length, n = copies * on.n;
    struct ram_span *spans = ram_calloc(n, sizeof *spans, err);

    for (size_t i = 0; spans && i < n; i++)
        spans[i] = (struct ram_span){on.tokens + i % on.n * length, length, RAM_NO_PARENT};
    const int status = spans ? ram_forward_new(out, model, spans, n, &opts, err) : RAM_ENOMEM;
    free(spans);
    return status;
}

void ram_sequences_settings(struct ram_buf *settings, struct ram_sequences on)
{
    ram_buf_printf(
        settings, "%zu x %zu tokens %016llx", on.n, on.length,
        (unsigned long long)ram_hash64(on.tokens, on.n * on.length * sizeof *on.tokens, 0));
}
