/* The largest or the mean of each window, then a norm, a residual and an activation, in float32. */

#ifndef RAVINE_WINDOW_H
#define RAVINE_WINDOW_H

#include <stdint.h>

/* ravine/kernels/inference_steps.py has the same layout. Images lie in channels_last, without gaps.
   y = act(window·scale + shift + residual). */
struct window {
    const float *x;        /* (images, height, width, channels) */
    const float *residual; /* like y, or null */
    float *y;              /* (images, out_height, out_width, channels) */
    const float *scale, *shift; /* (channels), or both null */
    int64_t images, height, width, channels;
    int64_t out_height, out_width;
    int64_t kernel_height, kernel_width, stride, padding; /* what lies around is left out */
    int64_t is_mean;    /* else the largest; of a NaN it is NaN */
    int64_t activation; /* of norm.h */
};

#endif
