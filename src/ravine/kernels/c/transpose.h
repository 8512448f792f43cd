/* Rows of numbers that become columns. */

#ifndef RAVINE_TRANSPOSE_H
#define RAVINE_TRANSPOSE_H

#include "lanes.h"

#if defined(__AVX512F__)
/* 16×16 dwords. */
INLINE void transpose(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 16; i += 8)
        for (int k = 0; k < 4; k++) {
            t[i + k] = _mm512_shuffle_i32x4(r[i + k], r[i + 4 + k], 0x88);
            t[i + 4 + k] = _mm512_shuffle_i32x4(r[i + k], r[i + 4 + k], 0xdd);
        }
    for (int k = 0; k < 8; k++) {
        r[k] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0x88);
        r[k + 8] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0xdd);
    }
}
#endif

enum { COLUMNS = 16 };

/* LANES rows of COLUMNS numbers, which begin `apart` numbers apart, as COLUMNS vectors. A row is read
   at once: rows of kernels often lie a power of two apart, in one set of the first cache. */
INLINE void load_transposed(const float *from, int64_t apart, float to[COLUMNS][LANES])
{
#if defined(__AVX512F__)
    __m512i rows[LANES];
    for (int i = 0; i < LANES; i++)
        rows[i] = _mm512_loadu_si512(from + i * apart);
    transpose(rows);
    for (int k = 0; k < COLUMNS; k++)
        _mm512_storeu_si512(to[k], rows[k]);
#else
    float rows[LANES][COLUMNS];
    for (int i = 0; i < LANES; i++)
        memcpy(rows[i], from + i * apart, sizeof rows[i]);
    for (int k = 0; k < COLUMNS; k++)
        for (int i = 0; i < LANES; i++)
            to[k][i] = rows[i][k];
#endif
}

#endif
