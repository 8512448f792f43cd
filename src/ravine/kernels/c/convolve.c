/* y[n, v, u, d] = Σ x[n, s·v + i − p, s·u + j − p, c] · w[d, i, j, c], there and back, with AMX.

   A matrix product over (i, j, c) for 32 positions and 32 channels at a time. Images are copied
   to a grid with rows and columns of zeros between them, so that a tap (i, j) is an offset, and
   consecutive positions are the rows of a tile as they lie. With a stride s, x falls into s²
   grids, one for each remainder; on the way back y does, and each of its parts has taps of its
   own. A tile operation takes 16 cycles, which leaves room beside it: between two of them, lines
   of the next block of images are copied and rows of the last result are rounded and written, so
   that memory is waited for by nobody. (Without that, the same loop runs at two thirds of the
   speed.) A norm before the convolution is applied to what is copied. What a norm needs to know
   of y, the norm behind a convolution or on the way back the one before it, is added up as y is
   written, image by image, so that sums do not depend on the threads. */

#include <stdlib.h>
#include <string.h>

#include "convolve.h"
#include "tiles.h"

enum {
    SIDE = 32,               /* positions, and at most channels, of one result */
    BLOCK_BYTES = 128 << 10, /* of a grid; two of them, and the weights, share the second cache */
    LINE = 64,
    AHEAD = 2048, /* bytes that memory is asked for before they are copied */
    MOST_TAPS = MOST_KERNEL * MOST_KERNEL,
    MOST_PHASES = MOST_STRIDE * MOST_STRIDE,
};

/* What a position of y is multiplied with, seen from it. */
struct tap {
    int64_t part, down, right; /* of the grid, and so many rows and columns away */
    int64_t at;                /* the same in numbers */
    int64_t of_kernel;         /* its place in w */
};

/* The positions of y that have the same taps: all, or going back with a stride one of s² parts. */
struct phase {
    int64_t top, left, height, width;
    int64_t first, taps;
};

/* The grid, in positions, and what is done on it. */
struct plan {
    int64_t row, image; /* from row to row, from image to image */
    int64_t lead;       /* zeros before the first position */
    int64_t images;     /* in a block */
    int64_t length;     /* of a block, a multiple of SIDE */
    int64_t parts, part; /* how many remainders are needed, and numbers of each */
    int64_t part_of[MOST_PHASES]; /* of a remainder, or −1 */
    size_t bytes;
    int64_t deep, wide;    /* channels of x in a tile, of y in a result */
    int64_t unit;          /* bytes that are copied at a time */
    int64_t units_at_once; /* beside a tile operation */
    int64_t taps, phases;
    struct tap tap[MOST_TAPS];
    struct phase phase[MOST_PHASES];
};

/* Images on their way to a grid. */
struct copying {
    const char *from;
    char *grid;
    const int32_t *places; /* of their positions in the grid, in bytes */
    int64_t done, left;    /* bytes of a position, positions */
    struct normalising norm;
};

/* A result on its way to y. */
struct writing {
    const float *result; /* (SIDE, SIDE) */
    uint16_t *y;
    const uint16_t *added, *normed;
    struct normalising norm; /* of `normed` */
    const int32_t *places;   /* of its positions, relative to y */
    uint32_t end;            /* of the block in y: other places are not written */
    float *sums;             /* of the block's first image, or null */
    int64_t images, area;    /* of the block, of the phase */
    int64_t row;
};

/* The sums of 32 channels of one image, so far. */
struct adding {
    _Alignas(LINE) float sums[2 * SIDE];
    int64_t left;     /* positions of this image that are still to come */
    int64_t finished; /* images of the block */
};

static int64_t stride_of_x(const struct convolution *o)
{
    return o->back ? 1 : o->stride;
}

static int64_t part_of(struct plan *p, int64_t remainder)
{
    if (p->part_of[remainder] < 0)
        p->part_of[remainder] = p->parts++;
    return p->part_of[remainder];
}

static void find_taps(const struct convolution *o, struct plan *p)
{
    int64_t s = o->stride;
    p->phases = 1;
    p->phase[0] = (struct phase){0, 0, o->out_height, o->out_width, 0, o->kernel * o->kernel};
    for (int64_t i = 0; i < o->kernel; i++)
        for (int64_t j = 0; j < o->kernel; j++) {
            int64_t down = floor_divide(i - o->padding, s), right = floor_divide(j - o->padding, s);
            int64_t remainder = (i - o->padding - down * s) * s + j - o->padding - right * s;
            p->tap[p->taps++] =
                (struct tap){part_of(p, remainder), down, right, 0, i * o->kernel + j};
        }
}

static void find_taps_back(const struct convolution *o, struct plan *p)
{
    int64_t s = o->stride;
    p->parts = 1;
    for (int64_t top = 0; top < s; top++)
        for (int64_t left = 0; left < s; left++) {
            struct phase *phase = &p->phase[p->phases++];
            *phase = (struct phase){top, left, (o->out_height - top + s - 1) / s,
                                    (o->out_width - left + s - 1) / s, p->taps, 0};
            for (int64_t i = 0; i < o->kernel; i++)
                for (int64_t j = 0; j < o->kernel; j++) {
                    int64_t down = top + o->padding - i, right = left + o->padding - j;
                    if (down % s == 0 && right % s == 0)
                        p->tap[p->taps++] =
                            (struct tap){0, down / s, right / s, 0, i * o->kernel + j};
                }
            phase->taps = p->taps - phase->first;
        }
}

/* How far taps look back and ahead, in rows and in columns. */
static void find_reach(const struct plan *p, int64_t *back, int64_t *ahead)
{
    *back = *ahead = 0;
    for (int64_t t = 0; t < p->taps; t++) {
        *back = largest(*back, largest(-p->tap[t].down, -p->tap[t].right));
        *ahead = largest(*ahead, largest(p->tap[t].down, p->tap[t].right));
    }
}

static int64_t count_units(const struct convolution *o, const struct plan *p)
{
    return p->images * o->height * o->width * (o->in * 2 / p->unit);
}

static int64_t count_steps(const struct convolution *o, const struct plan *p)
{
    return p->taps * (o->in / p->deep) * (p->length / SIDE) * (o->out / p->wide);
}

static struct plan lay_out(const struct convolution *o, int threads)
{
    struct plan p = {0};
    for (int k = 0; k < MOST_PHASES; k++)
        p.part_of[k] = o->back ? 0 : -1;
    (o->back ? find_taps_back : find_taps)(o, &p);
    int64_t back, ahead, s = stride_of_x(o);
    find_reach(&p, &back, &ahead);
    p.row = largest((o->width + s - 1) / s + back, p.phase[0].width + ahead);
    p.image = largest((o->height + s - 1) / s + back, p.phase[0].height + ahead) * p.row;
    p.lead = back * (p.row + 1);
    int64_t share = (o->images + threads - 1) / threads;
    p.images = largest(1, BLOCK_BYTES / (p.image * o->in * 2 * p.parts));
    int64_t blocks = (share + p.images - 1) / p.images;
    p.images = (share + blocks - 1) / blocks; /* equal blocks */
    p.length = (p.images * p.image + SIDE - 1) / SIDE * SIDE;
    p.part = (p.lead + p.length + ahead * (p.row + 1)) * o->in;
    p.part = (p.part * 2 + LINE - 1) / LINE * LINE / 2;
    p.bytes = (size_t)(p.part * p.parts * 2);
    p.deep = o->in % DEEP ? TILE : DEEP;
    p.wide = o->out % SIDE ? TILE : SIDE;
    p.unit = p.deep * 2;
    p.units_at_once = (count_units(o, &p) + count_steps(o, &p) - 1) / count_steps(o, &p);
    for (int64_t t = 0; t < p.taps; t++)
        p.tap[t].at = p.tap[t].part * p.part +
                      (p.lead + p.tap[t].down * p.row + p.tap[t].right) * o->in;
    return p;
}

/* Where the positions of a block of x lie in the grid, in bytes; −1 where no tap needs them. */
static void find_places_in_grid(int32_t *places, const struct convolution *o,
                                const struct plan *p)
{
    int64_t s = stride_of_x(o);
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t y = 0; y < o->height; y++)
            for (int64_t x = 0; x < o->width; x++) {
                int64_t part = p->part_of[y % s * s + x % s];
                int64_t position = p->lead + n * p->image + y / s * p->row + x / s;
                *places++ = part < 0 ? -1 : (int32_t)((part * p->part + position * o->in) * 2);
            }
}

/* Where the grid's positions lie in y, relative to the block's first; −1 between the images, and
   behind the last for as many positions as one result has. */
static void find_places_in_y(int32_t *places, const struct convolution *o, const struct plan *p,
                             const struct phase *phase)
{
    int64_t s = o->back ? o->stride : 1;
    for (int64_t q = 0; q < p->length + SIDE; q++) {
        int64_t n = q / p->image, y = q % p->image / p->row, x = q % p->row;
        int is_inside = n < p->images && y < phase->height && x < phase->width;
        int64_t row = n * o->out_height + y * s + phase->top;
        places[q] = is_inside ? (int32_t)((row * o->out_width + x * s + phase->left) * o->out) : -1;
    }
}

/* Packs weights for a tile: (deep/2 pairs of c, 16 d, 2), of tiles (out/16, taps, in/deep). */
static void pack(const struct convolution *o, const struct plan *p, uint16_t *packed,
                 int64_t number)
{
    int64_t deep = o->in / p->deep, area = o->kernel * o->kernel;
    int64_t d = number / (p->taps * deep) * TILE, c = number % deep * p->deep;
    int64_t tap = p->tap[number / deep % p->taps].of_kernel;
    __m512i r[TILE];
    if (o->back) {
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
    if (*c->places >= 0)
        copy_channels(c, p->unit == LINE, c->grid + *c->places + c->done, c->done / 2);
    c->from += p->unit;
    c->done += p->unit;
    if (c->done < o->in * 2)
        return;
    c->done = 0;
    c->places++;
    c->left--;
}

INLINE void add_to_sums(float *sums, __m512 first, __m512 second)
{
    _mm512_store_ps(sums, _mm512_add_ps(_mm512_load_ps(sums), first));
    _mm512_store_ps(sums + SIDE, _mm512_add_ps(_mm512_load_ps(sums + SIDE), second));
}

/* Adds 16 channels of one position: of y, or of the gradient before the activation. */
INLINE void add_channels(float *sums, const struct writing *w, int64_t place, int64_t c, __m512 y)
{
    if (!w->normed) {
        add_to_sums(sums + c, y, _mm512_mul_ps(y, y));
        return;
    }
    __m512 x = widen_row(w->normed + place + c), z = normalise(&w->norm, c, x);
    __m512 away = _mm512_sub_ps(x, _mm512_loadu_ps(w->norm.mean + c));
    /* where the ReLU gave 0 nothing passes */
    __mmask16 passes =
        w->norm.relu ? _mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_NEQ_UQ) : 0xffff;
    __m512 dz = _mm512_maskz_mov_ps(passes, y);
    add_to_sums(sums + c, dz, _mm512_mul_ps(dz, away));
}

/* Hands the sums of an image over with its last position. */
INLINE void count_position(struct adding *a, const struct writing *w, const struct convolution *o,
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

/* Writes one row; `aside` takes the place of what lies between the images. */
INLINE void write_row(struct writing *w, struct adding *a, const struct convolution *o,
                      const struct plan *p, uint16_t *aside)
{
    int32_t place = w->places[w->row];
    int is_inside = (uint32_t)place < w->end, is_wide = p->wide == SIDE;
    uint16_t *to = is_inside ? w->y + place : aside;
    __m512 low = _mm512_load_ps(w->result + w->row * SIDE);
    __m512 high = _mm512_load_ps(w->result + w->row * SIDE + TILE);
    if (w->added) {
        const uint16_t *added = is_inside ? w->added + place : aside;
        low = _mm512_add_ps(low, widen_row(added));
        if (is_wide)
            high = _mm512_add_ps(high, widen_row(added + TILE));
    }
    __m512i row = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    if (is_wide)
        _mm512_storeu_si512((void *)to, row);
    else
        _mm256_storeu_si256((void *)to, _mm512_castsi512_si256(row));
    if (w->sums && is_inside) {
        add_channels(a->sums, w, place, 0, widen_half(_mm512_castsi512_si256(row)));
        if (is_wide)
            add_channels(a->sums, w, place, TILE, widen_half(_mm512_extracti64x4_epi64(row, 1)));
        count_position(a, w, o, p);
    }
    int32_t soon = w->places[w->row + SIDE]; /* where the next result will be written */
    soon = (uint32_t)soon < w->end ? soon : 0;
    __builtin_prefetch(w->y + soon, 1);
    if (w->normed)
        __builtin_prefetch(w->normed + soon);
    w->row++;
}

/* What one thread works with. */
struct desk {
    uint16_t *grids[2];
    const uint16_t *packed;
    const float *scale;
    const int32_t *in_grid, *in_y;
    struct copying copying;
    struct writing writing;
    struct adding adding;
    _Alignas(LINE) float results[2][SIDE * SIDE];
    _Alignas(LINE) uint16_t aside[SIDE];
};

/* Multiplies the 32 positions from `a` on with `wide` channels of weights from `b` on. */
INLINE void multiply_wide(const struct convolution *o, const struct plan *p, struct desk *d,
                          const struct phase *phase, const uint16_t *a, const uint16_t *b,
                          float *result, int is_wide)
{
    int64_t pitch = o->in * 2, next = p->taps * o->in * TILE;
    int64_t steps = largest(1, phase->taps * (o->in / p->deep));
    int64_t rows_at_once = (SIDE + steps - 1) / steps;
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
            for (int64_t k = 0; k < p->units_at_once; k++)
                copy_unit(&d->copying, o, p);
            for (int64_t k = 0; k < rows_at_once && d->writing.row < SIDE; k++)
                write_row(&d->writing, &d->adding, o, p, d->aside);
        }
    while (d->writing.row < SIDE)
        write_row(&d->writing, &d->adding, o, p, d->aside);
    _tile_stored(0, result, SIDE * 4);
    _tile_stored(1, result + TILE, SIDE * 4);
    _tile_stored(2, result + TILE * SIDE, SIDE * 4);
    _tile_stored(3, result + TILE * SIDE + TILE, SIDE * 4);
}

static void multiply(const struct convolution *o, const struct plan *p, struct desk *d,
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
                                    const struct desk *d, int64_t phase, int64_t n, int64_t count,
                                    int64_t q, int64_t c)
{
    int64_t area = o->out_height * o->out_width, first = n * area * o->out + c;
    struct writing w = {.y = o->y + first, .images = count};
    w.places = d->in_y + phase * (p->length + SIDE) + q;
    w.end = (uint32_t)(count * area * o->out);
    w.area = p->phase[phase].height * p->phase[phase].width;
    if (o->added)
        w.added = o->added + first;
    if (o->sums)
        w.sums = o->sums + (n * p->phases + phase) * 2 * o->out + c;
    if (o->normed) {
        w.normed = o->normed + first;
        w.norm = (struct normalising){o->mean + c, d->scale + c, o->bias + c, o->relu};
    }
    return w;
}

static struct copying begin_copy(const struct convolution *o, const struct desk *d,
                                 uint16_t *grid, int64_t from, int64_t count)
{
    int64_t area = o->height * o->width;
    struct copying c = {(const char *)(o->x + from * area * o->in), (char *)grid, d->in_grid, 0,
                        count * area, {0}};
    if (!o->back && o->mean)
        c.norm = (struct normalising){o->mean, d->scale, o->bias, o->relu};
    return c;
}

/* Convolves a block: `count` images from `n` on, which lie in `grid`. */
static void work_on_block(const struct convolution *o, const struct plan *p, struct desk *d,
                          const uint16_t *grid, int64_t n, int64_t count, int64_t *turn)
{
    for (int64_t f = 0; f < p->phases; f++) {
        const struct phase *phase = &p->phase[f];
        if (!phase->height || !phase->width)
            continue;
        for (int64_t c = 0; c < o->out; c += p->wide)
            for (int64_t q = 0; q < count * p->image; q += SIDE) {
                float *result = d->results[(*turn)++ % 2];
                int64_t b = c * p->taps * o->in + phase->first * o->in * TILE;
                multiply(o, p, d, phase, grid + q * o->in, d->packed + b, result);
                d->writing = begin_writing(o, p, d, f, n, count, q, c);
                d->writing.result = result;
            }
    }
    while (d->copying.left)
        copy_unit(&d->copying, o, p);
}

/* Convolves the images [from, to), block after block. */
static void work_through(const struct convolution *o, const struct plan *p, struct desk *d,
                         int64_t from, int64_t to)
{
    int64_t count = to - from < p->images ? to - from : p->images, turn = 0;
    d->copying = begin_copy(o, d, d->grids[0], from, count);
    while (d->copying.left)
        copy_unit(&d->copying, o, p);
    d->writing.row = SIDE;
    for (int64_t n = from, block = 0; n < to; n += count, block++) {
        count = to - n < p->images ? to - n : p->images;
        int64_t after = to - n - count < p->images ? to - n - count : p->images;
        d->copying = begin_copy(o, d, d->grids[(block + 1) % 2], n + count, after);
        work_on_block(o, p, d, d->grids[block % 2], n, count, &turn);
    }
    while (d->writing.row < SIDE)
        write_row(&d->writing, &d->adding, o, p, d->aside);
}

/* Tiles 4 and 5 hold `deep` channels of x, 6 and 7 of weights. */
static void begin_tiles_of(int64_t deep)
{
    struct tile_shapes shapes = all_tiles();
    shapes.row_bytes[4] = shapes.row_bytes[5] = (uint16_t)(deep * 2);
    shapes.rows[6] = shapes.rows[7] = (uint8_t)(deep / 2);
    _tile_loadconfig(&shapes);
}

/* What all threads read, in one piece of memory. */
struct shared {
    size_t packed, scale, in_grid, in_y, all; /* bytes */
};

static struct shared measure_shared(const struct convolution *o, const struct plan *p)
{
    struct shared s;
    s.packed = line((size_t)(o->out * p->taps * o->in * 2));
    s.scale = line((size_t)(o->back ? o->out : o->in) * sizeof(float));
    s.in_grid = line((size_t)(p->images * o->height * o->width) * sizeof(int32_t));
    s.in_y = line((size_t)(p->phases * (p->length + SIDE)) * sizeof(int32_t));
    s.all = s.packed + s.scale + s.in_grid + s.in_y;
    return s;
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t convolve_amx(const struct convolution *o, int32_t wanted)
{
    int threads = threads_for(o->images, wanted);
    struct plan p = lay_out(o, threads);
    struct shared s = measure_shared(o, &p);
    size_t each = line(sizeof(struct desk)) + 2 * line(p.bytes);
    char *memory = aligned_alloc(LINE, s.all + each * (size_t)threads);
    if (!memory)
        return 1;
    float *scale = (float *)(memory + s.packed);
    for (int64_t d = 0; o->mean && d < (o->back ? o->out : o->in); d++)
        scale[d] = o->rstd[d] * o->weight[d];
    int32_t *in_grid = (int32_t *)(memory + s.packed + s.scale);
    int32_t *in_y = (int32_t *)(memory + s.packed + s.scale + s.in_grid);
    find_places_in_grid(in_grid, o, &p);
    for (int64_t f = 0; f < p.phases; f++)
        find_places_in_y(in_y + f * (p.length + SIDE), o, &p, &p.phase[f]);
    int64_t tiles = o->out / TILE * p.taps * (o->in / p.deep);
#pragma omp parallel num_threads(threads)
    {
        int t = this_thread();
        struct desk *d = (struct desk *)(memory + s.all + each * (size_t)t);
        memset(d, 0, each);
        d->grids[0] = (uint16_t *)((char *)d + line(sizeof *d));
        d->grids[1] = (uint16_t *)((char *)d->grids[0] + line(p.bytes));
        d->packed = (const uint16_t *)memory;
        d->scale = scale, d->in_grid = in_grid, d->in_y = in_y;
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
