/*
 * kern.h - the hot loops over weights, one table of functions for each kind of processor.
 *
 * kern_ref.c is the meaning, in plain C. kern_lanes.inc says the same over vectors of 16 lanes and
 * is compiled once for each instruction set (kern_avx2.c, kern_avx512.c, kern_neon.c). All
 * variants give the same bits, and the checker (tests/kern) compares with memcmp: every operation
 * rounds as IEEE's does, and every sum has the order stated here.
 *
 * Order of sums. A kernel sees one block of one row. f32 sums have 16 lanes: lane i adds the
 * columns i, i + 16, i + 32, ... of the block in this order; then lane i + 8 is added to lane i,
 * then i + 4, i + 2, i + 1. f64 sums do the same with 8 lanes. Squares are added with one rounding
 * (fma). What is done with the sums of blocks is the caller's to say.
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
    const float *w; /* what the codes are to come near to */
    float *q;       /* codes */
    float *scale, *bias;
    double *error; /* is added to */
};

/* What all rows share: a square [n, n], row by row, and 1 / its diagonal. */
struct ram_kern_square {
    const float *x, *inverse;
    const float *sums; /* of its rows ... */
    double total;      /* ... and of all of it; only for tile_sweep */
};

struct ram_kern {
    const char *name; /* "ref", "avx2", "avx512", "neon" */

    /* Exact widening; input need not be aligned. f8 is E4M3 without infinities (FN). */
    void (*widen_bf16)(const void *in, size_t n, float *out);
    void (*widen_f16)(const void *in, size_t n, float *out);
    void (*widen_f8)(const void *in, size_t n, float *out);
    /* The largest absolute value; 0 of none. Nothing is promised where one is a NaN. */
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
     * Steps of GPTQ over a tile; codec/gptq.h says what for. Rows do not touch each other; every
     * sum is one chain of fused multiply-adds over increasing columns.
     *
     * tile_correct: target = w - s U, U upper triangular.
     * tile_code: column by column the code nearest to w less what the columns before ask for: y =
     * (value - that) / U_jj times row j of U is added to what follows. error += sum of y^2.
     */
    void (*tile_correct)(size_t n, const float *w, const float *s, const float *u, float *target);
    void (*tile_code)(const struct ram_kern_tile *t, const struct ram_kern_square *u);
    /* e = what a reader sees, rounded as affine_decode does, less w. */
    void (*tile_error)(const struct ram_kern_tile *t, float *e);
    /* out = x H. */
    void (*tile_product)(size_t n, const float *x, const float *h, float *out);
    /*
     * Scale and bias of least error e H e^T for the codes as they are (least squares, in f64), then
     * for each column its best code. g is e H and whatever else the error's gradient has; it is
     * used up. error += what all this changes.
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
