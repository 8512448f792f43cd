/* What one instance of the Winograd code computes with: its element in memory, its vector, and a
   product of the two operands' 32-bit words.

   WINOGRAD_OUTPUTS is m of F(m×m, 3×3). With WINOGRAD_BFLOAT16 images and transformed operands are
   bfloat16, and a word is a pair of them that one instruction multiplies and adds up in float32;
   without, everything is float32, in vectors as wide as the level's. */

#ifndef RAVINE_WINOGRAD_LANES_H
#define RAVINE_WINOGRAD_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define JOINED_WINOGRAD(name, m, kind, level) winograd##m##_##kind##_##name##_##level
#define NAMED_WINOGRAD(name, m, kind, level) JOINED_WINOGRAD(name, m, kind, level)

#if defined(WINOGRAD_BFLOAT16)
#include <immintrin.h>
typedef uint16_t element;
#define WINOGRAD_NAME(name) NAMED_WINOGRAD(name, WINOGRAD_OUTPUTS, bf16, LEVEL)
#else
typedef float element;
#define WINOGRAD_NAME(name) NAMED_WINOGRAD(name, WINOGRAD_OUTPUTS, f32, LEVEL)
#endif

#if defined(__AVX512F__)
enum { WIDTH = 16, REGISTERS = 32 };
#elif defined(__AVX2__)
enum { WIDTH = 8, REGISTERS = 16 };
#elif defined(__aarch64__)
enum { WIDTH = 4, REGISTERS = 32 };
#else
enum { WIDTH = 4, REGISTERS = 16 };
#endif

enum {
    OUTPUTS = WINOGRAD_OUTPUTS, /* of a tile, along a side */
    SIDE = OUTPUTS + 2,         /* of a tile's input, and of its transform */
    AREA = SIDE * SIDE,
    CHANNELS = 16,  /* channels are multiples of it */
    IN_WORD = sizeof(float) / sizeof(element),
    LINE = 64,
};

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t mask __attribute__((vector_size(4 * WIDTH)));

INLINE vec load_floats(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_floats(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vec load(const element *p)
{
#if defined(WINOGRAD_BFLOAT16)
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return (vec)_mm512_slli_epi32(words, 16);
#else
    return load_floats(p);
#endif
}

INLINE void store(element *p, vec v)
{
#if defined(WINOGRAD_BFLOAT16)
    _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
    store_floats(p, v);
#endif
}

/* As it will be read from memory. */
INLINE vec rounded(vec v)
{
#if defined(WINOGRAD_BFLOAT16)
    __m256i halves = (__m256i)_mm512_cvtneps_pbh((__m512)v);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
#else
    return v;
#endif
}

/* Stores the channels of two tiles as words that a product adds up: pairs in bfloat16, else one
   tile after the other, `apart` words. */
INLINE void store_two(element *p, vec first, vec second, int64_t apart)
{
#if defined(WINOGRAD_BFLOAT16)
    (void)apart;
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                           23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi16(order, both));
#else
    store_floats(p, first);
    store_floats(p + apart, second);
#endif
}

/* sum + a·b of a word and a vector of words. */
INLINE vec multiply_add(vec sum, const float *a, vec b)
{
#if defined(WINOGRAD_BFLOAT16)
    int32_t word;
    memcpy(&word, a, sizeof word);
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(word), (__m512bh)b);
#else
    return sum + *a * b;
#endif
}

INLINE vec zero_where(mask m, vec v)
{
    return (vec)(~m & (mask)v);
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
