/* Normalisation over a batch, with a residual and an activation, in two passes over memory. */

#ifndef RAVINE_NORM_H
#define RAVINE_NORM_H

#include <stdint.h>

#include "element.h"

enum activation { IDENTITY, RELU, GELU, SILU };
enum { SHARES = 32 }; /* of the rows: fixed, so that sums do not depend on the threads */

/* Images in channels_last as `rows` (B·H·W) of `channels` numbers each, without gaps.
   ravine/kernels/batch_norm.py has the same layout. Absent tensors are null. */
struct norm {
    const element *x;     /* (rows, channels) what is normalised */
    const element *residual; /* (rows, channels) added after the norm, or null */
    element *y;           /* (rows, channels) forward: the result, or null */
    const element *dy;    /* (rows, channels) backward: the gradient of y */
    const element *dx_more; /* (rows, channels) backward: another gradient of x, or null */
    element *dx;          /* (rows, channels); may be dy */
    element *dresidual;      /* (rows, channels) the gradient of `residual`, or null */
    const float *weight;   /* (channels) */
    const float *bias;     /* (channels) */
    float *mean;           /* (channels) of the batch; with `frozen` given from outside */
    float *rstd;           /* (channels) 1/√(variance + ε) likewise */
    float *running_mean;   /* (channels) moved towards the batch's, or null */
    float *running_var;    /* (channels) */
    float *dweight;        /* (channels) */
    float *dbias;          /* (channels) */
    double *sums;          /* room for 2·channels·SHARES numbers */
    const float *known_sums;  /* (images, 2, channels) Σx and Σx² of each image, or null; backward
                              Σdz and Σdz·(x − mean) of so many parts */
    int64_t rows;
    int64_t channels;
    int64_t images;
    double eps;
    double momentum; /* share of the batch in the running statistics */
    int32_t activation;
    int32_t frozen;     /* mean and rstd are given */
    int32_t is_float32; /* images are float32, else bfloat16; library.c picks the code by it */
};

#endif
