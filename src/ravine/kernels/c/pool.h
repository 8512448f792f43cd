/* The largest of each 2×2 pixels. */

#ifndef RAVINE_POOL_H
#define RAVINE_POOL_H

#include <stdint.h>

#include "element.h"

/* ravine/kernels/pool.py has the same layout. Images lie in channels_last, without gaps; a last
   odd row or column is left out. */
struct pool {
    const element *x;  /* (images, height, width, channels) */
    element *y;        /* (images, height/2, width/2, channels) */
    uint8_t *index;     /* like y: which of the four is largest, row by row; or null */
    const element *dy; /* like y */
    element *dx;       /* like x */
    int64_t images, height, width, channels;
    int32_t is_float32; /* images are float32, else bfloat16; library.c picks the code by it */
};

#endif
