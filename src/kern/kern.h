/*
 * kern.h - the hot loops over weights, one table of functions for each kind of processor.
 *
 * kern_ref.c defines them in plain C. kern_lanes.inc has the same loops over vectors of 16 lanes
 * and is compiled once for each instruction set (kern_avx2.c, kern_avx512.c, kern_neon.c). All
 * variants give the same bits, and the checker (tests/kern) compares with memcmp: every operation
 * rounds as IEEE's does, and every sum has the order stated here.
 *
 * Order of sums. A kernel sees one block of one row. f32 sums have 16 lanes: lane i adds the
 * columns i, i + 16, i + 32, ... of the block in this order; then lane i + 8 is added to lane i,
 * then i + 4, i + 2, i + 1. f64 sums do the same with 8 lanes. Squares are added with one rounding
 * (fma). The caller decides in which order the sums of blocks are added.
 */
#ifndef RAM_KERN_KERN_H
#define RAM_KERN_KERN_H

#include "ram.h"

/* Type of scales and biases on disk: that of the weights. */
enum ram_scale_type { RAM_SCALE_BF16, RAM_SCALE_F16, RAM_SCALE_F32 };

/* A form of MLX affine quantisation; codec/affine.h says what it means. */
struct ram_affine {
    int bits, group; /* 2 3 4 5 6 8; 32 64 128 */
    enum ram_profile profile;
    enum ram_scale_type scale_type;
};

enum {
    RAM_KERN_BLOCK = 1024,        /* most columns a row kernel takes in one call */
    RAM_KERN_MOMENT_BLOCK = 4096, /* most weights `moments` takes */
    RAM_KERN_RECON_GROUP = 128,
    RAM_KERN_TILE = 16,   /* rows that the tile kernels take side by side */
    RAM_KERN_PLACES = 12, /* of `scatter` */
    RAM_KERN_N_BITS = 6,
    RAM_KERN_N_GROUPS = 3
};

/* 2 3 4 5 6 8 and 32 64 128. */
extern const int ram_kern_bits[RAM_KERN_N_BITS];
extern const int ram_kern_groups[RAM_KERN_N_GROUPS];

/* What the affine kernels ask of a form and of a block of n weights, for their assertions. Groups
 * are powers of two. */
static inline bool ram_kern_is_block(const struct ram_affine *f, size_t n)
{
    return f->bits >= 2 && f->bits <= 8 && f->bits != 7 && f->group >= 32 && f->group <= 128 &&
           (f->group & (f->group - 1)) == 0 && (n & ((size_t)f->group - 1)) == 0 &&
           n <= RAM_KERN_BLOCK;
}

/* Of a block of weights, with d = w - shift in f64: sums of d, d^2, d^3 and d^4. */
struct ram_kern_moments {
    double sum[4];
    float min, max; /* a zero is +0 */
};

/*
 * A group of n columns (32, 64, 128) of RAM_KERN_TILE rows that lie side by side: element (row, j)
 * is x[j * RAM_KERN_TILE + row]. Scales and biases [RAM_KERN_TILE] are as a reader sees them.
 */
struct ram_kern_tile {
    size_t n;
    const struct ram_affine *form;
    const float *w; /* the values that are quantised */
    float *q;       /* codes */
    float *scale, *bias;
    double *error; /* [RAM_KERN_TILE] the kernels add to it */
};

/* What all rows share: a square [n, n], row by row, and 1 / its diagonal. */
struct ram_kern_square {
    const float *x, *inverse;
    const float *sums; /* [n] the sums of its rows; only for tile_sweep */
    double total;      /* the sum of all of it; only for tile_sweep */
};

struct ram_kern {
    const char *name; /* "ref", "avx2", "avx512", "neon" */

    /* Exact widening; input need not be aligned. f8 is E4M3 without infinities (FN). */
    void (*widen_bf16)(const void *in, size_t n, float *out);
    void (*widen_f16)(const void *in, size_t n, float *out);
    void (*widen_f8)(const void *in, size_t n, float *out);
    /* The largest absolute value; 0 if n is 0. The result is undefined if there is a NaN. */
    float (*largest_bf16)(const void *in, size_t n);
    /* Round to nearest even; NaN becomes 0x7fc0 and 0x7e00. */
    void (*narrow_bf16)(const float *in, size_t n, uint16_t *out);
    void (*narrow_f16)(const float *in, size_t n, uint16_t *out);

    /*
     * MLX affine over one block of a row: n weights, a multiple of f->group, at most
     * RAM_KERN_BLOCK. codes: n * bits / 8 bytes; scales, biases: one value of f->scale_type a
     * group, not necessarily aligned. encode returns the sum of squared errors of what a reader
     * will see: of stored scale * code - (w - stored bias), rounded once.
     */
    float (*affine_encode)(const struct ram_affine *f, const float *w, size_t n, uint8_t *codes,
                           uint8_t *scales, uint8_t *biases);
    void (*affine_decode)(const struct ram_affine *f, const uint8_t *codes, const uint8_t *scales,
                          const uint8_t *biases, size_t n, float *w);

    /* The same contract, but scales, biases and codes are searched for (search_grid.h): the sum of
     * importance [n] (NULL: 1) times squared error is in no group larger than affine_encode's, in
     * f64. */
    float (*affine_search)(const struct ram_affine *f, unsigned effort, const float *w,
                           const float *importance, size_t n, uint8_t *codes, uint8_t *scales,
                           uint8_t *biases);

    /*
     * Steps of GPTQ over a tile (codec/gptq.h). Rows are independent of each other; every sum is
     * one chain of fused multiply-adds over increasing columns.
     *
     * tile_correct: target = w - s U, U upper triangular.
     * tile_code: chooses, column by column, the code whose value is nearest to the target, which is
     * w at first. For each column j, y = (value - target) / U_jj times row j of U is added to the
     * targets of the columns that follow. error += sum of y^2.
     */
    void (*tile_correct)(size_t n, const float *w, const float *s, const float *u, float *target);
    void (*tile_code)(const struct ram_kern_tile *t, const struct ram_kern_square *u);
    /* e = the decoded value, rounded as in affine_decode, minus w. */
    void (*tile_error)(const struct ram_kern_tile *t, float *e);
    /* out = x H. */
    void (*tile_product)(size_t n, const float *x, const float *h, float *out);
    /*
     * Changes scale and bias to those of least error e H e^T for the given codes (least squares, in
     * f64), then each column's code to its best value. g is half of the gradient of the error by
     * the values: e H, plus what other groups contribute; it is overwritten. error += the change.
     */
    void (*tile_sweep)(const struct ram_kern_tile *t, const struct ram_kern_square *h, float *g);

    /* What affine_encode would return for every bits and the first n_groups group sizes. */
    void (*affine_errors)(enum ram_profile profile, enum ram_scale_type type, const float *w,
                          size_t n, size_t n_groups,
                          float sums[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS]);

    /* The `error` metric's sum of squared errors over one block of a row of any n: groups of 128,
     * the last one short (analyze/recon.h). */
    float (*recon)(const float *w, size_t n);

    /* n >= 1. */
    void (*moments)(const float *w, size_t n, float shift, struct ram_kern_moments *out);

    /* Adds each of n vectors of 16 weights to sums [., 16] in RAM_KERN_PLACES rows, of which places
     * [n, RAM_KERN_PLACES] holds 16 times the number; if the first is odd, times -1. */
    void (*scatter)(const float *w, size_t n, const uint16_t *places, float *sums);
};

/* The best table this processor can run, as RAM_CPU allows. */
const struct ram_kern *ram_kern(void);

/* All tables this processor can run, worst first, for the checker; returns their number. */
size_t ram_kern_all(const struct ram_kern *tables[8]);

/* The tables themselves; those of another processor than this do not exist. */
extern const struct ram_kern ram_kern_ref, ram_kern_avx2, ram_kern_avx512, ram_kern_neon;

#endif
