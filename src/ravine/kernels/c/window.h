/* The largest or the mean of each window, then a norm, a residual and an activation. */

#ifndef RAVINE_WINDOW_H
#define RAVINE_WINDOW_H

#include <stdint.h>

/* ravine/kernels/inference_steps.py has the same layout. Images lie in channels_last, without gaps.
   y = act(window·scale + shift + residual). */
struct window {
    const void *x;        /* (images, height, width, channels) bfloat16 or float32 */
    const void *residual; /* like y, or null */
    void *y;              /* (images, out_height, out_width, channels), in the type of x */
    const float *scale, *shift; /* (channels), or both null */
    int64_t images, height, width, channels;
    int64_t out_height, out_width;
    int64_t kernel_height, kernel_width, stride, padding; /* what lies around is left out */
    int64_t is_mean;    /* else the largest; of a NaN it is NaN */
    int64_t activation; /* of norm.h */
    int64_t is_float32; /* images are, else bfloat16 */
};

#endif
