/* A norm over rows with a residual and an activation, and its gradients, as plain loops in double
   precision. */

#ifndef RAVINE_TEST_REFERENCE_NORM_H
#define RAVINE_TEST_REFERENCE_NORM_H

#include <stdint.h>

/* Tensors are (rows, channels), statistics (channels). */
struct norm_values {
    int64_t rows, channels;
    int kind, is_frozen; /* enum activation; mean and rstd are given */
    double eps;
    const double *x, *residual, *dy, *dx_more; /* residual and dx_more may be null */
    const double *weight, *bias;
    double *mean, *var, *rstd;
    double *y, *dz, *dx, *dweight, *dbias;
};

double activation_of(int kind, double z);
double activation_slope(int kind, double z);

/* Fills mean, var and rstd. */
void find_statistics(struct norm_values *v);

/* Fills y from x, mean and rstd. */
void find_norm(struct norm_values *v);

/* Fills dz, the gradient before the activation, dweight, dbias and dx. */
void find_norm_gradients(struct norm_values *v);

#endif
