/* The algorithms of convolutions, and the levels that have code of their own for them. */

#ifndef RAVINE_TEST_ALGORITHMS_H
#define RAVINE_TEST_ALGORITHMS_H

#include "compare.h"
#include "exported.h"

struct algorithm {
    const char *name;
    int algorithm, is_float32, lowest, highest;
    double limit;
};

static const struct algorithm ALGORITHMS[] = {
    {"tiles", TILES, 0, AMX, EMULATED_AMX, DIRECT_BFLOAT16},
    {"direct", DIRECT, 0, AVX512_BF16, AMX, DIRECT_BFLOAT16},
    {"direct", DIRECT, 1, BASE, AVX512, DIRECT_FLOAT32},
    {"F(2x2)", WINOGRAD_2, 0, AVX512_BF16, AMX, 6e-3},
    {"F(4x4)", WINOGRAD_4, 0, AVX512_BF16, AMX, 1.8e-2},
    {"F(4x4)", WINOGRAD_4, 1, BASE, AVX512, DIRECT_FLOAT32},
};
enum { ALGORITHM_COUNT = sizeof ALGORITHMS / sizeof *ALGORITHMS };

/* Calls `check` for each algorithm and level that this processor has. */
static inline void each_algorithm(void (*check)(const struct algorithm *a, int level))
{
    for (int k = 0; k < ALGORITHM_COUNT; k++)
        for (int level = ALGORITHMS[k].lowest; level <= ALGORITHMS[k].highest; level++)
            if (has_level(level))
                check(&ALGORITHMS[k], level);
}

#endif
