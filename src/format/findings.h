/*
 * findings.h - what a verification looked at and what it found, to be told as text or JSON.
 */
#ifndef RAM_FORMAT_FINDINGS_H
#define RAM_FORMAT_FINDINGS_H

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

enum ram_check {
    RAM_CHECK_FILES,   /* containers, index, no stray weight files */
    RAM_CHECK_CONFIG,  /* the quantization blocks */
    RAM_CHECK_TENSORS, /* names and shapes that the loader looks for, widths as config.json says */
    RAM_CHECK_VALUES,  /* nothing but finite numbers */
    RAM_CHECK_RECORD,  /* ram.json: widths, checksums */
    RAM_CHECK_PLAN,    /* widths as planned */
    RAM_CHECK_SOURCE,  /* weight by weight against the source */
    RAM_N_CHECKS
};

struct ram_finding {
    enum ram_check check;
    const char *where; /* a tensor, a module, a file */
    const char *what;
};

struct ram_findings {
    struct ram_arena arena;
    struct ram_finding *items; /* of each check, the first ones up to a limit */
    size_t n, cap;
    size_t counts[RAM_N_CHECKS];
    bool done[RAM_N_CHECKS];         /* it was looked at */
    const char *notes[RAM_N_CHECKS]; /* what was looked at, or why it was not; may be NULL */
    bool failed;                     /* memory ran out */
};

void ram_findings_add(struct ram_findings *findings, enum ram_check check, const char *where,
                      const char *fmt, ...) RAM_PRINTF(4, 5);

/* A check was made (or not), and what there is to say of it. */
void ram_findings_note(struct ram_findings *findings, enum ram_check check, bool done,
                       const char *fmt, ...) RAM_PRINTF(4, 5);

size_t ram_findings_total(const struct ram_findings *findings);
void ram_findings_text(const struct ram_findings *findings, struct ram_buf *buf);
void ram_findings_markdown(const struct ram_findings *findings, struct ram_buf *buf);
json_t *ram_findings_json(const struct ram_findings *findings); /* {"checks", "differences"} */
void ram_findings_release(struct ram_findings *findings);

#endif
