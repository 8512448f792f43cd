/* AMX's tile instructions in AVX-512: for tests on processors without AMX.

   Instruction set reference (Intel SDM, volume 2): TILELOADD, TILESTORED, TILEZERO, LDTILECFG,
   TDPBF16PS, VCVTNE2PS2BF16. A dot product adds up even and odd elements apart, each with fused
   multiply-adds in float32, then both, then the result to the destination; it rounds to nearest
   even and flushes denormals, whatever the thread's control register says. Not emulated: faults,
   and what a configuration leaves in the tiles. About thirty times slower than AMX. */

#ifndef RAVINE_EMULATED_TILES_H
#define RAVINE_EMULATED_TILES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { TILE_REGISTERS = 8, TILE_ROWS = 16, TILE_ROW_BYTES = 64 };

struct tile_register {
    _Alignas(64) uint8_t row[TILE_ROWS][TILE_ROW_BYTES];
    int rows, row_bytes;
};

static _Thread_local struct tile_register tile_registers[TILE_REGISTERS];

/* `config` in the layout of LDTILECFG: bytes 16 to 31 bytes of a row, from 48 on rows. */
static inline void emulated_loadconfig(const void *config)
{
    const uint8_t *bytes = config;
    memset(tile_registers, 0, sizeof tile_registers);
    for (int k = 0; k < TILE_REGISTERS; k++) {
        tile_registers[k].row_bytes = bytes[16 + 2 * k] | bytes[17 + 2 * k] << 8;
        tile_registers[k].rows = bytes[48 + k];
    }
}

static inline void emulated_release(void)
{
    memset(tile_registers, 0, sizeof tile_registers);
}

static inline void emulated_zero(int to)
{
    memset(tile_registers[to].row, 0, sizeof tile_registers[to].row);
}

static inline void emulated_loadd(int to, const void *from, int64_t stride)
{
    struct tile_register *t = &tile_registers[to];
    emulated_zero(to);
    for (int m = 0; m < t->rows; m++)
        memcpy(t->row[m], (const uint8_t *)from + m * stride, (size_t)t->row_bytes);
}

static inline void emulated_stored(int from, void *to, int64_t stride)
{
    const struct tile_register *t = &tile_registers[from];
    for (int m = 0; m < t->rows; m++)
        memcpy((uint8_t *)to + m * stride, t->row[m], (size_t)t->row_bytes);
}

/* The even and the odd bfloat16 elements of sixteen pairs, as float32. */
static inline __m512 even_elements(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

static inline __m512 odd_elements(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}

static inline void emulated_dot_product(struct tile_register *to, const struct tile_register *a,
                                        const struct tile_register *b)
{
    int pairs = a->row_bytes / 4 < b->rows ? a->row_bytes / 4 : b->rows;
    __m512 even_b[TILE_ROWS], odd_b[TILE_ROWS];
    for (int k = 0; k < pairs; k++) {
        __m512i row = _mm512_load_si512(b->row[k]);
        even_b[k] = even_elements(row), odd_b[k] = odd_elements(row);
    }
    for (int m = 0; m < to->rows; m++) {
        __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
        for (int k = 0; k < pairs; k++) {
            int32_t pair;
            memcpy(&pair, a->row[m] + 4 * k, sizeof pair);
            __m512i both = _mm512_set1_epi32(pair);
            even = _mm512_fmadd_ps(even_elements(both), even_b[k], even);
            odd = _mm512_fmadd_ps(odd_elements(both), odd_b[k], odd);
        }
        __m512 sum = _mm512_add_ps(_mm512_load_ps(to->row[m]), _mm512_add_ps(even, odd));
        _mm512_store_ps(to->row[m], sum);
    }
}

static inline void emulated_dpbf16ps(int to, int a, int b)
{
    enum { MASKED_FLUSHING = 0x9fc0 }; /* FTZ, DAZ, round to nearest even, no exceptions */
    unsigned before = _mm_getcsr();
    _mm_setcsr(MASKED_FLUSHING);
    __asm__ volatile("" ::: "memory"); /* loads and stores, and what lies between, stay inside */
    emulated_dot_product(&tile_registers[to], &tile_registers[a], &tile_registers[b]);
    __asm__ volatile("" ::: "memory");
    _mm_setcsr(before);
}

/* VCVTNEPS2BF16: rounds to nearest even, flushes denormals, keeps the top of a NaN. */
static inline __m256i emulated_cvtneps(__m512 floats)
{
    __m512i bits = _mm512_castps_si512(floats);
    __m512i sign = _mm512_and_si512(bits, _mm512_set1_epi32((int)0x80000000u));
    __m512i size = _mm512_andnot_si512(_mm512_set1_epi32((int)0x80000000u), bits);
    __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff)));
    __mmask16 is_denormal = _mm512_cmplt_epi32_mask(size, _mm512_set1_epi32(0x00800000));
    __mmask16 is_nan = _mm512_cmpgt_epi32_mask(size, _mm512_set1_epi32(0x7f800000));
    rounded = _mm512_mask_mov_epi32(rounded, is_denormal, sign);
    rounded = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x00400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

static inline __m512i emulated_cvtne2ps(__m512 high, __m512 low)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(emulated_cvtneps(low)),
                              emulated_cvtneps(high), 1);
}

/* Some are functions of immintrin.h, others macros. */
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig emulated_loadconfig
#define _tile_release emulated_release
#define _tile_zero emulated_zero
#define _tile_loadd emulated_loadd
#define _tile_stored emulated_stored
#define _tile_dpbf16ps emulated_dpbf16ps
#define _mm512_cvtneps_pbh emulated_cvtneps
#define _mm512_cvtne2ps_pbh emulated_cvtne2ps

#endif
