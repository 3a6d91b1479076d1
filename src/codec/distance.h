/*
 * distance.h - how far quantised weights are from the weights: the one measure that the writer, the
 * verification, the card and the analysis share.
 */
#ifndef RAM_CODEC_DISTANCE_H
#define RAM_CODEC_DISTANCE_H

#include "base/err.h"

/*
 * Weights from here on are refused. MLX divides by a step of 1e-7 at least, and the quotient, as
 * well as every sum that the analysis makes in f32, must stay inside the range of a float.
 */
#define RAM_LARGEST_WEIGHT 0x1p104

/* The least step of MLX's affine coding (RAM_LEAST_STEP): weights below half of it become zeros. */
#define RAM_LEAST_STEP 1e-7

/* The sum of (a - b)^2, in f64 from left to right. */
double ram_squared_distance(const float *a, const float *b, size_t n);

/* Kernels sum squared errors of a block of n weights in f32. Whether that sum is meaningful: it is
 * not if it overflowed, or if the weights are so small that their squares underflow. */
bool ram_f32_sum_holds(float sum, const float *w, size_t n);

/* sqrt(squared_error / squared); 0 for a module of zeros. */
double ram_relative_error(double squared_error, double squared);

#endif
