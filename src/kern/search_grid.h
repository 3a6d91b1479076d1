/*
 * search_grid.h - which pairs (scale, bias) the search of a group tries: for kern_ref_search.c
 * and kern_search.inc, the meaning and the fast form of ram_kern.affine_search.
 *
 * MLX puts 2^bits levels between the extremes of a group. A smaller range clips the few outer
 * weights and is finer for all others: with normal weights and groups of 64 it saves 21 % of the
 * squared error at 4 bits and 35 % at 2. Every candidate is scored as a reader will see it, with
 * scale and bias rounded to their stored type and codes rounded with respect to these. MLX's codes
 * are not, which by itself causes a third of the error at 8 bits.
 *
 * A group is searched in 16 lanes, each from a different upper end:
 *
 *   grid    lane j: upper end mean + c_j (max - mean); rows i: lower end mean + a_i (min - mean),
 *           the two ends alternate as the bias; each lane keeps its best. A row that clips too much
 *           at its lower end is pruned. The grid is computed in 16-bit integers, two weights in a
 *           lane, which ranks candidates as well as f32 and takes a third of the time
 *   refit   each lane's least-squares scale and bias for its codes, kept where they are better
 *   near    around the best of all lanes: scales up to 2 bf16 steps away, for each the best bias
 * and those one step beside it; the 16th lane tries MLX's own pair. This is repeated around what it
 * finds
 *
 * MLX's own encoding stays unless the result beats it in f64.
 */
#ifndef RAM_KERN_SEARCH_GRID_H
#define RAM_KERN_SEARCH_GRID_H

#include <stddef.h>
#include <stdint.h>

enum { RAM_SEARCH_LANES = 16, RAM_SEARCH_ROWS = 32 /* whole vectors */ };

struct ram_search_grid {
    size_t n_rows, n_near;
    int16_t n_cells, top; /* cells of a step; of all steps */
    float limit;          /* factors and offsets at most, in cells; beyond it nothing is tried */
    /* Fractions of the distance from the mean that the ends of the range take. */
    float low[RAM_SEARCH_ROWS], high[RAM_SEARCH_LANES];
};

/* A row of the grid is pruned if the weights below its lower end by themselves cause more than this
 * share of the least error so far: a refinement gains less than the rest. */
#define RAM_SEARCH_PRUNE_RATIO 0.75f

/* Weights are whole in units of range / (2^16 - 2), products lose 15 bits. */
#define RAM_SEARCH_FACTOR (32768.0f / 65534.0f)

/* effort: 1 fast, 2, 3 thorough; anything else counts as 2. 3 gains up to 1 % over 2, and 2 as much
 * over 1 (4 % with 5 bits in groups of 32), at twice the time each (bench/codec_search.c). */
static inline struct ram_search_grid ram_search_grid(int bits, unsigned effort)
{
    /* By experiment on normal weights and on Student's t with 3 and 9 degrees of freedom: beginning
     * a fifth lower gains at most 0.3 % and costs as much elsewhere. */
    static const float least[] = {
        [2] = 0.40f, [3] = 0.55f, [4] = 0.65f, [5] = 0.75f, [6] = 0.88f, [8] = 0.92f};
    /* The most for which 128 squares, of weights beyond the least range too, fit in 31 bits. */
    static const int16_t cells[] = {
        [2] = 1024, [3] = 1024, [4] = 1024, [5] = 512, [6] = 256, [8] = 64};
    const float first = least[bits], last = bits == 8 ? 1.02f : 1.06f;
    struct ram_search_grid grid = {.n_rows = effort == 1   ? 4
                                             : effort == 3 ? 24
                                                           : 8,
                                   .n_near = effort == 1 ? 1 : 2,
                                   .n_cells = cells[bits],
                                   .top = (int16_t)(cells[bits] * ((1 << bits) - 1))};

    grid.limit = 0.51f * (float)grid.top / first;
    for (size_t i = 0; i < grid.n_rows; i++)
        grid.low[i] = last - (last - first) * (float)i / (float)(grid.n_rows - 1);
    for (size_t j = 0; j < RAM_SEARCH_LANES; j++)
        grid.high[j] = first + (last - first) * (float)j / (RAM_SEARCH_LANES - 1);
    return grid;
}

/* What is added to the bit patterns of scale and bias in the `near` rounds: steps of bf16. */
#define RAM_STEP(k) ((int32_t)((uint32_t)(k) << 16))

static const int32_t ram_search_scale_steps[RAM_SEARCH_LANES] = {
    RAM_STEP(-2), RAM_STEP(-2), RAM_STEP(-2), RAM_STEP(-1), RAM_STEP(-1), RAM_STEP(-1),
    RAM_STEP(0),  RAM_STEP(0),  RAM_STEP(0),  RAM_STEP(1),  RAM_STEP(1),  RAM_STEP(1),
    RAM_STEP(2),  RAM_STEP(2),  RAM_STEP(2),  RAM_STEP(0),
};
static const int32_t ram_search_bias_steps[RAM_SEARCH_LANES] = {
    RAM_STEP(-1), RAM_STEP(0), RAM_STEP(1), RAM_STEP(-1), RAM_STEP(0), RAM_STEP(1),
    RAM_STEP(-1), RAM_STEP(0), RAM_STEP(1), RAM_STEP(-1), RAM_STEP(0), RAM_STEP(1),
    RAM_STEP(-1), RAM_STEP(0), RAM_STEP(1), RAM_STEP(0),
};

#endif
