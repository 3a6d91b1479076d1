/* A score from hostile bytes: refused, or such that its own text says the same again. */
#include "record/score.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ram_score *score = NULL, *back = NULL;
    struct ram_err err = {0};
    char *text = NULL, *again = NULL;

    if (ram_score_parse(&score, (const char *)data, size, "fuzz", &err))
        return 0;
    if (ram_score_text(score, &text, &err) ||
        ram_score_parse(&back, text, strlen(text), "text", &err) ||
        ram_score_text(back, &again, &err) || strcmp(text, again) != 0)
        abort();
    free(text);
    free(again);
    ram_score_free(score);
    ram_score_free(back);
    return 0;
}
