/* What one instance of the Winograd code computes with, beside lanes.h: a product of words, which
   are 32 bits of the transformed operands.

   WINOGRAD_OUTPUTS is m of F(m×m, 3×3). With images in bfloat16 a word is a pair of numbers that
   one instruction multiplies and adds up in float32, in float32 it is one number. */

#ifndef RAVINE_WINOGRAD_LANES_H
#define RAVINE_WINOGRAD_LANES_H

#include <stddef.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "lanes.h"

#define JOINED_WINOGRAD(name, m, kind, level) winograd##m##_##kind##_##name##_##level
#define NAMED_WINOGRAD(name, m, kind, level) JOINED_WINOGRAD(name, m, kind, level)
#if defined(IMAGES_FLOAT32)
#define WINOGRAD_NAME(name) NAMED_WINOGRAD(name, WINOGRAD_OUTPUTS, f32, LEVEL)
#else
#define WINOGRAD_NAME(name) NAMED_WINOGRAD(name, WINOGRAD_OUTPUTS, bf16, LEVEL)
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
enum { REGISTERS = 32 };
#else
enum { REGISTERS = 16 };
#endif

enum {
    OUTPUTS = WINOGRAD_OUTPUTS, /* of a tile, along a side */
    SIDE = OUTPUTS + 2,         /* of a tile's input, and of its transform */
    AREA = SIDE * SIDE,
    CHANNELS = 16,              /* channels are multiples of it */
    IN_WORD = sizeof(float) / sizeof(element),
    LINE = 64,
    BETWEEN = 16, /* words between components, so that they don't meet in the caches' sets */
};

/* As it will be read from memory. */
INLINE floats rounded(floats v)
{
#if defined(IMAGES_FLOAT32)
    return v;
#else
    return widen(narrow(v));
#endif
}

/* Stores two vectors, one behind the other. */
INLINE void store_both(element *p, floats first, floats second)
{
#if defined(IMAGES_FLOAT32)
    store(p, first, LANES);
    store(p + LANES, second, LANES);
#else
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#endif
}

/* Stores the channels of two tiles as words that a product adds up: pairs in bfloat16, else one
   tile after the other, `apart` words. */
INLINE void store_two(element *p, floats first, floats second, int64_t apart)
{
#if !defined(IMAGES_FLOAT32)
    (void)apart;
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                           23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi16(order, both));
#else
    store(p, first, LANES);
    store(p + apart, second, LANES);
#endif
}

/* sum + a·b of a word and a vector of words. */
INLINE floats multiply_add(floats sum, const float *a, floats b)
{
#if !defined(IMAGES_FLOAT32)
    int32_t word;
    memcpy(&word, a, sizeof word);
    return (floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(word), (__m512bh)b);
#else
    return sum + *a * b;
#endif
}

INLINE int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

INLINE int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

INLINE size_t lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

#endif
