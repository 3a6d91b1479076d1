/*
 * prompt.h - examples, prompts and their tokens, as lm-evaluation-harness 0.4.11 makes them: its
 * ContextSampler, build_qa_turn and TemplateLM._encode_pair.
 */
#ifndef RAM_EVALUATE_PROMPT_H
#define RAM_EVALUATE_PROMPT_H

#include "evaluate/documents.h"
#include "evaluate/rng_mt.h"
#include "text/tokenizer.h"

enum { RAM_FEWSHOT_SEED = 1234 };

/* Draws the examples of one document after the other, from one generator. */
struct ram_fewshot {
    const struct ram_documents *pool;
    size_t n;            /* examples of a document */
    bool without_itself; /* one more is drawn, and those equal to the document are dropped */
    struct ram_mt mt;
    size_t *drawn; /* [n + 1]; the first n are the examples, in order */
    size_t *work;  /* [pool->n] */
};

/* n = 0: the pool may be NULL. RAM_ERANGE if it is too small. */
int ram_fewshot_init(struct ram_fewshot *fewshot, const struct ram_documents *pool, size_t n,
                     bool without_itself, struct ram_err *err);
void ram_fewshot_release(struct ram_fewshot *fewshot);

/* The next document's examples. RAM_EFORMAT if too few are left without itself. */
int ram_fewshot_draw(struct ram_fewshot *fewshot, const struct ram_document *document,
                     struct ram_err *err);

/* Appends the examples drawn, each with its answer, and the question. */
void ram_prompt_write(const struct ram_fewshot *fewshot, const struct ram_document *document,
                      struct ram_buf *out);

/* Tokens of a prompt and of each choice behind it. Zeroed storage is empty; reused. */
struct ram_prompt_ids {
    struct ram_ids context, choices;
    size_t ends[RAM_MAX_CHOICES]; /* choice i ends before choices.items[ends[i]], where i + 1
                                   * begins */
};

void ram_prompt_ids_release(struct ram_prompt_ids *ids);

/* RAM_EFORMAT if there is nothing to go on, or a choice without a token of its own. */
int ram_prompt_encode(struct ram_encoder *encoder, const struct ram_tokenizer *tokenizer,
                      const struct ram_buf *prompt, const struct ram_document *document,
                      struct ram_prompt_ids *ids, struct ram_err *err);

#endif
