/* The type of images in memory: bfloat16, or float32 in a file that is compiled with
   IMAGES_FLOAT32, whose functions then have _f32 in their names. */

#ifndef RAVINE_ELEMENT_H
#define RAVINE_ELEMENT_H

#include <stdint.h>

#if defined(IMAGES_FLOAT32)
typedef float element;
#else
typedef uint16_t element;
#endif

#endif
