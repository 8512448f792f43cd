/* A register full of numbers at a time: bfloat16 or float32 in memory (element.h), float32 in the
   register. A vector wider than the processor's would live in memory. */

#ifndef RAVINE_LANES_H
#define RAVINE_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "element.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif
#if defined(__AVX512BF16__)
#define HAS_BFLOAT16
#elif defined(RAVINE_EMULATE_TILES)
#include "emulated_tiles.h"
#define HAS_BFLOAT16
#endif

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

#define INLINE static inline __attribute__((always_inline))
#define JOINED(name, level) name##_##level
#define NAMED(name, level) JOINED(name, level)
#if defined(IMAGES_FLOAT32)
#define FOR_LEVEL(name) NAMED(name##_f32, LEVEL)
typedef words patterns; /* the bits of LANES elements */
typedef uint32_t pattern;
#else
#define FOR_LEVEL(name) NAMED(name, LEVEL)
typedef halves patterns;
typedef uint16_t pattern;
#endif

INLINE floats widen(halves h)
{
    return (floats)(__builtin_convertvector(h, words) << 16);
}

INLINE halves narrow(floats f)
{
#if defined(HAS_BFLOAT16)
    return (halves)_mm512_cvtneps_pbh((__m512)f);
#else
    words u = (words)f;
    words rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    words isnan = (words)(f != f);
    return __builtin_convertvector((rounded & ~isnan) | (0x7fc0u & isnan), halves);
#endif
}

/* `n` ≤ LANES numbers; the lanes from n on are 0. */
INLINE floats load_floats(const float *p, int64_t n)
{
    floats f = {0};
    memcpy(&f, p, n == LANES ? sizeof f : (size_t)n * 4);
    return f;
}

INLINE void store_floats(float *p, floats f, int64_t n)
{
    memcpy(p, &f, n == LANES ? sizeof f : (size_t)n * 4);
}

#if defined(IMAGES_FLOAT32)
INLINE floats load(const element *p, int64_t n)
{
    return load_floats(p, n);
}

INLINE void store(element *p, floats f, int64_t n)
{
    store_floats(p, f, n);
}
#else
INLINE floats load(const element *p, int64_t n)
{
    halves h = {0};
    if (n == LANES)
        memcpy(&h, p, sizeof h);
    else
        memcpy(&h, p, (size_t)n * 2);
    return widen(h);
}

INLINE void store(element *p, floats f, int64_t n)
{
    halves h = narrow(f);
    memcpy(p, &h, n == LANES ? sizeof h : (size_t)n * 2);
}
#endif

INLINE floats choose(ints mask, floats yes, floats no)
{
    return (floats)(((words)mask & (words)yes) | (~(words)mask & (words)no));
}

INLINE floats square_root(floats f)
{
#if defined(__AVX512F__)
    return (floats)_mm512_sqrt_ps((__m512)f);
#elif defined(__AVX__)
    return (floats)_mm256_sqrt_ps((__m256)f);
#else
    float lanes[LANES];
    memcpy(lanes, &f, sizeof f);
    for (int i = 0; i < LANES; i++)
        lanes[i] = sqrtf(lanes[i]);
    memcpy(&f, lanes, sizeof f);
    return f;
#endif
}

/* The larger one; b where that is NaN. */
INLINE floats larger(floats a, floats b)
{
#if defined(__AVX512F__)
    return (floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return choose(a > b, a, b);
#endif
}

#endif
