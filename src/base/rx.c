/* rx.c - see rx.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/rx.h"

#include "base/mem.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct ram_rx {
    pcre2_code *code;
};

int ram_rx_new(struct ram_rx **out, const char *pattern, bool ignore_case, struct ram_err *err)
{
    int code;
    PCRE2_SIZE offset;
    PCRE2_UCHAR text[256];

    struct ram_rx *rx = ram_calloc(1, sizeof *rx, err);
    if (!rx)
        return RAM_ENOMEM;
    rx->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                             PCRE2_UTF | PCRE2_UCP | (ignore_case ? PCRE2_CASELESS : 0), &code,
                             &offset, NULL);
    if (!rx->code) {
        pcre2_get_error_message(code, text, sizeof text);
        free(rx);
        return ram_fail(err, code == PCRE2_ERROR_HEAP_FAILED ? RAM_ENOMEM : RAM_EUSAGE,
                        "regular expression '%s', character %zu: %s", pattern, (size_t)offset + 1,
                        (const char *)text);
    }
    *out = rx;
    return RAM_OK;
}

void ram_rx_free(struct ram_rx *rx)
{
    if (rx)
        pcre2_code_free(rx->code);
    free(rx);
}

int ram_rx_search(const struct ram_rx *rx, const char *text, bool *found, struct ram_err *err)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    const int n = data ? pcre2_match(rx->code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, NULL)
                       : PCRE2_ERROR_NOMEMORY;
    pcre2_match_data_free(data);
    *found = n >= 0;
    if (n == PCRE2_ERROR_NOMEMORY)
        return ram_fail(err, RAM_ENOMEM, "no memory to look for a regular expression in '%s'",
                        text);
    return RAM_OK;
}
