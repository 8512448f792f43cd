/* The doors of the library: each picks the code for the processor that it runs on.

   Levels: 0 what every processor of the kind has, 1 AVX2 with FMA, 2 AVX-512. */

#include <stdint.h>

#include "steps.h"

#if defined(_WIN32)
#define DOOR __declspec(dllexport)
#else
#define DOOR __attribute__((visibility("default")))
#endif

#define DECLARE(level)                                                                           \
    void step_##level(int32_t, struct tensor *, int64_t, const struct piece *, const int64_t *, \
                      int64_t, const double *, int32_t, int32_t);                                \
    void squares_##level(const struct tensor *, int64_t, const struct piece *, const int64_t *, \
                         int64_t, double *, double *, int32_t);

DECLARE(base)
#if defined(RAVINE_X86)
DECLARE(avx2)
DECLARE(avx512)
#endif

DOOR int32_t ravine_version(void)
{
    return RAVINE_VERSION;
}

/* Returns the highest level that this processor and this build have. */
DOOR int32_t ravine_level(void)
{
#if defined(RAVINE_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 1;
#endif
    return 0;
}

#if defined(RAVINE_X86)
#define PICK(name, level) \
    ((level) == 2 ? name##_avx512 : (level) == 1 ? name##_avx2 : name##_base)
#else
#define PICK(name, level) ((void)(level), name##_base)
#endif

/* Takes one step of rule number `rule` with every tensor that has a gradient. */
DOOR void ravine_step(int32_t level, int32_t rule, struct tensor *tensors, int64_t tensor_count,
                      const struct piece *pieces, const int64_t *units, int64_t unit_count,
                      const double *hyper, int32_t flush, int32_t threads)
{
    PICK(step, level)
    (rule, tensors, tensor_count, pieces, units, unit_count, hyper, flush, threads);
}

/* Writes the sum of the squares of each gradient; `partial` has room for one per piece. */
DOOR void ravine_squares(int32_t level, const struct tensor *tensors, int64_t tensor_count,
                         const struct piece *pieces, const int64_t *units, int64_t unit_count,
                         double *partial, double *sums, int32_t threads)
{
    PICK(squares, level)
    (tensors, tensor_count, pieces, units, unit_count, partial, sums, threads);
}
