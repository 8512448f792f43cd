/* dw[o, i, j, c] = Σ dy[n, y, x, o] · x[n, s·y + i − p, s·x + j − p, c], with AMX tiles.

   A matrix product over all positions (n, y, x) for each tap (i, j). One operand needs its
   positions next to each other for each channel (dy is transposed), the other needs pairs of
   positions (x is interleaved). Both are laid out on a common grid with rows and columns of zeros
   between images, so that a tap is nothing but an offset into x. There are two copies of x, with
   pairs that begin at even and at odd positions, so that every tap finds its pairs and no load
   crosses a cache line. With a stride, x falls into stride² grids, one for each remainder.
   Blocks of images are as large as fits into the second cache; each thread has its own sum, and
   these are added at the end. */

#include <stdlib.h>
#include <string.h>

#include "tiles.h"
#include "weights.h"

enum {
    BLOCK_BYTES = 1 << 20, /* of both operands: half of a second cache */
    CHUNK = 320,           /* positions that stay in the first cache for all taps */
};

/* The grid, in positions. */
struct grid {
    int64_t row, image; /* from row to row, from image to image */
    int64_t lead;       /* zeros before the first position, for taps that look back */
    int64_t images;     /* in a block */
    int64_t length;     /* of a block, a multiple of DEEP */
    int64_t pitch;      /* from channel to channel in the transposed dy */
    int64_t pairs;      /* of a copy of x */
    int64_t phases;
};

/* What one thread works on. */
struct desk {
    uint16_t *transposed;    /* dy: (out, pitch) */
    uint16_t *paired;        /* x: (phases, 2, in/16, pairs, 16, 2) */
    const uint16_t **places; /* where each position's channels lie */
    float *sums;             /* (taps, out/16, in/16, 16, 16) */
};

/* Where the positions of a tap lie. */
struct tap {
    int64_t phase, odd, pair; /* the copy of x, and the pair that belongs to position 0 */
};

static struct tap find_tap(const struct weights *o, const struct grid *g, int64_t tap)
{
    int64_t i = tap / o->kernel - o->padding, j = tap % o->kernel - o->padding;
    int64_t y = floor_divide(i, o->stride), x = floor_divide(j, o->stride);
    int64_t first = g->lead + y * g->row + x;
    struct tap t = {(i - y * o->stride) * o->stride + j - x * o->stride, first % 2, first / 2};
    return t;
}

static struct grid lay_out(const struct weights *o, int threads)
{
    struct grid g;
    int64_t back = -floor_divide(-o->padding, o->stride);
    int64_t ahead = largest(floor_divide(o->kernel - 1 - o->padding, o->stride), 0);
    int64_t part_height = (o->height + o->stride - 1) / o->stride;
    int64_t part_width = (o->width + o->stride - 1) / o->stride;
    g.row = largest(part_width + back, o->out_width + ahead);
    g.image = largest(part_height + back, o->out_height + ahead) * g.row;
    g.lead = back * (g.row + 1);
    g.phases = o->stride * o->stride;
    int64_t bytes = g.image * (2 * o->in * g.phases + o->out) * 2;
    int64_t share = (o->images + threads - 1) / threads;
    g.images = largest(1, BLOCK_BYTES / bytes);
    int64_t blocks = (share + g.images - 1) / g.images;
    g.images = (share + blocks - 1) / blocks; /* equal blocks */
    g.length = (g.images * g.image + DEEP - 1) / DEEP * DEEP;
    g.pitch = g.length / DEEP % 2 ? g.length : g.length + DEEP;
    g.pairs = (g.lead + g.length + ahead * (g.row + 1)) / 2 + 1;
    return g;
}

/* Images in memory, or those of their positions whose remainder by `stride` is (top, left). */
struct source {
    const uint16_t *at; /* (count, height, width, channels) */
    int64_t count, height, width, channels, stride, top, left;
};

/* Writes into `places`, from the grid's first position on, where each of the `length` positions
   lies; what lies between the images is `nothing`. */
static void find_places(const uint16_t **places, int64_t length, const struct grid *g,
                        const struct source *s, const uint16_t *nothing)
{
    for (int64_t i = 0; i < length; i++)
        places[i] = nothing;
    for (int64_t n = 0; n < s->count; n++)
        for (int64_t y = s->top; y < s->height; y += s->stride) {
            const uint16_t **to = places + n * g->image + y / s->stride * g->row;
            const uint16_t *from = s->at + (n * s->height + y) * s->width * s->channels;
            for (int64_t x = s->left; x < s->width; x += s->stride)
                *to++ = from + x * s->channels;
        }
}

/* Writes one copy of x, with pairs that begin at odd positions or at even ones. */
static void write_paired(const struct weights *o, const struct grid *g, const struct desk *d,
                         uint16_t *to, int64_t odd)
{
    const uint16_t **places = d->places + odd;
    for (int64_t k = 0; k < g->pairs; k++)
        for (int64_t c = 0; c < o->in; c += TILE)
            _mm512_storeu_si512(to + (c / TILE * g->pairs + k) * DEEP,
                                pair(places[2 * k] + c, places[2 * k + 1] + c));
}

static void write_transposed(const struct weights *o, const struct grid *g, const struct desk *d)
{
    for (int64_t at = 0; at < g->length; at += DEEP)
        for (int64_t c = 0; c < o->out; c += TILE) {
            __m512i r[16];
            for (int k = 0; k < 16; k++)
                r[k] = pair(d->places[at + 2 * k] + c, d->places[at + 2 * k + 1] + c);
            transpose(r);
            for (int k = 0; k < 16; k++)
                _mm512_storeu_si512(d->transposed + (c + k) * g->pitch + at, r[k]);
        }
}

/* Adds to 2×2 tiles of sums the product over the positions [from, to). */
static void multiply(float *c00, float *c01, float *c10, float *c11, const uint16_t *a0,
                     const uint16_t *a1, const uint16_t *b0, const uint16_t *b1,
                     const struct grid *g, int64_t from, int64_t to, int is_first)
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
    for (int64_t at = from; at < to; at += DEEP) {
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

/* Adds what a block holds for 32 channels of dy, from `row` on, and 32 of x, from `column` on. */
static void add_panel(const struct weights *o, const struct grid *g, const struct desk *d,
                      int64_t row, int64_t column, int is_first)
{
    int64_t rows = o->out / TILE, columns = o->in / TILE;
    /* A row or column without a neighbour is its own: it is computed twice. */
    int64_t next_row = row + 1 < rows ? row + 1 : row;
    int64_t next_column = column + 1 < columns ? column + 1 : column;
    const uint16_t *a0 = d->transposed + row * TILE * g->pitch;
    const uint16_t *a1 = d->transposed + next_row * TILE * g->pitch;
    for (int64_t from = 0; from < g->length; from += CHUNK) {
        int64_t to = from + CHUNK < g->length ? from + CHUNK : g->length;
        for (int64_t k = 0; k < o->kernel * o->kernel; k++) {
            struct tap tap = find_tap(o, g, k);
            const uint16_t *b =
                d->paired + ((tap.phase * 2 + tap.odd) * columns * g->pairs + tap.pair) * DEEP;
            float *sums = d->sums + k * rows * columns * TILE_FLOATS;
            multiply(sums + (row * columns + column) * TILE_FLOATS,
                     sums + (row * columns + next_column) * TILE_FLOATS,
                     sums + (next_row * columns + column) * TILE_FLOATS,
                     sums + (next_row * columns + next_column) * TILE_FLOATS, a0, a1,
                     b + column * g->pairs * DEEP, b + next_column * g->pairs * DEEP, g, from, to,
                     is_first && from == 0);
        }
    }
}

/* Lays out and multiplies the images [from, to), block after block. */
static void work_through(const struct weights *o, const struct grid *g, const struct desk *d,
                         int64_t from, int64_t to, const uint16_t *nothing)
{
    int64_t copy = o->in * g->pairs * 2;
    int needed[2 * 64] = {0};
    for (int64_t k = 0; k < o->kernel * o->kernel; k++) {
        struct tap tap = find_tap(o, g, k);
        needed[tap.phase * 2 + tap.odd] = 1;
    }
    for (int64_t n = from; n < to; n += g->images) {
        int64_t count = to - n < g->images ? to - n : g->images;
        struct source dy = {o->dy + n * o->out_height * o->out_width * o->out,
                            count, o->out_height, o->out_width, o->out, 1, 0, 0};
        find_places(d->places, g->length, g, &dy, nothing);
        write_transposed(o, g, d);
        for (int64_t i = 0; i < 2 * g->phases; i++) {
            if (!needed[i])
                continue;
            struct source x = {o->x + n * o->height * o->width * o->in, count, o->height,
                               o->width, o->in, o->stride, i / 2 / o->stride, i / 2 % o->stride};
            for (int64_t k = 0; k < g->lead; k++)
                d->places[k] = nothing;
            find_places(d->places + g->lead, 2 * g->pairs + 1 - g->lead, g, &x, nothing);
            write_paired(o, g, d, d->paired + i * copy, i % 2);
        }
        for (int64_t row = 0; row < o->out / TILE; row += 2)
            for (int64_t column = 0; column < o->in / TILE; column += 2)
                add_panel(o, g, d, row, column, n == from);
    }
}

/* Adds the sums of all threads, and writes tile (out, in) of a tap as (out, tap, in). */
static void write_tile(const struct weights *o, float *const *sums, int threads, int64_t tile)
{
    int64_t rows = o->out / TILE, columns = o->in / TILE, taps = o->kernel * o->kernel;
    int64_t tap = tile / (rows * columns);
    int64_t row = tile / columns % rows, column = tile % columns;
    for (int k = 0; k < TILE; k++) {
        __m512 total = _mm512_loadu_ps(sums[0] + tile * TILE_FLOATS + k * TILE);
        for (int t = 1; t < threads; t++)
            total = _mm512_add_ps(total,
                                  _mm512_loadu_ps(sums[t] + tile * TILE_FLOATS + k * TILE));
        _mm512_storeu_ps(o->dw + ((row * TILE + k) * taps + tap) * o->in + column * TILE, total);
    }
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t weight_gradient_amx(const struct weights *o, int32_t wanted)
{
    int threads = threads_for(o->images, wanted);
    struct grid g = lay_out(o, threads);
    int64_t tiles = o->kernel * o->kernel * (o->in / TILE) * (o->out / TILE);
    size_t transposed = line((size_t)(o->out * g.pitch) * 2);
    size_t paired = line((size_t)(2 * g.phases * o->in * g.pairs * 2) * 2);
    size_t places = line((size_t)largest(g.length, 2 * g.pairs + 1) * sizeof(uint16_t *));
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
        int t = this_thread();
        char *own = memory + nothing + (size_t)t * each;
        struct desk d = {(uint16_t *)own, (uint16_t *)(own + transposed),
                         (const uint16_t **)(own + transposed + paired), all_sums[t]};
        begin_tiles();
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
