/* dw[o, i, j, c] = Σ dy[n, y, x, o] · x[n, s·y + i − p, s·x + j − p, c], with AMX tiles.

   A matrix product over all positions (n, y, x) for each tap (i, j). One operand needs its
   positions next to each other for each channel (x is transposed), the other needs pairs of
   positions (dy is interleaved). Both are laid out on a common grid with rows and columns of
   zeros between images, so that a tap is nothing but an offset into the transposed x. With a
   stride, x falls into stride² grids, one for each remainder. Blocks of images are as large as
   fits into the second cache; each thread has its own sum, and these are added at the end. */

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "weights.h"

enum {
    TILE = 16,              /* rows of a tile, and floats in a row */
    DEEP = 32,              /* positions that one tile operation adds up */
    TILE_FLOATS = 256,
    BLOCK_BYTES = 3 << 19, /* of both operands: most of a second cache */
};

/* The grid, in positions. */
struct grid {
    int64_t row, image;      /* from row to row, from image to image */
    int64_t lead;            /* zeros before the first position, for taps that look back */
    int64_t images;          /* in a block */
    int64_t length;          /* of a block, a multiple of DEEP */
    int64_t pitch;           /* from channel to channel in the transposed x */
    int64_t phases;
};

/* What one thread works on. */
struct desk {
    uint16_t *transposed; /* (phases, in, pitch) */
    uint16_t *paired;     /* (out/16, length/2, 16, 2) */
    const uint16_t **places; /* (length) where each position's channels lie */
    float *sums;          /* (taps, in/16, out/16, 16, 16) */
};

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static struct grid lay_out(const struct weights *o, int threads)
{
    struct grid g;
    int64_t back = -floor_divide(-o->padding, o->stride);
    int64_t ahead = floor_divide(o->kernel - 1 - o->padding, o->stride);
    ahead = largest(ahead, 0);
    int64_t half_height = (o->height + o->stride - 1) / o->stride;
    int64_t half_width = (o->width + o->stride - 1) / o->stride;
    g.row = largest(half_width + back, o->out_width + ahead);
    g.image = largest(half_height + back, o->out_height + ahead) * g.row;
    g.lead = back * (g.row + 1);
    g.phases = o->stride * o->stride;
    int64_t bytes = g.image * (o->in * g.phases + o->out) * 2;
    int64_t share = (o->images + threads - 1) / threads;
    g.images = largest(1, BLOCK_BYTES / bytes);
    int64_t blocks = (share + g.images - 1) / g.images;
    g.images = (share + blocks - 1) / blocks; /* equal blocks */
    g.length = (g.images * g.image + DEEP - 1) / DEEP * DEEP;
    g.pitch = g.lead + g.length + ahead * (g.row + 1);
    g.pitch = (g.pitch + 31) / 32 * 32;
    if (g.pitch % 64 == 0)
        g.pitch += 32; /* an odd number of lines: rows of a tile fall into different sets */
    return g;
}

/* Writes where each position of the block's images lies in `source` (images, height, width,
   channels): remainder (dy, dx) of a grid with this stride. Elsewhere, `nothing`. */
static void find_places(const uint16_t **places, const struct grid *g, const uint16_t *source,
                        int64_t count, int64_t height, int64_t width, int64_t channels,
                        int64_t stride, int64_t dy, int64_t dx, const uint16_t *nothing)
{
    for (int64_t i = 0; i < g->length; i++)
        places[i] = nothing;
    for (int64_t n = 0; n < count; n++)
        for (int64_t y = dy; y < height; y += stride) {
            const uint16_t **at = places + n * g->image + y / stride * g->row;
            const uint16_t *from = source + (n * height + y) * width * channels;
            for (int64_t x = dx; x < width; x += stride)
                *at++ = from + x * channels;
        }
}

/* 16 channels of two positions: dwords of (first, second). */
static inline __m512i pair(const uint16_t *first, const uint16_t *second)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)first));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)second));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static inline void transpose(__m512i r[16])
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

static void write_paired(const struct weights *o, const struct grid *g, const struct desk *d)
{
    for (int64_t at = 0; at < g->length; at += 2)
        for (int64_t c = 0; c < o->out; c += TILE)
            _mm512_storeu_si512(d->paired + (c / TILE * g->length + at) * TILE,
                                pair(d->places[at] + c, d->places[at + 1] + c));
}

static void write_transposed(const struct weights *o, const struct grid *g, const struct desk *d,
                             int64_t phase)
{
    uint16_t *to = d->transposed + phase * o->in * g->pitch + g->lead;
    for (int64_t at = 0; at < g->length; at += DEEP)
        for (int64_t c = 0; c < o->in; c += TILE) {
            __m512i r[16];
            for (int k = 0; k < 16; k++)
                r[k] = pair(d->places[at + 2 * k] + c, d->places[at + 2 * k + 1] + c);
            transpose(r);
            for (int k = 0; k < 16; k++)
                _mm512_storeu_si512(to + (c + k) * g->pitch + at, r[k]);
        }
}

/* Adds to 2×2 tiles of sums the product over a block. */
static void multiply(float *c00, float *c01, float *c10, float *c11, const uint16_t *a0,
                     const uint16_t *a1, const uint16_t *b0, const uint16_t *b1,
                     const struct grid *g, int is_first)
{
    int64_t pitch = g->pitch * 2;
    if (is_first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, c00, 64);
        _tile_loadd(1, c01, 64);
        _tile_loadd(2, c10, 64);
        _tile_loadd(3, c11, 64);
    }
    for (int64_t at = 0; at < g->length; at += DEEP) {
        _tile_loadd(4, a0 + at, pitch);
        _tile_loadd(6, b0 + at * TILE, 64);
        _tile_loadd(5, a1 + at, pitch);
        _tile_loadd(7, b1 + at * TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c00, 64);
    _tile_stored(1, c01, 64);
    _tile_stored(2, c10, 64);
    _tile_stored(3, c11, 64);
}

static void add_block(const struct weights *o, const struct grid *g, const struct desk *d,
                      int is_first)
{
    int64_t rows = o->in / TILE, columns = o->out / TILE;
    for (int64_t column = 0; column < columns; column += 2) {
        int64_t next_column = column + 1 < columns ? column + 1 : column;
        const uint16_t *b0 = d->paired + column * g->length * TILE;
        const uint16_t *b1 = d->paired + next_column * g->length * TILE;
        for (int64_t row = 0; row < rows; row += 2) {
            int64_t next_row = row + 1 < rows ? row + 1 : row;
            for (int64_t tap = 0; tap < o->kernel * o->kernel; tap++) {
                int64_t i = tap / o->kernel - o->padding, j = tap % o->kernel - o->padding;
                int64_t y = floor_divide(i, o->stride), x = floor_divide(j, o->stride);
                int64_t phase = (i - y * o->stride) * o->stride + j - x * o->stride;
                const uint16_t *a = d->transposed + phase * o->in * g->pitch + g->lead +
                                    y * g->row + x;
                float *sums = d->sums + tap * rows * columns * TILE_FLOATS;
                /* A row or column without a neighbour is its own: it is computed twice. */
                multiply(sums + (row * columns + column) * TILE_FLOATS,
                         sums + (row * columns + next_column) * TILE_FLOATS,
                         sums + (next_row * columns + column) * TILE_FLOATS,
                         sums + (next_row * columns + next_column) * TILE_FLOATS,
                         a + row * TILE * g->pitch, a + next_row * TILE * g->pitch, b0, b1, g,
                         is_first);
            }
        }
    }
}

static void work_through(const struct weights *o, const struct grid *g, const struct desk *d,
                         int64_t from, int64_t to, const uint16_t *nothing)
{
    int64_t pixels = o->height * o->width * o->in;
    int64_t out_pixels = o->out_height * o->out_width * o->out;
    for (int64_t n = from; n < to; n += g->images) {
        int64_t count = to - n < g->images ? to - n : g->images;
        find_places(d->places, g, o->dy + n * out_pixels, count, o->out_height, o->out_width,
                    o->out, 1, 0, 0, nothing);
        write_paired(o, g, d);
        for (int64_t phase = 0; phase < g->phases; phase++) {
            find_places(d->places, g, o->x + n * pixels, count, o->height, o->width, o->in,
                        o->stride, phase / o->stride, phase % o->stride, nothing);
            write_transposed(o, g, d, phase);
        }
        add_block(o, g, d, n == from);
    }
}

/* Adds the sums of all threads, and writes tile (in, out) of a tap as (out, tap, in). */
static void write_tile(const struct weights *o, float *const *sums, int threads, int64_t tile)
{
    int64_t rows = o->in / TILE, columns = o->out / TILE, taps = o->kernel * o->kernel;
    int64_t tap = tile / (rows * columns);
    int64_t row = tile / columns % rows, column = tile % columns;
    __m512 total[16];
    for (int k = 0; k < TILE; k++) {
        total[k] = _mm512_loadu_ps(sums[0] + tile * TILE_FLOATS + k * TILE);
        for (int t = 1; t < threads; t++)
            total[k] = _mm512_add_ps(total[k],
                                     _mm512_loadu_ps(sums[t] + tile * TILE_FLOATS + k * TILE));
    }
    transpose((__m512i *)total);
    for (int k = 0; k < TILE; k++)
        _mm512_storeu_ps(o->dw + ((column * TILE + k) * taps + tap) * o->in + row * TILE, total[k]);
}

static size_t line(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

struct tile_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Returns 0, or 1 where there is not enough memory. */
int32_t weight_gradient_amx(const struct weights *o, int32_t wanted)
{
    int threads = wanted < o->images ? wanted : (int)o->images;
#if !defined(_OPENMP)
    threads = 1;
#endif
    struct grid g = lay_out(o, threads);
    int64_t tiles = o->kernel * o->kernel * (o->in / TILE) * (o->out / TILE);
    size_t transposed = line((size_t)(g.phases * o->in * g.pitch) * 2);
    size_t paired = line((size_t)(o->out * g.length) * 2);
    size_t places = line((size_t)g.length * sizeof(uint16_t *));
    size_t sums = (size_t)tiles * TILE_FLOATS * sizeof(float);
    size_t nothing = line((size_t)largest(o->in, o->out) * 2);
    size_t each = transposed + paired + places + sums;
    char *memory = aligned_alloc(64, nothing + each * (size_t)threads);
    float **all_sums = malloc((size_t)threads * sizeof *all_sums);
    if (!memory || !all_sums) {
        free(memory);
        free(all_sums);
        return 1;
    }
    memset(memory, 0, nothing);
    for (int t = 0; t < threads; t++)
        all_sums[t] = (float *)(memory + nothing + (size_t)t * each + transposed + paired + places);
#pragma omp parallel num_threads(threads)
    {
#if defined(_OPENMP)
        int t = omp_get_thread_num();
#else
        int t = 0;
#endif
        char *own = memory + nothing + (size_t)t * each;
        struct desk d = {(uint16_t *)own, (uint16_t *)(own + transposed),
                         (const uint16_t **)(own + transposed + paired), all_sums[t]};
        struct tile_configuration c = {.palette = 1};
        for (int k = 0; k < 8; k++)
            c.row_bytes[k] = 64, c.rows[k] = TILE;
        memset(own, 0, transposed); /* what lies between and behind the images stays 0 */
        _tile_loadconfig(&c);
        work_through(o, &g, &d, o->images * t / threads, o->images * (t + 1) / threads,
                     (const uint16_t *)memory);
        _tile_release();
#pragma omp barrier
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < tiles; tile++)
            write_tile(o, all_sums, threads, tile);
    }
    free(all_sums);
    free(memory);
    return 0;
}
