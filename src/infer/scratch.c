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
    const size_t width = hp->mlp_hidden > hp->moe.hidden ? hp->mlp_hidden : hp->moe.hidden;
    return width > hp->moe.shared ? width : hp->moe.shared;
}

static size_t gates_width(const struct ram_hparams *hp)
{
    return hp->gated ? hp->n_heads * hp->v_dim : 0;
}

size_t ram_fused_width(const struct ram_hparams *hp)
{
    const size_t gated = 2 * gates_width(hp);
    const size_t delta = ram_delta_width(&hp->delta) + hp->delta.n_v_heads * hp->delta.v_dim;
    return gated > delta ? gated : delta;
}

static size_t delta_row(const struct ram_delta_shape *d)
{
    return 2 * ram_delta_width(d) + d->n_v_heads * (d->v_dim + 4);
}

size_t ram_delta_room(const struct ram_delta_shape *d)
{
    return d->v_dim + 2 * d->k_dim * d->v_dim;
}

void ram_kv_floats(const struct ram_hparams *hp, size_t layer, size_t positions, size_t *k,
                   size_t *v)
{
    const bool recurs = ram_layer_recurs(hp, layer);

    *k = recurs ? ram_delta_state(&hp->delta) : hp->n_kv_heads * hp->qk_dim * positions;
    *v = recurs ? (hp->delta.kernel - 1) * ram_delta_width(&hp->delta)
                : hp->n_kv_heads * hp->v_dim * positions;
}

size_t ram_scratch_row(const struct ram_hparams *hp, bool spilled)
{
    const size_t sparse =
        hp->moe.n_experts ? hp->hidden + hp->moe.n_experts + 2 * hp->moe.top_k + 2 : 0;
    return (spilled ? hp->hidden : 0) + hp->hidden + hp->n_heads * hp->qk_dim +
           ram_widest_attended(hp) + hp->n_kv_heads * (hp->qk_dim + hp->v_dim) + latent_width(hp) +
           hp->kv_rank + 1 + sparse + gates_width(hp) + ram_fused_width(hp) + delta_row(&hp->delta);
}

size_t ram_scratch_mlp_row(const struct ram_hparams *hp)
{
    return 2 * hp->hidden + 2 * ram_widest_mlp(hp) + 1;
}

size_t ram_least_tile(const struct ram_hparams *hp)
{
    const size_t inputs[] = {hp->hidden, ram_widest_mlp(hp), ram_widest_attended(hp), hp->q_rank,
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

/* The constants make vectors of length 1, and queries' shorter by the root of their width. */
static void make_delta(struct ram_block *block, struct ram_arena *arena, size_t rows,
                       struct ram_err *err)
{
    const struct ram_delta_shape *d = &block->model->hp.delta;
    struct ram_scratch *s = &block->scratch;
    const size_t width = ram_delta_width(d), threads = ram_pool_threads(block->compute.pool);

    s->mixed = ram_arena_floats(arena, rows * width, err);
    s->convolved = ram_arena_floats(arena, rows * width, err);
    s->z = ram_arena_floats(arena, rows * d->n_v_heads * d->v_dim, err);
    s->ba = ram_arena_floats(arena, rows * 2 * d->n_v_heads, err);
    s->fused_ba = ram_arena_floats(arena, rows * 2 * d->n_v_heads, err);
    s->ones = ram_arena_floats(arena, width, err);
    s->q_length = ram_arena_floats(arena, d->k_dim, err);
    s->k_length = ram_arena_floats(arena, d->k_dim, err);
    s->states = ram_arena_floats(arena, threads * ram_delta_room(d), err);
    for (size_t i = 0; !err->status && i < width; i++)
        s->ones[i] = 1;
    for (size_t i = 0; !err->status && i < d->k_dim; i++) {
        s->k_length[i] = (float)(1 / sqrt((double)d->k_dim));
        s->q_length[i] = (float)(1 / (double)d->k_dim);
    }
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
    s->attended = ram_arena_floats(arena, rows * ram_widest_attended(hp), err);
    s->gates = ram_arena_floats(arena, rows * gates_width(hp), err);
    s->fused = ram_arena_floats(arena, rows * ram_fused_width(hp), err);
    if (hp->delta.n_v_heads)
        make_delta(block, arena, rows, err);
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
    s->shared_share = ram_arena_floats(arena, mlp_rows, err);
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
