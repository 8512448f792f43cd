/* Local response normalisation. */

#ifndef RAVINE_RESPONSE_H
#define RAVINE_RESPONSE_H

#include <stdint.h>

#include "element.h"

/* ravine/kernels/response.py has the same layout. Images lie in channels_last, without gaps. */
struct response {
    const element *x;  /* (pixels, channels) */
    element *y;        /* like x */
    const element *dy; /* like x */
    element *dx;       /* like x */
    int64_t pixels, channels, size;
    double alpha, beta, k;
    int32_t is_float32; /* images are float32, else bfloat16; library.c picks the code by it */
};

#endif
