/* y[n, v, u, d] = Σ x[n, s·v + i − p, s·u + j − p, c] · w[d, i, j, c], and its input gradient, with
   AMX tiles.

   A matrix product over (i, j, c) for 32 positions and 32 channels at a time. Images are copied to
   a padded buffer with rows and columns of zeros between them, so that a tap (i, j) is an offset,
   and consecutive positions are the rows of a tile as they lie. With a stride s, x is split into its
   s² polyphase components, one for each remainder; backward y is, and each component has taps of its
   own. A tile operation takes 16 cycles: between two of them, lines of the next block of images are
   copied and rows of the last result are rounded and written, so that memory latency is hidden
   (without that, the same loop runs at two thirds of the speed). A norm before the convolution is
   applied to what is copied. The sums that a norm needs, forward the one after the convolution,
   backward the one before it, are added up as y is written, image by image, so that they do not
   depend on the threads. */

#include <stdlib.h>
#include <string.h>

#include "convolve_plan.h"
#include "convolve_rows.h"

/* Packs weights for a tile: (deep/2 pairs of c, 16 d, 2), of tiles (out/16, taps, in/deep). */
static void pack(const struct convolution *o, const struct plan *p, uint16_t *packed,
                 int64_t number)
{
    int64_t deep = o->in / p->deep, area = o->kernel * o->kernel;
    int64_t d = number / (p->taps * deep) * TILE, c = number % deep * p->deep;
    int64_t tap = p->tap[number / deep % p->taps].in_kernel;
    __m512i r[TILE];
    if (o->backward) {
        for (int k = 0; k < p->deep / 2; k++) {
            const float *first = o->w + ((c + 2 * k) * area + tap) * o->out + d;
            uint16_t both[2 * TILE];
            store(both, load_floats(first, TILE), TILE);
            store(both + TILE, load_floats(first + area * o->out, TILE), TILE);
            r[k] = pair(both, both + TILE);
        }
    } else {
        for (int k = 0; k < TILE; k++) {
            const float *from = o->w + ((d + k) * area + tap) * o->in + c;
            __m512 high = p->deep == DEEP ? _mm512_loadu_ps(from + TILE) : _mm512_setzero_ps();
            r[k] = (__m512i)_mm512_cvtne2ps_pbh(high, _mm512_loadu_ps(from));
        }
        transpose(r);
    }
    for (int k = 0; k < p->deep / 2; k++)
        _mm512_storeu_si512(packed + (number * p->deep / 2 + k) * 2 * TILE, r[k]);
}

/* The workspace of one thread. */
struct workspace {
    uint16_t *padded[2]; /* the block that is multiplied, and the next */
    const uint16_t *packed;
    const float *scale;
    const int32_t *in_padded, *in_y;
    struct copying copying;
    struct writing writing;
    struct summing summing;
    _Alignas(LINE) float results[2][SIDE * SIDE];
    _Alignas(LINE) uint16_t scratch[SIDE];
};

/* Multiplies the 32 positions from `a` on with `wide` channels of weights from `b` on. */
INLINE void multiply_wide(const struct convolution *o, const struct plan *p, struct workspace *d,
                          const struct phase *phase, const uint16_t *a, const uint16_t *b,
                          float *result, int is_wide)
{
    int64_t pitch = o->in * 2, next = p->taps * o->in * TILE;
    int64_t steps = largest(1, phase->taps * (o->in / p->deep));
    int64_t rows_per_step = (SIDE + steps - 1) / steps;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t t = 0; t < phase->taps; t++)
        for (int64_t c = 0; c < o->in; c += p->deep) {
            const uint16_t *at = a + p->tap[phase->first + t].at + c;
            _tile_loadd(4, at, pitch);
            _tile_loadd(6, b, LINE);
            _tile_dpbf16ps(0, 4, 6);
            if (is_wide) {
                _tile_loadd(7, b + next, LINE);
                _tile_dpbf16ps(1, 4, 7);
            }
            _tile_loadd(5, at + TILE * o->in, pitch);
            _tile_dpbf16ps(2, 5, 6);
            if (is_wide)
                _tile_dpbf16ps(3, 5, 7);
            b += TILE * p->deep;
            for (int64_t k = 0; k < p->units_per_step; k++)
                copy_unit(&d->copying, o, p);
            for (int64_t k = 0; k < rows_per_step && d->writing.row < SIDE; k++)
                write_row(&d->writing, &d->summing, o, p, d->scratch);
        }
    while (d->writing.row < SIDE)
        write_row(&d->writing, &d->summing, o, p, d->scratch);
    _tile_stored(0, result, SIDE * 4);
    _tile_stored(1, result + TILE, SIDE * 4);
    _tile_stored(2, result + TILE * SIDE, SIDE * 4);
    _tile_stored(3, result + TILE * SIDE + TILE, SIDE * 4);
}

static void multiply(const struct convolution *o, const struct plan *p, struct workspace *d,
                     const struct phase *phase, const uint16_t *a, const uint16_t *b,
                     float *result)
{
    if (p->wide == SIDE)
        multiply_wide(o, p, d, phase, a, b, result, 1);
    else
        multiply_wide(o, p, d, phase, a, b, result, 0);
}

/* The result that belongs to the positions from `q` on and the channels from `c` on, to be
   written. */
static struct writing begin_writing(const struct convolution *o, const struct plan *p,
                                    const struct workspace *d, int64_t phase, int64_t n, int64_t count,
                                    int64_t q, int64_t c)
{
    int64_t area = o->out_height * o->out_width, first = n * area * o->out + c;
    struct writing w = {.y = (uint16_t *)o->y + first, .images = count};
    w.offsets = d->in_y + phase * (p->length + SIDE) + q;
    w.end = (uint32_t)(count * area * o->out);
    w.area = p->phase[phase].height * p->phase[phase].width;
    if (o->residual)
        w.residual = (const uint16_t *)o->residual + first;
    if (o->sums)
        w.sums = o->sums + (n * p->phases + phase) * 2 * o->out + c;
    if (o->normed) {
        w.normed = (const uint16_t *)o->normed + first;
        w.norm = (struct normalising){o->mean + c, d->scale + c, o->bias + c, o->relu};
    }
    return w;
}

static struct copying begin_copy(const struct convolution *o, const struct workspace *d,
                                 uint16_t *padded, int64_t from, int64_t count)
{
    int64_t area = o->height * o->width;
    struct copying c = {(const char *)o->x + from * area * o->in * 2, (char *)padded, d->in_padded, 0,
                        count * area, {0}};
    if (!o->backward && o->mean)
        c.norm = (struct normalising){o->mean, d->scale, o->bias, o->relu};
    return c;
}

/* Convolves a block of `count` images from `n` on, which `padded` holds. */
static void work_on_block(const struct convolution *o, const struct plan *p, struct workspace *d,
                          const uint16_t *padded, int64_t n, int64_t count, int64_t *iteration)
{
    for (int64_t f = 0; f < p->phases; f++) {
        const struct phase *phase = &p->phase[f];
        if (!phase->height || !phase->width)
            continue;
        for (int64_t c = 0; c < o->out; c += p->wide)
            for (int64_t q = 0; q < count * p->image; q += SIDE) {
                float *result = d->results[(*iteration)++ % 2];
                int64_t b = c * p->taps * o->in + phase->first * o->in * TILE;
                multiply(o, p, d, phase, padded + q * o->in, d->packed + b, result);
                d->writing = begin_writing(o, p, d, f, n, count, q, c);
                d->writing.result = result;
            }
    }
    while (d->copying.left)
        copy_unit(&d->copying, o, p);
}

/* Convolves the images [from, to), block after block. */
static void work_through(const struct convolution *o, const struct plan *p, struct workspace *d,
                         int64_t from, int64_t to)
{
    int64_t count = to - from < p->images ? to - from : p->images, iteration = 0;
    d->copying = begin_copy(o, d, d->padded[0], from, count);
    while (d->copying.left)
        copy_unit(&d->copying, o, p);
    d->writing.row = SIDE;
    for (int64_t n = from, block = 0; n < to; n += count, block++) {
        count = to - n < p->images ? to - n : p->images;
        int64_t after = to - n - count < p->images ? to - n - count : p->images;
        d->copying = begin_copy(o, d, d->padded[(block + 1) % 2], n + count, after);
        work_on_block(o, p, d, d->padded[block % 2], n, count, &iteration);
    }
    while (d->writing.row < SIDE)
        write_row(&d->writing, &d->summing, o, p, d->scratch);
}

/* Tiles 4 and 5 hold `deep` channels of x, 6 and 7 of weights. */
static void begin_tiles_of(int64_t deep)
{
    struct tile_shapes shapes = all_tiles();
    shapes.row_bytes[4] = shapes.row_bytes[5] = (uint16_t)(deep * 2);
    shapes.rows[6] = shapes.rows[7] = (uint8_t)(deep / 2);
    _tile_loadconfig(&shapes);
}

/* What all threads read, in one allocation. */
struct shared {
    size_t packed, scale, in_padded, in_y, all; /* bytes */
};

static struct shared measure_shared(const struct convolution *o, const struct plan *p)
{
    struct shared s;
    s.packed = line((size_t)(o->out * p->taps * o->in * 2));
    s.scale = line((size_t)(o->backward ? o->out : o->in) * sizeof(float));
    s.in_padded = line((size_t)(p->images * o->height * o->width) * sizeof(int32_t));
    s.in_y = line((size_t)(p->phases * (p->length + SIDE)) * sizeof(int32_t));
    s.all = s.packed + s.scale + s.in_padded + s.in_y;
    return s;
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t FOR_LEVEL(convolve)(const struct convolution *o, int32_t wanted)
{
    int threads = threads_for(o->images, wanted);
    struct plan p = lay_out(o, threads);
    struct shared s = measure_shared(o, &p);
    size_t each = line(sizeof(struct workspace)) + 2 * line(p.bytes);
    char *memory = aligned_alloc(LINE, s.all + each * (size_t)threads);
    if (!memory)
        return 1;
    float *scale = (float *)(memory + s.packed);
    for (int64_t c = 0; o->mean && c < (o->backward ? o->out : o->in); c++)
        scale[c] = o->rstd[c] * o->weight[c];
    int32_t *in_padded = (int32_t *)(memory + s.packed + s.scale);
    int32_t *in_y = (int32_t *)(memory + s.packed + s.scale + s.in_padded);
    find_offsets_in_padded(in_padded, o, &p);
    for (int64_t f = 0; f < p.phases; f++)
        find_offsets_in_y(in_y + f * (p.length + SIDE), o, &p, &p.phase[f]);
    int64_t tiles = o->out / TILE * p.taps * (o->in / p.deep);
#pragma omp parallel num_threads(threads)
    {
        int t = this_thread();
        struct workspace *d = (struct workspace *)(memory + s.all + each * (size_t)t);
        memset(d, 0, each);
        d->padded[0] = (uint16_t *)((char *)d + line(sizeof *d));
        d->padded[1] = (uint16_t *)((char *)d->padded[0] + line(p.bytes));
        d->packed = (const uint16_t *)memory;
        d->scale = scale, d->in_padded = in_padded, d->in_y = in_y;
        begin_tiles_of(p.deep);
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < tiles; tile++)
            pack(o, &p, (uint16_t *)memory, tile);
        work_through(o, &p, d, o->images * t / threads, o->images * (t + 1) / threads);
        _tile_release();
    }
    free(memory);
    return 0;
}
