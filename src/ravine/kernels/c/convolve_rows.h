/* What a convolution does between two tile operations: units of the next block of images are
   copied, a norm applied to them; rows of the last result are rounded, written and added up. */

#ifndef RAVINE_CONVOLVE_ROWS_H
#define RAVINE_CONVOLVE_ROWS_H

#include <string.h>

#include "convolve_plan.h"

enum { AHEAD = 2048 /* bytes that memory is asked for before they are copied */ };

/* Images that are being copied to a padded buffer. */
struct copying {
    const char *from;
    char *padded;
    const int32_t *offsets; /* of their positions in the padded buffer, in bytes */
    int64_t done, left;    /* bytes of a position, positions */
    struct normalising norm;
};

/* A result that is being written to y. */
struct writing {
    const float *result; /* (SIDE, SIDE) */
    uint16_t *y;
    const uint16_t *residual, *normed;
    struct normalising norm; /* of `normed` */
    const int32_t *offsets;   /* of its positions, relative to y */
    uint32_t end;            /* of the block in y: offsets from here on are not written */
    float *sums;             /* of the block's first image, or null */
    int64_t images, area;    /* of the block, of the phase */
    int64_t row;
};

/* The epilogue sums of 32 channels of one image, so far. */
struct summing {
    _Alignas(LINE) float sums[2 * SIDE];
    int64_t left;     /* positions of this image that are still to come */
    int64_t finished; /* images of the block */
};

INLINE __m512 widen_half(__m256i half)
{
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

INLINE __m512 widen_row(const uint16_t *from)
{
    return (__m512)load(from, TILE);
}

/* Copies 32 channels, or 16, from channel c on. */
INLINE void copy_channels(const struct copying *c, int is_line, char *to, int64_t channel)
{
    if (!c->norm.mean) {
        if (is_line)
            _mm512_store_si512((void *)to, _mm512_loadu_si512((const void *)c->from));
        else
            _mm256_store_si256((void *)to, _mm256_loadu_si256((const void *)c->from));
        return;
    }
    const uint16_t *from = (const uint16_t *)c->from;
    __m512 low = normalise(&c->norm, channel, widen_row(from));
    if (is_line) {
        __m512 high = normalise(&c->norm, channel + TILE, widen_row(from + TILE));
        _mm512_store_si512((void *)to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    } else {
        _mm256_store_si256((void *)to, (__m256i)_mm512_cvtneps_pbh(low));
    }
}

INLINE void copy_unit(struct copying *c, const struct convolution *o, const struct plan *p)
{
    if (!c->left)
        return;
    _mm_prefetch(c->from + AHEAD, _MM_HINT_T1);
    if (*c->offsets >= 0)
        copy_channels(c, p->unit == LINE, c->padded + *c->offsets + c->done, c->done / 2);
    c->from += p->unit;
    c->done += p->unit;
    if (c->done < o->in * 2)
        return;
    c->done = 0;
    c->offsets++;
    c->left--;
}

INLINE void add_to_sums(float *sums, __m512 first, __m512 second)
{
    _mm512_store_ps(sums, _mm512_add_ps(_mm512_load_ps(sums), first));
    _mm512_store_ps(sums + SIDE, _mm512_add_ps(_mm512_load_ps(sums + SIDE), second));
}

/* Adds 16 channels of one position: of y, or of the gradient before the activation. */
INLINE void add_channels(float *sums, const struct writing *w, int64_t offset, int64_t c, __m512 y)
{
    if (!w->normed) {
        add_to_sums(sums + c, y, _mm512_mul_ps(y, y));
        return;
    }
    __m512 x = widen_row(w->normed + offset + c), z = normalise(&w->norm, c, x);
    __m512 away = _mm512_sub_ps(x, _mm512_loadu_ps(w->norm.mean + c));
    /* where the ReLU gave 0 nothing passes */
    __mmask16 passes =
        w->norm.relu ? _mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_NEQ_UQ) : 0xffff;
    __m512 dz = _mm512_maskz_mov_ps(passes, y);
    add_to_sums(sums + c, dz, _mm512_mul_ps(dz, away));
}

/* Writes the sums of an image at its last position. */
INLINE void count_position(struct summing *a, const struct writing *w, const struct convolution *o,
                           const struct plan *p)
{
    if (!a->left)
        a->left = w->area;
    if (--a->left)
        return;
    float *to = w->sums + a->finished * p->phases * 2 * o->out;
    memcpy(to, a->sums, (size_t)p->wide * sizeof *to);
    memcpy(to + o->out, a->sums + SIDE, (size_t)p->wide * sizeof *to);
    memset(a->sums, 0, sizeof a->sums);
    a->finished = (a->finished + 1) % w->images;
}

/* Writes one row; what lies between the images goes to `scratch`. */
INLINE void write_row(struct writing *w, struct summing *a, const struct convolution *o,
                      const struct plan *p, uint16_t *scratch)
{
    int32_t offset = w->offsets[w->row];
    int is_inside = (uint32_t)offset < w->end, is_wide = p->wide == SIDE;
    uint16_t *to = is_inside ? w->y + offset : scratch;
    __m512 low = _mm512_load_ps(w->result + w->row * SIDE);
    __m512 high = _mm512_load_ps(w->result + w->row * SIDE + TILE);
    if (w->residual) {
        const uint16_t *residual = is_inside ? w->residual + offset : scratch;
        low = _mm512_add_ps(low, widen_row(residual));
        if (is_wide)
            high = _mm512_add_ps(high, widen_row(residual + TILE));
    }
    __m512i row = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    if (is_wide)
        _mm512_storeu_si512((void *)to, row);
    else
        _mm256_storeu_si256((void *)to, _mm512_castsi512_si256(row));
    if (w->sums && is_inside) {
        add_channels(a->sums, w, offset, 0, widen_half(_mm512_castsi512_si256(row)));
        if (is_wide)
            add_channels(a->sums, w, offset, TILE, widen_half(_mm512_extracti64x4_epi64(row, 1)));
        count_position(a, w, o, p);
    }
    int32_t soon = w->offsets[w->row + SIDE]; /* where the next result will be written */
    soon = (uint32_t)soon < w->end ? soon : 0;
    __builtin_prefetch(w->y + soon, 1);
    if (w->normed)
        __builtin_prefetch(w->normed + soon);
    w->row++;
}

#endif
