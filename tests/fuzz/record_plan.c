/* A plan from hostile bytes: refused, or such that its own text says the same again. */
#include "record/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ram_plan *plan = NULL, *back = NULL;
    struct ram_err err = {0};
    char *text = NULL, *again = NULL;

    if (ram_plan_parse(&plan, (const char *)data, size, "fuzz", &err))
        return 0;
    if (ram_plan_text(plan, &text, &err) ||
        ram_plan_parse(&back, text, strlen(text), "text", &err) ||
        ram_plan_text(back, &again, &err) || strcmp(text, again) != 0)
        abort();
    free(text);
    free(again);
    ram_plan_free(plan);
    ram_plan_free(back);
    return 0;
}
