/* Convolutions and their input gradients, square in kernel, stride and padding. */

#ifndef RAVINE_CONVOLVE_H
#define RAVINE_CONVOLVE_H

#include <stdint.h>

/* The most that a kernel and a stride may measure. */
enum { MOST_KERNEL = 5, MOST_STRIDE = 3 };

/* ravine/kernels/convolve.py has the same layout. Channels are multiples of 16; images lie in
   channels_last, without gaps. Backward x is the gradient of the convolution's result
   and y that of its input, plus `residual`. */
struct convolution {
    const uint16_t *x;     /* (images, height, width, in) bfloat16 */
    const float *w;        /* (out, kernel, kernel, in), or (in, kernel, kernel, out) backward */
    const uint16_t *residual; /* (images, out_height, out_width, out) bfloat16, or null */
    uint16_t *y;           /* likewise */
    float *sums;           /* (images · phases, 2, out) Σy and Σy² of each image, or null */
    /* A norm, z = act((· − mean)·rstd·weight + bias), or null. Forward it is applied to x as
       x is copied. Backward it made the convolution's input from `normed`, and sums are Σdz and
       Σdz·(normed − mean). */
    const uint16_t *normed; /* backward: like y */
    const float *mean, *rstd, *weight, *bias; /* (in), or (out) backward */
    int64_t images, height, width, in;
    int64_t out_height, out_width, out;
    int64_t kernel, stride, padding;
    int64_t backward;
    int64_t relu; /* act is a ReLU, else nothing */
};

#endif
