/* What the kernels that multiply tiles of bfloat16 (AMX) share. */

#ifndef RAVINE_TILES_H
#define RAVINE_TILES_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#if defined(RAVINE_EMULATE_TILES)
#include "emulated_tiles.h"
#endif

#include "transpose.h"

enum {
    TILE = 16, /* rows of a tile, and floats in a row */
    DEEP = 32, /* products that one tile operation adds up in each element */
    TILE_FLOATS = 256,
};

INLINE int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

INLINE size_t line(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* As many threads as are wanted, and no more than there are images. */
INLINE int threads_for(int64_t images, int32_t wanted)
{
#if defined(_OPENMP)
    return wanted < images ? wanted : (int)images;
#else
    (void)images, (void)wanted;
    return 1;
#endif
}

INLINE int this_thread(void)
{
#if defined(_OPENMP)
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* a/b, rounded down. */
INLINE int64_t floor_divide(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

/* What `_tile_loadconfig` reads. */
struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* All eight tiles to their full size. */
INLINE struct tile_shapes all_tiles(void)
{
    struct tile_shapes shapes = {.palette = 1};
    for (int k = 0; k < 8; k++)
        shapes.row_bytes[k] = 64, shapes.rows[k] = TILE;
    return shapes;
}

/* The same for this thread; `_tile_release` ends it. */
INLINE void begin_tiles(void)
{
    struct tile_shapes shapes = all_tiles();
    _tile_loadconfig(&shapes);
}

/* A norm, and the ReLU after it if there is one; with `mean` null there is neither. */
struct normalising {
    const float *mean, *scale, *bias; /* of the channels at hand; scale is rstd·weight */
    int64_t relu;
};

/* 16 channels from c on; as in norm.c, and NaN stays NaN. */
INLINE __m512 normalise(const struct normalising *m, int64_t c, __m512 x)
{
    __m512 away = _mm512_sub_ps(x, _mm512_loadu_ps(m->mean + c));
    __m512 z =
        _mm512_fmadd_ps(away, _mm512_loadu_ps(m->scale + c), _mm512_loadu_ps(m->bias + c));
    if (!m->relu)
        return z;
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_NLE_UQ), z);
}

/* 16 channels of two positions: dwords of (first, second). */
INLINE __m512i pair(const uint16_t *first, const uint16_t *second)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)first));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)second));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

#endif
