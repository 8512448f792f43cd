/* Convolutions 3×3 with a step of 1 and a border of 1. */

#ifndef RAVINE_CONVOLVE_H
#define RAVINE_CONVOLVE_H

#include <stdint.h>

/* ravine/kernels/convolve.py has the same layout. Channels are multiples of 32; images lie in
   channels_last, without gaps. */
struct convolution {
    const uint16_t *x;     /* (images, height, width, in) bfloat16 */
    const float *w;        /* (out, 3, 3, in), or (in, 3, 3, out) on the way back */
    const uint16_t *added; /* (images, height, width, out) bfloat16, or null */
    uint16_t *y;           /* (images, height, width, out) bfloat16 */
    float *moments;        /* (images, 2, out) Σy and Σy² of each image, or null */
    int64_t images, height, width, in, out;
    int64_t back; /* y is the gradient of what w was multiplied with, and x of its product */
};

#endif
