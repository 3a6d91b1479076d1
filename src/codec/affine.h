/*
 * affine.h - MLX affine quantisation: groups of 32, 64 or 128 weights along a row, codes of 2, 3,
 * 4, 5, 6 or 8 bits, w ~ scale * code + bias. docs/formats.md derives the rule.
 *
 * This file cuts rows into blocks and adds up their errors; a kernel codes a block (kern/kern_ref.c
 * defines how). struct ram_affine and enum ram_scale_type are declared in kern.h.
 *
 * Order of sums: a row is cut into blocks of RAM_KERN_BLOCK columns, whose f32 sums (kern.h) are
 * added in f64 from left to right; the sums of rows are added in order.
 */
#ifndef RAM_CODEC_AFFINE_H
#define RAM_CODEC_AFFINE_H

#include "codec/form.h"

/* The codec of the table's forms; its planes are codes, scales and biases. */
extern const struct ram_codec ram_affine_codec;

/* What kernels take. The form is one of this codec. */
struct ram_affine ram_affine_of(const struct ram_storage *as);

/* Bytes of a row's codes, and of its scales (or biases). cols is a multiple of group. */
size_t ram_affine_code_size(const struct ram_affine *f, size_t cols);
size_t ram_affine_scale_size(const struct ram_affine *f, size_t cols);

/*
 * Encodes n rows of w [n, cols]. codes: LSB-first bit stream, little-endian, code_size bytes a
 * row; scales, biases: scale_size bytes a row, not necessarily aligned. Returns the sum of squared
 * errors of what a reader will see (stored scale x code + stored bias). Weights are finite; groups
 * whose range overflows a float are written as MLX would, and the sum is then not finite.
 */
double ram_affine_encode(const struct ram_affine *f, const float *w, size_t n, size_t cols,
                         uint8_t *codes, uint8_t *scales, uint8_t *biases);

/* The squared error of one block (n <= RAM_KERN_BLOCK) as _encode counts it: sum, which a kernel
 * made in f32, or, if that does not hold (codec/distance.h), the same in f64. */
double ram_affine_block_error(const struct ram_affine *f, float sum, const float *w, size_t n,
                              const uint8_t *codes, const uint8_t *scales, const uint8_t *biases);

/* Decodes: scale * code + bias in f32, with two roundings, not fused. */
void ram_affine_decode(const struct ram_affine *f, const uint8_t *codes, const uint8_t *scales,
                       const uint8_t *biases, size_t n, size_t cols, float *w);

/*
 * Adds to sums[b][g] the squared error of every ram_kern_bits[b] and ram_kern_groups[g] over n rows
 * of w: exactly what _encode would return for these rows. A group that does not divide cols is left
 * out.
 */
void ram_affine_errors(enum ram_profile profile, enum ram_scale_type type, const float *w, size_t n,
                       size_t cols, double sums[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS]);

#endif
