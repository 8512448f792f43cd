/* Bytes of images to the values that a network is given, from other positions of the same image. */

#ifndef RAVINE_PIXELS_H
#define RAVINE_PIXELS_H

#include <stdint.h>

/* ravine/kernels/pixels.py has the same layout. Images lie in channels_last, without gaps. */
struct pixels {
    const uint8_t *bytes;   /* (images, height, width, channels) */
    float *values;          /* likewise */
    const float *table;     /* (channels, 256) the value of each byte */
    const int64_t *rows;    /* (images, height) where each row comes from, or null */
    const int64_t *columns; /* (images, width) and each column; null with rows */
    int64_t images, height, width, channels;
};

#endif
