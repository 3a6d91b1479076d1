/* scratch.c - the memory that a layer computes in: how much a row takes, and where it lies
 * (block.h). */
#include "infer/block.h"

#include <math.h>

static size_t latent_width(const struct ram_hparams *hp)
{
    const size_t kv = hp->kv_rank + hp->qk_dim - hp->nope_dim;
    return !hp->mla ? 0 : hp->q_rank > kv ? hp->q_rank : kv;
}

size_t ram_widest_mlp(const struct ram_hparams *hp)
{
    const size_t shared = hp->moe.n_shared * hp->moe.hidden;
    size_t width = hp->mlp_hidden > hp->moe.hidden ? hp->mlp_hidden : hp->moe.hidden;
    return width > shared ? width : shared;
}

size_t ram_scratch_row(const struct ram_hparams *hp, bool spilled)
{
    const size_t sparse =
        hp->moe.n_experts ? hp->hidden + hp->moe.n_experts + 2 * hp->moe.top_k + 2 : 0;
    return (spilled ? hp->hidden : 0) + hp->hidden + hp->n_heads * (hp->qk_dim + hp->v_dim) +
           hp->n_kv_heads * (hp->qk_dim + hp->v_dim) + latent_width(hp) + hp->kv_rank + 1 + sparse;
}

size_t ram_scratch_mlp_row(const struct ram_hparams *hp)
{
    return 2 * hp->hidden + 2 * ram_widest_mlp(hp);
}

size_t ram_least_tile(const struct ram_hparams *hp)
{
    const size_t inputs[] = {hp->hidden, ram_widest_mlp(hp), hp->n_heads * hp->v_dim, hp->q_rank,
                             hp->kv_rank};
    size_t least = hp->mla ? hp->kv_rank * hp->nope_dim : 0;

    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        least = least > 16 * inputs[i] ? least : 16 * inputs[i];
    return least;
}

float *ram_arena_floats(struct ram_arena *arena, size_t n, struct ram_err *err)
{
    size_t bytes;
    if (!ram_mul_size(n, sizeof(float), &bytes)) {
        ram_fail(err, RAM_ENOMEM, "no memory for %zu floats", n);
        return NULL;
    }
    return ram_arena_alloc(arena, bytes, err);
}

int ram_scratch_make(struct ram_block *block, struct ram_arena *arena, size_t rows, size_t mlp_rows,
                     bool spilled, struct ram_err *err)
{
    const struct ram_hparams *hp = &block->model->hp;
    const struct ram_moe *moe = &hp->moe;
    struct ram_scratch *s = &block->scratch;
    const size_t sparse_rows = moe->n_experts ? rows : 0;

    s->rows = rows;
    s->mlp_rows = mlp_rows;
    s->x = ram_arena_floats(arena, spilled ? rows * hp->hidden : 0, err);
    s->normed = ram_arena_floats(arena, rows * hp->hidden, err);
    s->q = ram_arena_floats(arena, rows * hp->n_heads * hp->qk_dim, err);
    s->k = ram_arena_floats(arena, rows * hp->n_kv_heads * hp->qk_dim, err);
    s->v = ram_arena_floats(arena, rows * hp->n_kv_heads * hp->v_dim, err);
    s->attended = ram_arena_floats(arena, rows * hp->n_heads * hp->v_dim, err);
    s->latent = ram_arena_floats(arena, rows * latent_width(hp), err);
    s->latent_kv = ram_arena_floats(arena, rows * hp->kv_rank, err);
    s->unit_of = (unsigned *)ram_arena_floats(arena, rows, err);
    block->compute.unit_of = s->unit_of;
    s->sum = ram_arena_floats(arena, sparse_rows * hp->hidden, err);
    s->router = ram_arena_floats(arena, (sparse_rows + 1) * moe->n_experts, err);
    s->chosen = (uint32_t *)ram_arena_floats(arena, sparse_rows * moe->top_k, err);
    s->share = ram_arena_floats(arena, sparse_rows * moe->top_k, err);
    s->members = (uint32_t *)ram_arena_floats(arena, sparse_rows, err);
    s->member_share = ram_arena_floats(arena, sparse_rows, err);
    s->gathered = ram_arena_floats(arena, mlp_rows * hp->hidden, err);
    s->gathered_unit = (unsigned *)ram_arena_floats(arena, mlp_rows, err);
    s->gate = ram_arena_floats(arena, mlp_rows * ram_widest_mlp(hp), err);
    s->up = ram_arena_floats(arena, mlp_rows * ram_widest_mlp(hp), err);
    s->part = ram_arena_floats(arena, mlp_rows * hp->hidden, err);
    block->compute.tile = ram_arena_floats(arena, block->compute.tile_size, err);
    return err->status;
}

int ram_scratch_rotary(struct ram_block *block, struct ram_arena *arena, size_t positions,
                       struct ram_err *err)
{
    const struct ram_hparams *hp = &block->model->hp;
    struct ram_scratch *s = &block->scratch;

    for (size_t i = 0; i < hp->n_ropes; i++) {
        const struct ram_rope *rope = &hp->ropes[i];
        s->cosine[i] = ram_arena_floats(arena, positions * rope->n_pairs, err);
        s->sine[i] = ram_arena_floats(arena, positions * rope->n_pairs, err);
        if (err->status)
            return err->status;
        for (size_t p = 0; p < positions; p++)
            for (size_t j = 0; j < rope->n_pairs; j++) {
                const float angle = (float)p * rope->inv_freq[j];
                s->cosine[i][p * rope->n_pairs + j] = (float)(cos((double)angle) * rope->factor);
                s->sine[i][p * rope->n_pairs + j] = (float)(sin((double)angle) * rope->factor);
            }
    }
    return RAM_OK;
}
