/* Products of words, which are 32 bits of an operand: with images in bfloat16 a pair of numbers that
   one instruction multiplies and adds up in float32, in float32 one number. */

#ifndef RAVINE_WORDS_H
#define RAVINE_WORDS_H

#include <stddef.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "transpose.h"

#if defined(__AVX512F__) || defined(__aarch64__)
enum { REGISTERS = 32 };
#else
enum { REGISTERS = 16 };
#endif

enum {
    CHANNELS = 16, /* channels are multiples of it */
    IN_WORD = sizeof(float) / sizeof(element),
    LINE = 64,
    BETWEEN = 16, /* words between operands, so that they don't meet in the caches' sets */
};

INLINE int this_thread(void)
{
#if defined(_OPENMP)
    return omp_get_thread_num();
#else
    return 0;
#endif
}

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

/* Loads what `store_both` stores. */
INLINE void load_both(const element *p, floats to[2])
{
#if defined(IMAGES_FLOAT32)
    to[0] = load(p, LANES);
    to[1] = load(p + LANES, LANES);
#else
    /* Each element to the upper half of a float. */
    const __m512i low = _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0, 6, 0, 5,
                                         0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
    const __m512i high = _mm512_set_epi16(31, 0, 30, 0, 29, 0, 28, 0, 27, 0, 26, 0, 25, 0, 24, 0, 23, 0, 22, 0,
                                          21, 0, 20, 0, 19, 0, 18, 0, 17, 0, 16, 0);
    __m512i both = _mm512_loadu_si512(p);
    to[0] = (floats)_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, low, both);
    to[1] = (floats)_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, high, both);
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
