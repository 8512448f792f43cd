/* Digests of memory, by which a change of any number is noticed. */

#ifndef RAVINE_DIGEST_H
#define RAVINE_DIGEST_H

#include <stdint.h>

/* ravine/kernels/digest.py has the same layout. */
struct digest {
    const void *const *memory; /* pieces */
    const int64_t *bytes;      /* of each */
    uint64_t *digests;         /* of each, written */
    int64_t count;
};

#endif
