/* Local response normalisation. */

#ifndef RAVINE_RESPONSE_H
#define RAVINE_RESPONSE_H

#include <stdint.h>

/* ravine/kernels/response.py has the same layout. Images lie in channels_last, without gaps. */
struct response {
    const uint16_t *x;  /* (pixels, channels) bfloat16 */
    uint16_t *y;        /* like x */
    const uint16_t *dy; /* like x */
    uint16_t *dx;       /* like x */
    int64_t pixels, channels, size;
    double alpha, beta, k;
};

#endif
