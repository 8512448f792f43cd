/* dw[o, i, j, c] = Σ dy[n, y, x, o] · x[n, s·y + i − p, s·x + j − p, c], with AMX tiles.

   A matrix product over all positions (n, y, x) for each tap (i, j), of pairs of positions: the
   same position of two images that follow each other. One operand needs its pairs next to each
   other for each channel (dy is transposed), the other its channels for each pair (x is
   interleaved). Both have a common layout with rows and columns of zeros between images, so that
   a tap is only an offset into x, and no load crosses a cache line. With a stride, x is split into
   its stride² polyphase components. Blocks of images are as large as fits into
   the second cache; each thread has its own sum, and these are added at the end. */

#include <stdlib.h>
#include <string.h>

#include "tiles.h"
#include "weights.h"

enum {
    BLOCK_BYTES = 1 << 20, /* of both operands: half of a second cache */
    CHUNK = 320,           /* numbers of each channel that stay in the first cache for all taps */
    MOST_PHASES = 64, /* MOST_STRIDE² of ravine/kernels/weight_gradient.py */
};

/* The layout of pairs of images, in positions, each of which holds two pixels. */
struct layout {
    int64_t row, image; /* from row to row, from pair of images to pair of images */
    int64_t lead;       /* zeros before the first position, for taps that reach back */
    int64_t images;     /* in a block, even */
    int64_t length;     /* of a block, a multiple of TILE */
    int64_t pitch;      /* numbers from channel to channel in the transposed dy */
    int64_t positions;  /* of a polyphase component of x */
    int64_t phases;
    int64_t is_shuffled; /* channels of x: see `interleave` */
};

/* What one thread works on. */
struct workspace {
    uint16_t *transposed;    /* dy: (out, pitch) */
    uint16_t *interleaved;   /* x: (phases, in/16, positions, 16, 2) */
    const uint16_t **pixels; /* where the channels of each position lie: (positions, 2) */
    float *sums;             /* (taps, out/16, in/16, 16, 16) */
    struct normalising norm; /* of x, or none */
};

/* Where the positions of a tap lie. */
struct tap {
    int64_t phase, first; /* the component of x, and its position that belongs to position 0 */
};

static struct tap find_tap(const struct weights *o, const struct layout *g, int64_t tap)
{
    int64_t i = tap / o->kernel - o->padding, j = tap % o->kernel - o->padding;
    int64_t y = floor_divide(i, o->stride), x = floor_divide(j, o->stride);
    struct tap t = {(i - y * o->stride) * o->stride + j - x * o->stride,
                    g->lead + y * g->row + x};
    return t;
}

static struct layout lay_out(const struct weights *o, int threads)
{
    struct layout g;
    int64_t back = -floor_divide(-o->padding, o->stride);
    int64_t ahead = largest(floor_divide(o->kernel - 1 - o->padding, o->stride), 0);
    int64_t part_height = (o->height + o->stride - 1) / o->stride;
    int64_t part_width = (o->width + o->stride - 1) / o->stride;
    g.row = largest(part_width + back, o->out_width + ahead);
    g.image = largest(part_height + back, o->out_height + ahead) * g.row;
    g.lead = back * (g.row + 1);
    g.phases = o->stride * o->stride;
    int64_t bytes = g.image * (o->in * g.phases + o->out) * 2 * 2;
    int64_t share = ((o->images + threads - 1) / threads + 1) / 2; /* pairs */
    int64_t pairs = largest(1, BLOCK_BYTES / bytes);
    int64_t blocks = (share + pairs - 1) / pairs;
    pairs = (share + blocks - 1) / blocks; /* equal blocks */
    g.images = 2 * pairs;
    g.length = (pairs * g.image + TILE - 1) / TILE * TILE;
    g.pitch = 2 * (g.length / TILE % 2 ? g.length : g.length + TILE);
    g.positions = g.lead + g.length + ahead * (g.row + 1) + 1;
    g.is_shuffled = o->in % (2 * TILE) == 0;
    return g;
}

/* Images in memory, or those of their positions whose remainder by `stride` is (top, left). */
struct source {
    const uint16_t *at; /* (count, height, width, channels) */
    int64_t count, height, width, channels, stride, top, left;
};

/* Writes into `pixels`, from the layout's first position on, where the channels of both images of
   each of `length` positions lie; what lies between the images is `zeros`. */
static void find_pixels(const uint16_t **pixels, int64_t length, const struct layout *g,
                        const struct source *s, const uint16_t *zeros)
{
    for (int64_t i = 0; i < 2 * length; i++)
        pixels[i] = zeros;
    for (int64_t n = 0; n < s->count; n++)
        for (int64_t y = s->top; y < s->height; y += s->stride) {
            const uint16_t **to = pixels + 2 * (n / 2 * g->image + y / s->stride * g->row) + n % 2;
            const uint16_t *from = s->at + (n * s->height + y) * s->width * s->channels;
            for (int64_t x = s->left; x < s->width; x += s->stride, to += 2)
                *to = from + x * s->channels;
        }
}

/* 32 channels from c on, normalised where they are to be. */
INLINE __m512i fetch(const struct workspace *d, const uint16_t *pixel, int64_t c,
                     const uint16_t *zeros, int is_normalised)
{
    if (!is_normalised || pixel == zeros)
        return _mm512_loadu_si512(pixel + c);
    __m512 low = normalise(&d->norm, c, (__m512)load(pixel + c, TILE));
    __m512 high = normalise(&d->norm, c + TILE, (__m512)load(pixel + c + TILE, TILE));
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* 16 channels of a pair, likewise. */
INLINE __m512i fetch_pair(const struct workspace *d, const uint16_t *const *pixels, int64_t c,
                          const uint16_t *zeros)
{
    uint16_t both[2][TILE];
    for (int k = 0; k < 2; k++) {
        __m512 x = (__m512)load(pixels[k] + c, TILE);
        if (d->norm.mean && pixels[k] != zeros)
            x = normalise(&d->norm, c, x);
        store(both[k], (floats)x, TILE);
    }
    return pair(both[0], both[1]);
}

/* Writes a component of x. Of 32 channels at a time each lane of 16 bytes is interleaved for itself,
   the cheapest way: a tile then has channels 0 to 3 of each 8, and the next 4 to 7. */
INLINE void interleave_wide(const struct weights *o, const struct layout *g, const struct workspace *d,
                            uint16_t *to, const uint16_t *zeros, int is_normalised)
{
    for (int64_t k = 0; k < g->positions; k++)
        for (int64_t c = 0; c < o->in; c += 2 * TILE) {
            __m512i first = fetch(d, d->pixels[2 * k], c, zeros, is_normalised);
            __m512i second = fetch(d, d->pixels[2 * k + 1], c, zeros, is_normalised);
            uint16_t *at = to + (c / TILE * g->positions + k) * DEEP;
            _mm512_store_si512(at, _mm512_unpacklo_epi16(first, second));
            _mm512_store_si512(at + g->positions * DEEP, _mm512_unpackhi_epi16(first, second));
        }
}

static void interleave(const struct weights *o, const struct layout *g, const struct workspace *d,
                       uint16_t *to, const uint16_t *zeros)
{
    if (g->is_shuffled && d->norm.mean)
        interleave_wide(o, g, d, to, zeros, 1);
    else if (g->is_shuffled)
        interleave_wide(o, g, d, to, zeros, 0);
    else
        for (int64_t k = 0; k < g->positions; k++)
            for (int64_t c = 0; c < o->in; c += TILE)
                _mm512_store_si512(to + (c / TILE * g->positions + k) * DEEP,
                                   fetch_pair(d, d->pixels + 2 * k, c, zeros));
}

/* 8 channels of four positions, one in each lane. */
INLINE __m512i gather(const uint16_t *const *pixels, int64_t c)
{
    enum { APART = 2 * 4 }; /* every fourth position, of one image */
    __m512i r = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(pixels[0] + c)));
    r = _mm512_mask_broadcast_i32x4(r, 0x00f0, _mm_loadu_si128((const void *)(pixels[APART] + c)));
    r = _mm512_mask_broadcast_i32x4(r, 0x0f00,
                                    _mm_loadu_si128((const void *)(pixels[2 * APART] + c)));
    return _mm512_mask_broadcast_i32x4(r, 0xf000,
                                       _mm_loadu_si128((const void *)(pixels[3 * APART] + c)));
}

/* Writes four channels of 16 pairs of positions: r[k] has positions k, k + 4, k + 8 and k + 12. */
INLINE void write_four(uint16_t *to, int64_t pitch, const __m512i r[4])
{
    __m512i a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpacklo_epi32(r[2], r[3]);
    __m512i c = _mm512_unpackhi_epi32(r[0], r[1]), d = _mm512_unpackhi_epi32(r[2], r[3]);
    _mm512_store_si512(to, _mm512_unpacklo_epi64(a, b));
    _mm512_store_si512(to + pitch, _mm512_unpackhi_epi64(a, b));
    _mm512_store_si512(to + 2 * pitch, _mm512_unpacklo_epi64(c, d));
    _mm512_store_si512(to + 3 * pitch, _mm512_unpackhi_epi64(c, d));
}

/* Transposes dy, 16 pairs of positions and 8 channels at a time. */
static void write_transposed(const struct weights *o, const struct layout *g, const struct workspace *d)
{
    for (int64_t at = 0; at < g->length; at += TILE)
        for (int64_t c = 0; c < o->out; c += 8) {
            __m512i low[4], high[4];
            for (int k = 0; k < 4; k++) {
                const uint16_t *const *pixels = d->pixels + 2 * (at + k);
                __m512i first = gather(pixels, c), second = gather(pixels + 1, c);
                low[k] = _mm512_unpacklo_epi16(first, second);
                high[k] = _mm512_unpackhi_epi16(first, second);
            }
            uint16_t *to = d->transposed + c * g->pitch + 2 * at;
            write_four(to, g->pitch, low);
            write_four(to + 4 * g->pitch, g->pitch, high);
        }
}

/* Adds to 2×2 tiles of sums the product over the positions [from, to). */
static void multiply(float *c00, float *c01, float *c10, float *c11, const uint16_t *a0,
                     const uint16_t *a1, const uint16_t *b0, const uint16_t *b1,
                     const struct layout *g, int64_t from, int64_t to, int is_first)
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
static void add_panel(const struct weights *o, const struct layout *g, const struct workspace *d,
                      int64_t row, int64_t column, int is_first)
{
    int64_t rows = o->out / TILE, columns = o->in / TILE;
    /* A row or column without a neighbour is its own: it is computed twice. */
    int64_t next_row = row + 1 < rows ? row + 1 : row;
    int64_t next_column = column + 1 < columns ? column + 1 : column;
    const uint16_t *a0 = d->transposed + row * TILE * g->pitch;
    const uint16_t *a1 = d->transposed + next_row * TILE * g->pitch;
    int64_t end = 2 * g->length;
    for (int64_t from = 0; from < end; from += CHUNK) {
        int64_t to = from + CHUNK < end ? from + CHUNK : end;
        for (int64_t k = 0; k < o->kernel * o->kernel; k++) {
            struct tap tap = find_tap(o, g, k);
            const uint16_t *b =
                d->interleaved + (tap.phase * columns * g->positions + tap.first) * DEEP;
            float *sums = d->sums + k * rows * columns * TILE_FLOATS;
            multiply(sums + (row * columns + column) * TILE_FLOATS,
                     sums + (row * columns + next_column) * TILE_FLOATS,
                     sums + (next_row * columns + column) * TILE_FLOATS,
                     sums + (next_row * columns + next_column) * TILE_FLOATS, a0, a1,
                     b + column * g->positions * DEEP, b + next_column * g->positions * DEEP, g,
                     from, to, is_first && from == 0);
        }
    }
}

/* Lays out and multiplies the images [from, to), block after block. */
static void work_through(const struct weights *o, const struct layout *g, const struct workspace *d,
                         int64_t from, int64_t to, const uint16_t *zeros)
{
    int needed[MOST_PHASES] = {0};
    for (int64_t k = 0; k < o->kernel * o->kernel; k++)
        needed[find_tap(o, g, k).phase] = 1;
    for (int64_t n = from; n < to; n += g->images) {
        int64_t count = to - n < g->images ? to - n : g->images;
        struct source dy = {(const uint16_t *)o->dy + n * o->out_height * o->out_width * o->out,
                            count, o->out_height, o->out_width, o->out, 1, 0, 0};
        find_pixels(d->pixels, g->length, g, &dy, zeros);
        write_transposed(o, g, d);
        for (int64_t i = 0; i < g->phases; i++) {
            if (!needed[i])
                continue;
            struct source x = {(const uint16_t *)o->x + n * o->height * o->width * o->in, count, o->height,
                               o->width, o->in, o->stride, i / o->stride, i % o->stride};
            for (int64_t k = 0; k < 2 * g->lead; k++)
                d->pixels[k] = zeros;
            find_pixels(d->pixels + 2 * g->lead, g->positions - g->lead, g, &x, zeros);
            interleave(o, g, d, d->interleaved + i * o->in * g->positions * 2, zeros);
        }
        for (int64_t row = 0; row < o->out / TILE; row += 2)
            for (int64_t column = 0; column < o->in / TILE; column += 2)
                add_panel(o, g, d, row, column, n == from);
    }
}

/* A row of a tile, added up over the threads. */
INLINE __m512 sum_over_threads(float *const *sums, int threads, int64_t at)
{
    __m512 total = _mm512_loadu_ps(sums[0] + at);
    for (int t = 1; t < threads; t++)
        total = _mm512_add_ps(total, _mm512_loadu_ps(sums[t] + at));
    return total;
}

/* Writes tile (out, in) of a tap as (out, tap, in); shuffled ones two at a time. */
static void write_tile(const struct weights *o, const struct layout *g, float *const *sums,
                       int threads, int64_t tile)
{
    int64_t rows = o->out / TILE, columns = o->in / TILE, taps = o->kernel * o->kernel;
    int64_t tap = tile / (rows * columns);
    int64_t row = tile / columns % rows, column = tile % columns;
    if (g->is_shuffled && column % 2)
        return;
    for (int k = 0; k < TILE; k++) {
        int64_t at = tile * TILE_FLOATS + k * TILE;
        float *to = o->dw + ((row * TILE + k) * taps + tap) * o->in + column * TILE;
        __m512 a = sum_over_threads(sums, threads, at);
        if (!g->is_shuffled) {
            _mm512_storeu_ps(to, a);
            continue;
        }
        __m512 b = sum_over_threads(sums, threads, at + TILE_FLOATS);
        __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
        __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
        _mm512_storeu_ps(to, _mm512_permutex2var_ps(a, first, b));
        _mm512_storeu_ps(to + TILE, _mm512_permutex2var_ps(a, second, b));
    }
}

/* One allocation: zeros, the norm's scale, then for each thread its workspace and its sums. */
struct memory {
    size_t zeros, scale, transposed, interleaved, pixels, each; /* bytes; `each` of a thread */
};

static struct memory measure_memory(const struct weights *o, const struct layout *g, int64_t tiles)
{
    struct memory m;
    m.zeros = line((size_t)largest(o->in, o->out) * 2);
    m.scale = line((size_t)o->in * sizeof(float));
    m.transposed = line((size_t)(o->out * g->pitch) * 2);
    m.interleaved = line((size_t)(g->phases * o->in * g->positions * 2) * 2);
    m.pixels = line((size_t)(2 * g->positions) * sizeof(uint16_t *));
    m.each = m.transposed + m.interleaved + m.pixels + (size_t)tiles * TILE_FLOATS * sizeof(float);
    return m;
}

static struct workspace workspace_of(const struct weights *o, const struct memory *m,
                                     char *memory, int thread)
{
    char *own = memory + m->zeros + m->scale + (size_t)thread * m->each;
    char *pixels = own + m->transposed + m->interleaved;
    const float *scale = (const float *)(memory + m->zeros);
    struct workspace d = {(uint16_t *)own, (uint16_t *)(own + m->transposed),
                          (const uint16_t **)pixels, (float *)(pixels + m->pixels),
                          {o->mean, scale, o->bias, o->relu}};
    return d;
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t FOR_LEVEL(weight_gradient)(const struct weights *o, int32_t wanted)
{
    int threads = threads_for(o->images, wanted);
    struct layout g = lay_out(o, threads);
    int64_t tiles = o->kernel * o->kernel * (o->in / TILE) * (o->out / TILE);
    struct memory m = measure_memory(o, &g, tiles);
    char *memory = aligned_alloc(64, m.zeros + m.scale + m.each * (size_t)threads);
    float **sums = malloc((size_t)threads * sizeof *sums);
    if (!memory || !sums) {
        free(memory);
        free(sums);
        return 1;
    }
    memset(memory, 0, m.zeros);
    float *scale = (float *)(memory + m.zeros);
    for (int64_t c = 0; o->mean && c < o->in; c++)
        scale[c] = o->rstd[c] * o->weight[c];
    for (int t = 0; t < threads; t++)
        sums[t] = workspace_of(o, &m, memory, t).sums;
#pragma omp parallel num_threads(threads)
    {
        int t = this_thread();
        struct workspace d = workspace_of(o, &m, memory, t);
        begin_tiles();
        work_through(o, &g, &d, o->images * t / threads, o->images * (t + 1) / threads,
                     (const uint16_t *)memory);
        _tile_release();
#pragma omp barrier
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < tiles; tile++)
            write_tile(o, &g, sums, threads, tile);
    }
    free(sums);
    free(memory);
    return 0;
}
