/* Which tiles of a block a component of the transform is needed for. */

#ifndef RAVINE_WINOGRAD_PARTS_H
#define RAVINE_WINOGRAD_PARTS_H

#include "blocks.h"
#include "winograd_transforms.h"

static const struct reach TILE = {OUTPUTS, HALO, HALO}, RESULTS = {OUTPUTS, 0, 0};

/* The tiles that need component t: from here on, */
INLINE int64_t first_tile(const struct parts *p, int64_t t)
{
    return t % SIDE == SIDE - 1 ? p->whole : p->right;
}

/* and up to here. */
INLINE int64_t end_tile(const struct parts *p, int64_t t)
{
    if (t / SIDE == SIDE - 1)
        return p->below;
    return t % SIDE == SIDE - 1 ? p->corner : p->end;
}

#endif
