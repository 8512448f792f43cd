/* The gradients of a depthwise convolution's filters and biases. */

#ifndef RAVINE_DEPTHWISE_H
#define RAVINE_DEPTHWISE_H

#include <stdint.h>

#include "element.h"

/* ravine/kernels/depthwise.py has the same layout. Images lie in channels_last, without gaps. */
struct depthwise {
    const element *x;  /* (images, height, width, channels) */
    const element *dy; /* (images, out_height, out_width, channels) */
    float *dw;         /* (channels, kernel, kernel) */
    float *dbias;      /* (channels), or null */
    int64_t images, height, width, channels, out_height, out_width;
    int64_t kernel, stride, padding; /* 5 or 7; 1 or 2; along both sides */
    int32_t is_float32; /* images are float32, else bfloat16; library.c picks the code by it */
};

#endif
