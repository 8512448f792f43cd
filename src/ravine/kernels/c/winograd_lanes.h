/* Names and sizes of one instance of the Winograd code.

   WINOGRAD_OUTPUTS is m of F(m×m, 3×3). */

#ifndef RAVINE_WINOGRAD_LANES_H
#define RAVINE_WINOGRAD_LANES_H

#include "words.h"

#define JOINED_WINOGRAD(name, m, kind, level) winograd##m##_##kind##_##name##_##level
#define NAMED_WINOGRAD(name, m, kind, level) JOINED_WINOGRAD(name, m, kind, level)
#if defined(IMAGES_FLOAT32)
#define WINOGRAD_NAME(name) NAMED_WINOGRAD(name, WINOGRAD_OUTPUTS, f32, LEVEL)
#else
#define WINOGRAD_NAME(name) NAMED_WINOGRAD(name, WINOGRAD_OUTPUTS, bf16, LEVEL)
#endif

enum {
    OUTPUTS = WINOGRAD_OUTPUTS, /* of a tile, along a side */
    SIDE = OUTPUTS + 2,         /* of a tile's input, and of its transform */
    AREA = SIDE * SIDE,
    HALO = 2, /* positions that a tile's input is wider than its results */
};

#endif
