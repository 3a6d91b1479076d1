/* kern_ref.h - pieces of kern_ref.c that kern_ref_search.c builds on. */
#ifndef RAM_KERN_KERN_REF_H
#define RAM_KERN_KERN_REF_H

#include "kern/kern.h"

/* 16 and 8 lanes folded by halves; they are overwritten. */
float ram_kern_ref_fold(float *lanes);
double ram_kern_ref_fold_f64(double *lanes);

/* Writes x in the type of scales; returns what a reader will see. */
float ram_kern_ref_put_scale(enum ram_scale_type type, float x, uint8_t *out);

/* MLX's scale and bias of a group before they are stored, and its code of a weight. */
void ram_kern_ref_fit_group(const struct ram_affine *f, const float *w, float *scale, float *bias);
float ram_kern_ref_code(const struct ram_affine *f, float w, float scale, float bias);

/* 8 codes, integers in floats, to the `bits` bytes of their stream. */
void ram_kern_ref_put_codes(int bits, const float q[8], uint8_t *codes);

/* ram_kern.affine_search. */
float ram_kern_ref_search(const struct ram_affine *f, unsigned effort, const float *w,
                          const float *importance, size_t n, uint8_t *codes, uint8_t *scales,
                          uint8_t *biases);

/* The tile kernels. */
void ram_kern_ref_tile_correct(size_t n, const float *w, const float *s, const float *u,
                               float *target);
void ram_kern_ref_tile_code(const struct ram_kern_tile *t, const struct ram_kern_square *u);
void ram_kern_ref_tile_error(const struct ram_kern_tile *t, float *e);
void ram_kern_ref_tile_product(size_t n, const float *x, const float *h, float *out);
void ram_kern_ref_tile_sweep(const struct ram_kern_tile *t, const struct ram_kern_square *h,
                             float *g);

/*
 * Least squares for one row's scale and bias: with codes q, a = q H q, b = sum of H q, p = g q and
 * r = sum of g in a group. Changes *scale and *bias if that lessens the error, and returns by how
 * much; ds and db are what they changed by.
 */
struct ram_kern_fit {
    double a, b, p, r;
};
double ram_kern_ref_refit(enum ram_scale_type type, const struct ram_kern_fit *fit, double total,
                          float *scale, float *bias, float *ds, float *db);

#endif
