/* y[n, v, u, d] = Σ x[n, v + i − 1, u + j − 1, c] · w[d, i, j, c], with AMX tiles.

   A matrix product over (i, j, c) for 32 positions and 32 channels at a time. Images are copied
   to a grid with a row and a column of zeros between them, so that a tap (i, j) is an offset, and
   consecutive positions are the rows of a tile as they lie. A tile operation takes 16 cycles,
   which leaves room beside it: between two of them, lines of the next block of images are copied
   and rows of the last result are rounded and written, so that memory is waited for by nobody.
   (Without that, the same loop runs at two thirds of the speed.) What the norm behind it needs to
   know of y is added up on the way, image by image, so that sums do not depend on the threads. */

#include <stdlib.h>
#include <string.h>

#include "convolve.h"
#include "tiles.h"

enum {
    SIDE = 32,               /* positions, and channels, of one result */
    BLOCK_BYTES = 128 << 10, /* of a grid; two of them, and the weights, share the second cache */
    LINE = 64,
    AHEAD = 2048, /* bytes that memory is asked for before they are copied */
};

/* The grid, in positions. */
struct grid {
    int64_t row, image; /* from row to row, from image to image */
    int64_t images;     /* in a block */
    int64_t length;     /* of a block, a multiple of SIDE */
    size_t bytes;
    int64_t lines_at_once, rows_at_once; /* beside a tile operation */
};

/* Images on their way to a grid. */
struct copying {
    const char *from;
    char *to;
    int64_t left_in_row, left_in_image, rows; /* lines, rows, rows in all */
};

/* A result on its way to y. */
struct writing {
    const float *sums; /* (SIDE, SIDE) */
    uint16_t *y;
    const uint16_t *added;
    const int32_t *places; /* of its positions, relative to y */
    uint32_t end;          /* of the block in y: other places are not written */
    float *moments;        /* of the block's first image, or null */
    int64_t images;        /* of the block */
    int64_t row;
};

/* Σy and Σy² of 32 channels of one image, so far. */
struct adding {
    _Alignas(LINE) float sums[2 * SIDE];
    int64_t left;     /* positions of this image that are still to come */
    int64_t finished; /* images of the block */
};

static struct grid lay_out(const struct convolution *o, int threads)
{
    struct grid g;
    g.row = o->width + 1;
    g.image = (o->height + 1) * g.row;
    int64_t share = (o->images + threads - 1) / threads;
    g.images = largest(1, BLOCK_BYTES / (g.image * o->in * 2));
    int64_t blocks = (share + g.images - 1) / g.images;
    g.images = (share + blocks - 1) / blocks; /* equal blocks */
    g.length = (g.images * g.image + SIDE - 1) / SIDE * SIDE;
    g.bytes = (size_t)((g.length + 2 * (g.row + 1)) * o->in * 2);
    int64_t steps = 9 * (o->in / DEEP), results = g.length / SIDE * (o->out / SIDE);
    int64_t lines = g.images * o->height * o->width * o->in * 2 / LINE;
    g.lines_at_once = (lines + steps * results - 1) / (steps * results);
    g.rows_at_once = (SIDE + steps - 1) / steps;
    return g;
}

/* Where the grid's positions lie in y, relative to the block's first; −1 between the images, and
   behind the last for as many positions as one result has. */
static void find_places(int32_t *places, const struct convolution *o, const struct grid *g)
{
    for (int64_t q = 0; q < g->length + SIDE; q++) {
        int64_t n = q / g->image, y = q % g->image / g->row, x = q % g->row;
        int is_inside = n < g->images && y < o->height && x < o->width;
        places[q] = is_inside ? (int32_t)(((n * o->height + y) * o->width + x) * o->out) : -1;
    }
}

/* Packs weights for a tile: (16 pairs of c, 16 d, 2), of tiles (out/16, 9, in/32). */
static void pack(const struct convolution *o, uint16_t *packed, int64_t tile)
{
    int64_t deep = o->in / DEEP;
    int64_t d = tile / (9 * deep) * TILE, tap = tile / deep % 9, c = tile % deep * DEEP;
    __m512i r[TILE];
    if (o->back) {
        for (int k = 0; k < TILE; k++) {
            const float *first = o->w + ((c + 2 * k) * 9 + 8 - tap) * o->out + d;
            uint16_t both[2 * TILE];
            store(both, load_floats(first, TILE), TILE);
            store(both + TILE, load_floats(first + 9 * o->out, TILE), TILE);
            r[k] = pair(both, both + TILE);
        }
    } else {
        for (int k = 0; k < TILE; k++) {
            const float *from = o->w + ((d + k) * 9 + tap) * o->in + c;
            r[k] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + TILE),
                                                _mm512_loadu_ps(from));
        }
        transpose(r);
    }
    for (int k = 0; k < TILE; k++)
        _mm512_storeu_si512(packed + (tile * TILE + k) * DEEP, r[k]);
}

static struct copying begin_copy(const struct convolution *o, const struct grid *g,
                                 uint16_t *grid, int64_t from, int64_t count)
{
    struct copying c = {(const char *)(o->x + from * o->height * o->width * o->in),
                        (char *)(grid + (g->row + 1) * o->in), o->width * o->in * 2 / LINE,
                        o->height, count * o->height};
    return c;
}

INLINE void copy_line(struct copying *c, const struct convolution *o, const struct grid *g)
{
    if (!c->rows)
        return;
    _mm_prefetch(c->from + AHEAD, _MM_HINT_T1);
    _mm512_store_si512((void *)c->to, _mm512_loadu_si512((const void *)c->from));
    c->from += LINE;
    c->to += LINE;
    if (--c->left_in_row)
        return;
    c->left_in_row = o->width * o->in * 2 / LINE;
    c->rows--;
    c->to += o->in * 2;
    if (--c->left_in_image)
        return;
    c->left_in_image = o->height;
    c->to += g->row * o->in * 2;
}

INLINE __m512 widen_half(__m256i half)
{
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

INLINE __m512 widen_row(const uint16_t *from)
{
    return (__m512)load(from, TILE);
}

/* Adds one row of an image, whose last one hands the sums over. */
INLINE void add_row(struct adding *a, const struct writing *w, const struct convolution *o,
                    __m512i row)
{
    __m512 low = widen_half(_mm512_castsi512_si256(row));
    __m512 high = widen_half(_mm512_extracti64x4_epi64(row, 1));
    _mm512_store_ps(a->sums, _mm512_add_ps(_mm512_load_ps(a->sums), low));
    _mm512_store_ps(a->sums + TILE, _mm512_add_ps(_mm512_load_ps(a->sums + TILE), high));
    float *squares = a->sums + SIDE;
    _mm512_store_ps(squares, _mm512_fmadd_ps(low, low, _mm512_load_ps(squares)));
    _mm512_store_ps(squares + TILE, _mm512_fmadd_ps(high, high, _mm512_load_ps(squares + TILE)));
    if (--a->left)
        return;
    float *to = w->moments + a->finished * 2 * o->out;
    memcpy(to, a->sums, SIDE * sizeof *to);
    memcpy(to + o->out, squares, SIDE * sizeof *to);
    memset(a->sums, 0, sizeof a->sums);
    a->left = o->height * o->width;
    a->finished = (a->finished + 1) % w->images;
}

/* Writes one row; `aside` takes the place of what lies between the images. */
INLINE void write_row(struct writing *w, struct adding *a, const struct convolution *o,
                      uint16_t *aside)
{
    int32_t place = w->places[w->row];
    int is_inside = (uint32_t)place < w->end;
    uint16_t *to = is_inside ? w->y + place : aside;
    __m512 low = _mm512_load_ps(w->sums + w->row * SIDE);
    __m512 high = _mm512_load_ps(w->sums + w->row * SIDE + TILE);
    if (w->added) {
        const uint16_t *added = is_inside ? w->added + place : aside;
        low = _mm512_add_ps(low, widen_row(added));
        high = _mm512_add_ps(high, widen_row(added + TILE));
    }
    __m512i row = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    _mm512_storeu_si512((void *)to, row);
    if (w->moments && is_inside)
        add_row(a, w, o, row);
    int32_t soon = w->places[w->row + SIDE]; /* where the next result will be written */
    __builtin_prefetch(w->y + ((uint32_t)soon < w->end ? soon : 0), 1);
    w->row++;
}

/* What one thread works with. */
struct desk {
    uint16_t *grids[2];
    const uint16_t *packed;
    const int32_t *places;
    struct copying copying;
    struct writing writing;
    struct adding adding;
    _Alignas(LINE) float sums[2][SIDE * SIDE];
    _Alignas(LINE) uint16_t aside[SIDE];
};

/* Multiplies the 32 positions from `a` on with 32 channels of weights from `b` on, into sums. */
static void multiply(const struct convolution *o, const struct grid *g, struct desk *d,
                     const uint16_t *a, const uint16_t *b, float *sums)
{
    int64_t pitch = o->in * 2, next = 9 * o->in * TILE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int64_t c = 0; c < o->in; c += DEEP) {
                const uint16_t *at = a + (i * g->row + j) * o->in + c;
                _tile_loadd(4, at, pitch);
                _tile_loadd(6, b, LINE);
                _tile_dpbf16ps(0, 4, 6);
                _tile_loadd(7, b + next, LINE);
                _tile_dpbf16ps(1, 4, 7);
                _tile_loadd(5, at + TILE * o->in, pitch);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
                b += TILE * DEEP;
                for (int64_t k = 0; k < g->lines_at_once; k++)
                    copy_line(&d->copying, o, g);
                for (int64_t k = 0; k < g->rows_at_once && d->writing.row < SIDE; k++)
                    write_row(&d->writing, &d->adding, o, d->aside);
            }
    _tile_stored(0, sums, SIDE * 4);
    _tile_stored(1, sums + TILE, SIDE * 4);
    _tile_stored(2, sums + TILE * SIDE, SIDE * 4);
    _tile_stored(3, sums + TILE * SIDE + TILE, SIDE * 4);
}

/* Convolves the images [from, to), block after block. */
static void work_through(const struct convolution *o, const struct grid *g, struct desk *d,
                         int64_t from, int64_t to)
{
    int64_t area = o->height * o->width, turn = 0;
    int64_t count = to - from < g->images ? to - from : g->images;
    d->copying = begin_copy(o, g, d->grids[0], from, count);
    while (d->copying.rows)
        copy_line(&d->copying, o, g);
    d->writing.row = SIDE;
    d->adding.left = area;
    for (int64_t n = from, block = 0; n < to; n += count, block++) {
        count = to - n < g->images ? to - n : g->images;
        int64_t after = to - n - count < g->images ? to - n - count : g->images;
        const uint16_t *grid = d->grids[block % 2];
        d->copying = begin_copy(o, g, d->grids[(block + 1) % 2], n + count, after);
        for (int64_t c = 0; c < o->out; c += SIDE)
            for (int64_t q = 0; q < count * g->image; q += SIDE, turn++) {
                float *sums = d->sums[turn % 2];
                multiply(o, g, d, grid + q * o->in, d->packed + c * 9 * o->in, sums);
                uint16_t *y = o->y + n * area * o->out + c;
                const uint16_t *added = o->added ? o->added + n * area * o->out + c : NULL;
                float *moments = o->moments ? o->moments + n * 2 * o->out + c : NULL;
                uint32_t end = (uint32_t)(count * area * o->out);
                d->writing =
                    (struct writing){sums, y, added, d->places + q, end, moments, count, 0};
            }
        while (d->copying.rows)
            copy_line(&d->copying, o, g);
    }
    while (d->writing.row < SIDE)
        write_row(&d->writing, &d->adding, o, d->aside);
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t convolve_amx(const struct convolution *o, int32_t wanted)
{
    int threads = threads_for(o->images, wanted);
    struct grid g = lay_out(o, threads);
    int64_t tiles = o->out / TILE * 9 * (o->in / DEEP);
    size_t packed = (size_t)(tiles * TILE * DEEP * 2);
    size_t places = line((size_t)(g.length + SIDE) * sizeof(int32_t));
    size_t each = line(sizeof(struct desk)) + 2 * line(g.bytes);
    char *memory = aligned_alloc(LINE, packed + places + each * (size_t)threads);
    if (!memory)
        return 1;
    find_places((int32_t *)(memory + packed), o, &g);
#pragma omp parallel num_threads(threads)
    {
        int t = this_thread();
        struct desk *d = (struct desk *)(memory + packed + places + each * (size_t)t);
        memset(d, 0, each);
        d->grids[0] = (uint16_t *)((char *)d + line(sizeof *d));
        d->grids[1] = (uint16_t *)((char *)d->grids[0] + line(g.bytes));
        d->packed = (const uint16_t *)memory;
        d->places = (const int32_t *)(memory + packed);
        begin_tiles();
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < tiles; tile++)
            pack(o, (uint16_t *)memory, tile);
        work_through(o, &g, d, o->images * t / threads, o->images * (t + 1) / threads);
        _tile_release();
    }
    free(memory);
    return 0;
}
