/* The gradient of a convolution's weights. */

#ifndef RAVINE_WEIGHTS_H
#define RAVINE_WEIGHTS_H

#include <stdint.h>

/* ravine/kernels/weight_gradient.py has the same layout. Channels are multiples of 16; images and
   gradients lie in channels_last, without gaps. */
struct weights {
    const void *x;  /* (images, height, width, in) bfloat16; but by tiles float32 too */
    const void *dy; /* (images, out_height, out_width, out) likewise */
    float *dw;      /* (out, kernel, kernel, in) */
    /* The norm that has made what was convolved from x, act((x − mean)·rstd·weight + bias), or
       null. */
    const float *mean, *rstd, *weight, *bias; /* (in) */
    int64_t images, height, width, in;
    int64_t out_height, out_width, out;
    int64_t kernel, stride, padding;
    int64_t relu;       /* act is a ReLU, else nothing */
    int64_t algorithm;  /* as in convolve.h */
    int64_t is_float32; /* images are, else bfloat16; not by tiles */
};

#endif
