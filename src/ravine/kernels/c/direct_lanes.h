/* Names of one instance of the direct code, and where a result's taps lie in an image. */

#ifndef RAVINE_DIRECT_LANES_H
#define RAVINE_DIRECT_LANES_H

#include "blocks.h"

#define JOINED_DIRECT(name, kind, level) direct_##kind##_##name##_##level
#define NAMED_DIRECT(name, kind, level) JOINED_DIRECT(name, kind, level)
#if defined(IMAGES_FLOAT32)
#define DIRECT_NAME(name) NAMED_DIRECT(name, f32, LEVEL)
#else
#define DIRECT_NAME(name) NAMED_DIRECT(name, bf16, LEVEL)
#endif

/* One image, or a strip of it, (height, width, channels); what lies around it is zeros. */
struct picture {
    const element *pixels;
    int64_t height, width;
};

/* Of taps `first`, first + 1, … `count` of them, those inside [0, width): [from, to). */
INLINE void taps_inside(int64_t first, int64_t count, int64_t width, int64_t *from, int64_t *to)
{
    *from = least(count, most(0, -first));
    *to = most(*from, least(count, width - first));
}

/* The picture that a segment's tiles read from position (top, −left) on: where the norm is applied
   a strip of it, written to `strip`, else the image. Moves top and left accordingly. */
static struct picture read_picture(const struct source *x, const struct blocks *b,
                                   const struct segment *s, struct reach r, element *strip,
                                   int64_t *top, int64_t *left)
{
    *top = s->top * r.step - x->above, *left = -x->left;
    if (!x->mean)
        return (struct picture){x->images + s->image * x->height * x->width * x->channels, x->height,
                                x->width};
    copy_strip(x, b, s, r, strip);
    *top = 0, *left = 0;
    return (struct picture){strip, s->rows * r.step + r.down, strip_columns(b, r)};
}

#endif
