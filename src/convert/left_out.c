/* left_out.c - says which tensors of the source the output has no place for. */
#include "convert/conversion.h"

#include <string.h>

/* The tensors that one reason leaves out; a stack of experts counts once. */
static void notice_reason(const struct ram_layout *layout, const char *why,
                          const struct ram_exec *exec)
{
    const struct ram_tensor *first = NULL, *last = NULL;
    struct ram_buf line = {0};
    size_t n = 0;

    for (size_t i = 0; i < layout->n_sources; i++) {
        const struct ram_source *s = &layout->sources[i];
        if (!s->missed || strcmp(s->why_dropped, why) || s->tensor == last)
            continue;
        first = first ? first : s->tensor;
        last = s->tensor;
        n++;
    }
    ram_buf_printf(&line, "left out, because %s does not use %s: ", layout->format->loader,
                   n == 1 ? "it" : "them");
    ram_buf_grouped(&line, n);
    ram_buf_printf(&line, " tensor%s (%s)%s '%s'", n == 1 ? "" : "s", why,
                   n == 1 ? "," : ", such as", first->name);
    if (!line.failed)
        ram_exec_notice(exec, "%s", line.data);
    ram_buf_release(&line);
}

void ram_notice_left_out(const struct ram_layout *layout, const struct ram_exec *exec)
{
    enum { MAX_REASONS = 8 };
    const char *told[MAX_REASONS];
    size_t n_told = 0;

    for (size_t i = 0; i < layout->n_sources; i++) {
        const struct ram_source *s = &layout->sources[i];
        size_t k = 0;
        if (!s->missed)
            continue;
        while (k < n_told && strcmp(told[k], s->why_dropped) != 0)
            k++;
        if (k < n_told || n_told == MAX_REASONS)
            continue;
        told[n_told++] = s->why_dropped;
        notice_reason(layout, s->why_dropped, exec);
    }
}
