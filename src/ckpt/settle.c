/* settle.c - see settle.h. */
#include "ckpt/settle.h"

#include "arch/config_read.h"
#include "arch/tensors.h"
#include "ckpt/fp8.h"

#include <stdlib.h>
#include <string.h>

/* ---- is the head the embedding? ------------------------------------------------------------- */

static void forget(const struct ram_ckpt *ckpt, const struct ram_view views[2])
{
    for (int i = 0; i < 2 && ckpt->n_files; i++) /* tensors that were made up have no file */
        ram_view_forget(ckpt, &views[i], 0, views[i].rows);
}

/* As values, for two tensors of floating types. Rows are let go of as they are read. */
static int compare_values(const struct ram_ckpt *ckpt, const struct ram_tensor *a,
                          const struct ram_tensor *b, bool *same, struct ram_err *err)
{
    const struct ram_view views[2] = {ram_view_whole(a), ram_view_whole(b)};
    const size_t cols = views[0].cols, rows = views[0].rows;
    float *x = ram_alloc(2 * cols, sizeof *x, err);
    int status = x ? RAM_OK : RAM_ENOMEM;

    for (size_t row = 0; row < rows && !status && *same; row++) {
        status = ram_view_read(&views[0], row, 1, x, err);
        if (!status)
            status = ram_view_read(&views[1], row, 1, x + cols, err);
        *same = !status && !memcmp(x, x + cols, cols * sizeof *x);
    }
    forget(ckpt, views);
    free(x);
    return status;
}

static int is_same(const struct ram_ckpt *ckpt, const struct ram_tensor *a,
                   const struct ram_tensor *b, bool *same, struct ram_err *err)
{
    *same = a->n_dims == b->n_dims && a->n == b->n;
    for (int i = 0; *same && i < a->n_dims; i++)
        *same = a->shape[i] == b->shape[i];
    if (!*same)
        return RAM_OK;
    if (a->dtype == b->dtype && !a->scale && !b->scale) {
        const struct ram_view views[2] = {ram_view_whole(a), ram_view_whole(b)};
        *same = !memcmp(a->data, b->data, a->size);
        forget(ckpt, views);
        return RAM_OK;
    }
    *same = ram_dtypes[a->dtype].is_weight && ram_dtypes[b->dtype].is_weight;
    return compare_values(ckpt, a, b, same, err);
}

static int settle_head(struct ram_config *config, const struct ram_ckpt *ckpt,
                       struct ram_arena *arena, struct ram_notes *notes, struct ram_err *err)
{
    const struct ram_family *family = ram_family_of(config);
    char head_name[RAM_SLOT_NAME], embed_name[RAM_SLOT_NAME];
    bool same = true;

    ram_slot_name(head_name, config, family->head, RAM_NO_LAYER, 0);
    ram_slot_name(embed_name, config, family->embed, RAM_NO_LAYER, 0);
    const struct ram_tensor *head = ram_ckpt_find(ckpt, head_name);
    const struct ram_tensor *embed = ram_ckpt_find(ckpt, embed_name);
    if (config->tied == RAM_TIED_UNSAID)
        config->tied = head ? RAM_TIED_NO : RAM_TIED_YES;
    if (config->tied == RAM_TIED_NO || !head || !embed || !config->family)
        return RAM_OK;
    const int status = is_same(ckpt, head, embed, &same, err);
    if (status || same)
        return status;
    config->tied = RAM_TIED_NO;
    return ram_notes_add(notes, arena, err,
                         "'%s' differs from '%s' although tie_word_embeddings is true: the stored "
                         "head is used, as transformers does",
                         head_name, embed_name);
}

/* ---- heads of keys and values --------------------------------------------------------------- */

/* Where neither reader is told how many there are, and both guess differently, the rows of the
 * first k_proj decide. */
static void settle_kv_heads(struct ram_config *config, const struct ram_ckpt *ckpt)
{
    const struct ram_slot *slot = ram_family_matrix(config, RAM_ROLE_K, 0);
    char name[RAM_SLOT_NAME];
    const struct ram_tensor *k =
        slot ? ram_ckpt_find(ckpt, ram_slot_name(name, config, slot, 0, 0)) : NULL;

    if (config->kv_heads_unsaid && k && k->n_dims == 2 && config->head_dim &&
        k->shape[0] == config->n_heads * config->head_dim)
        config->n_kv_heads = config->n_heads;
}

/* ---- gains --------------------------------------------------------------------------------- */

bool ram_is_kernel(const struct ram_config *config, const struct ram_slot *slot,
                   const struct ram_tensor *t)
{
    const uint64_t positions = ram_slot_dim(config, slot->cols);

    return t->n_dims == 3 && t->shape[0] == ram_slot_dim(config, slot->rows) &&
           ((t->shape[1] == 1 && t->shape[2] == positions) ||
            (t->shape[1] == positions && t->shape[2] == 1));
}

/* Norms that multiply by 1 + what is published are kept as the sum where the convolution beside
 * them has been turned: both are done by the same conversion. */
static void settle_gains(struct ram_config *config, const struct ram_ckpt *ckpt)
{
    char name[RAM_SLOT_NAME];

    for (uint64_t layer = 0; layer < config->n_layers; layer++) {
        const struct ram_slot *slot = ram_family_vector(config, RAM_ROLE_DELTA_KERNEL, layer);
        const struct ram_tensor *t =
            slot ? ram_ckpt_find(ckpt, ram_slot_name(name, config, slot, (int)layer, 0)) : NULL;
        if (!slot)
            continue;
        config->gains_whole = t && t->n_dims == 3 && t->shape[2] == 1 && t->shape[1] != 1;
        return;
    }
}

int ram_config_settle(struct ram_config *config, const struct ram_ckpt *ckpt,
                      struct ram_arena *arena, struct ram_notes *notes, struct ram_err *err)
{
    struct ram_err found = {0};

    const int status = ram_config_read(config, ckpt->config, ckpt->dir, arena, &found);
    if (config->family) {
        settle_kv_heads(config, ckpt);
        settle_gains(config, ckpt);
    }
    if (settle_head(config, ckpt, arena, notes, err))
        return err->status;
    return status ? ram_fail(err, status, "%s", found.message) : RAM_OK;
}

enum ram_dtype ram_config_dtype(const struct ram_config *config, enum ram_dtype dtype)
{
    static const enum ram_dtype casts[] = {
        [RAM_CAST_F16] = RAM_F16, [RAM_CAST_BF16] = RAM_BF16, [RAM_CAST_F32] = RAM_F32};

    if (ram_dtypes[dtype].is_weight && config->cast != RAM_CAST_NONE)
        return casts[config->cast];
    return dtype == RAM_F64 ? RAM_F32 : ram_is_fp8(dtype) ? RAM_BF16 : dtype;
}
