/* Flipped, cropped and normalised in one pass: a table look-up for each byte. */

#include <stddef.h>

#include "lanes.h"
#include "pixels.h"

enum { BYTES = 256 };

INLINE void take_row(const struct pixels *o, const uint8_t *from, const int64_t *columns,
                     float *to, int64_t channels)
{
    for (int64_t x = 0; x < o->width; x++) {
        const uint8_t *pixel = from + (columns ? columns[x] : x) * channels;
        for (int64_t c = 0; c < channels; c++)
            *to++ = o->table[c * BYTES + pixel[c]];
    }
}

void FOR_LEVEL(pixels_to_values)(const struct pixels *o, int32_t threads)
{
    (void)threads;
#pragma omp parallel for schedule(dynamic, 32) num_threads(threads)
    for (int64_t k = 0; k < o->images * o->height; k++) {
        int64_t image = k / o->height, row = o->rows ? o->rows[k] : k % o->height;
        const uint8_t *from =
            o->bytes + (image * o->height + row) * o->width * o->channels;
        const int64_t *columns = o->columns ? o->columns + image * o->width : NULL;
        float *to = o->values + k * o->width * o->channels;
        if (o->channels == 3) /* known to the compiler, which then needs no loop */
            take_row(o, from, columns, to, 3);
        else
            take_row(o, from, columns, to, o->channels);
    }
}
