/* The largest of each 2×2 pixels. */

#ifndef RAVINE_POOL_H
#define RAVINE_POOL_H

#include <stdint.h>

/* ravine/kernels/pool.py has the same layout. Images lie in channels_last, without gaps; a last
   odd row or column is left out. */
struct pool {
    const uint16_t *x;  /* (images, height, width, channels) bfloat16 */
    uint16_t *y;        /* (images, height/2, width/2, channels) */
    uint8_t *index;     /* like y: which of the four is largest, row by row; or null */
    const uint16_t *dy; /* like y */
    uint16_t *dx;       /* like x */
    int64_t images, height, width, channels;
};

#endif
