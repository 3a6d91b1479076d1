/* Whatever manifest was taken can be allocated by every method, or refused; and the plan's text
 * is read back as the same plan. */
#include "record/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plan(const struct ram_plan *plan)
{
    struct ram_plan *back = NULL;
    struct ram_err err = {0};
    char *text = NULL, *again = NULL;

    if (ram_plan_text(plan, &text, &err) ||
        ram_plan_parse(&back, text, strlen(text), "text", &err) ||
        ram_plan_text(back, &again, &err) || strcmp(text, again) != 0)
        abort();
    free(text);
    free(again);
    ram_plan_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const set[] = {"up_proj=3"};
    static const struct ram_allocate_opts variants[] = {
        {.method = "uniform"},
        {.method = "uniform", .bits = 8, .group = 32, .set = set, .n_set = 1},
        {.method = "v1"},
        {.method = "v2", .expert_rule = "p90"},
        {.method = "v3-opt", .search = true},
        {.method = "auto", .expert_rule = "max"},
        {.method = "budget", .bpw = 5},
        {.method = "budget", .bpw = 3.5, .encoder = "gptq", .set = set, .n_set = 1},
        {.method = "budget", .fit = 1 << 20, .context = 16, .encoder = "search"}};
    struct ram_manifest *manifest = NULL;
    struct ram_err err = {0};

    if (ram_manifest_parse(&manifest, (const char *)data, size, "fuzz", &err))
        return 0;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct ram_plan *plan = NULL;
        struct ram_err refused = {0};
        if (!ram_allocate(manifest, &variants[i], &plan, &refused))
            check_plan(plan);
        ram_plan_free(plan);
    }
    ram_manifest_free(manifest);
    return 0;
}
