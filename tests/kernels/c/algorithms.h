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

/* Those that an inference alone runs. */
static const struct algorithm OF_INFERENCE[] = {
    {"products", PRODUCT, 1, BASE, AVX512, DIRECT_FLOAT32},
    {"products", PRODUCT, 0, AVX512_BF16, AMX, DIRECT_BFLOAT16},
    {"F(2x2)", WINOGRAD_2, 1, BASE, AVX512, DIRECT_FLOAT32},
};
enum { OF_INFERENCE_COUNT = sizeof OF_INFERENCE / sizeof *OF_INFERENCE };

typedef void (*check_of_algorithm)(const struct algorithm *a, int level);

/* Calls `check` for each of the algorithms and each level that this processor has. */
static inline void each_of(const struct algorithm *algorithms, int count, check_of_algorithm check)
{
    for (int k = 0; k < count; k++)
        for (int level = algorithms[k].lowest; level <= algorithms[k].highest; level++)
            if (has_level(level))
                check(&algorithms[k], level);
}

static inline void each_algorithm(check_of_algorithm check)
{
    each_of(ALGORITHMS, ALGORITHM_COUNT, check);
}

static inline void each_algorithm_of_inference(check_of_algorithm check)
{
    each_of(ALGORITHMS, ALGORITHM_COUNT, check);
    each_of(OF_INFERENCE, OF_INFERENCE_COUNT, check);
}

#endif
