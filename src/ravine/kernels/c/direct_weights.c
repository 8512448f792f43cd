/* dw[o, i, j, c] = Σ dy[n, y, x, o] · x[n, y·s + i − p, x·s + j − p, c] as a product of matrices over all
   positions of dy, for any kernel and stride.

   Work is cut by the shape alone, never by the threads: into slices of the images and, where the sums
   are large, rows of the kernel. A share is one thread's, in the order of the positions, and slices are added up in order,
   so that no bit depends on the number of threads. */

#include <stdlib.h>

#include "direct_lanes.h"
#include "products.h"
#include "weights.h"

enum {
    MOST_SLICES = 8,
    MOST_SUMS = 16 << 20, /* bytes of all slices together, about */
    SMALL_SUMS = 512 << 10, /* bytes of a slice that stays in the second cache */
};

struct task {
    const struct weights *o;
    struct blocks b;
    int64_t slices, groups; /* of the images, of the kernel's rows: 1 or all */
    int64_t down;           /* rows of the kernel in a share */
    int64_t a_pitch, b_pitch; /* words from positions to positions of dy and x */
    const float *scale;       /* rstd·weight of the norm, or null */
    float *sums;              /* (slices, out, kernel, kernel, in) */
};

/* What one thread works on. */
struct workspace {
    element *strip;       /* padded images with the norm applied, one for each segment */
    const element **taps; /* (positions, down, kernel): where the taps lie in x */
    const element *zeros; /* a position outside */
    float *a, *b;         /* dy and the taps of x: (positions, out), (positions, down, kernel, in) words */
};

INLINE struct reach reach_of(const struct task *k)
{
    return (struct reach){k->o->stride, k->down - k->o->stride, k->o->kernel - k->o->stride};
}

static int64_t slice_size(const struct weights *o)
{
    return o->out * o->kernel * o->kernel * o->in;
}

INLINE void find_row(const struct picture *x, const struct weights *o, int64_t row, int64_t column,
                     const element *zeros, const element **to)
{
    int is_inside = row >= 0 && row < x->height;
    for (int64_t t = 0; t < o->kernel; t++, column++)
        to[t] = is_inside && column >= 0 && column < x->width
                    ? x->pixels + (row * x->width + column) * o->in
                    : zeros;
}

/* Finds the taps of a share, from row `tap` of the kernel on, for a segment's positions. */
static void find_taps(const struct task *k, const struct segment *s, int64_t tap, element *strip,
                      const struct workspace *d)
{
    const struct weights *o = k->o;
    struct reach r = reach_of(k);
    struct source x = {.images = o->x, .height = o->height, .width = o->width, .channels = o->in,
                       .above = o->padding - tap, .left = o->padding};
    if (o->mean)
        x.mean = o->mean, x.scale = k->scale, x.bias = o->bias, x.relu = o->relu;
    int64_t top, left;
    struct picture picture = read_picture(&x, &k->b, s, r, strip, &top, &left);
    const element **to = d->taps + s->first.whole * k->down * o->kernel;
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = 0; j < k->b.columns; j++)
            for (int64_t t = 0; t < k->down; t++, to += o->kernel)
                find_row(&picture, o, top + i * r.step + t, left + j * r.step, d->zeros, to);
}

/* Writes positions two by two; after an odd number comes one of zeros. */
static void pair_taps(const struct task *k, const struct workspace *d, int64_t positions)
{
    const struct weights *o = k->o;
    int64_t taps = k->down * o->kernel;
    float *to = d->b;
    for (int64_t at = 0; at < positions; at += 2, to += 2 / IN_WORD * k->b_pitch)
        for (int64_t t = 0; t < taps; t++) {
            const element *first = d->taps[at * taps + t];
            const element *second = at + 1 < positions ? d->taps[(at + 1) * taps + t] : d->zeros;
            for (int64_t c = 0; c < o->in; c += LANES)
                store_two((element *)(to + t * o->in + c), load(first + c, LANES),
                          load(second + c, LANES), k->b_pitch);
        }
}

static void pair_gradients(const struct task *k, const struct workspace *d, const element *dy,
                           int64_t positions)
{
    const struct weights *o = k->o;
    float *to = d->a;
    for (int64_t at = 0; at < positions; at += 2, dy += 2 * o->out, to += 2 / IN_WORD * k->a_pitch)
        for (int64_t c = 0; c < o->out; c += LANES)
            store_two((element *)(to + c), load(dy + c, LANES),
                      at + 1 < positions ? load(dy + o->out + c, LANES) : (floats){0}, k->a_pitch);
}

/* Adds the products of a block's positions to the sums of a share. */
static void multiply_positions(const struct task *k, const struct workspace *d, int64_t positions,
                               float *sums, int is_first, struct fetching *ahead)
{
    const struct weights *o = k->o;
    int64_t columns = k->down * o->kernel * o->in;
    spread_over(ahead, calls_of(o->out, 0, columns, columns));
    for (int64_t at = 0, width; at < columns; at += width) {
        width = panel_width(at, columns);
        struct operands p = {
            .a = d->a, .b = d->b + at, .c = sums + at,
            .a_row = 1, .a_k = k->a_pitch, .b_k = k->b_pitch, .c_row = o->kernel * o->kernel * o->in,
            .k = (positions + 1) / 2 * 2 / IN_WORD, .is_first = is_first, .ahead = ahead,
        };
        multiply_long(&p, o->out, width);
    }
}

/* The images and gradients of rows [from, to). */
static struct fetching fetch_block(const struct task *k, int64_t from, int64_t to)
{
    const struct weights *o = k->o;
    struct fetching f = {.count = 0};
    if (from >= to)
        return f;
    int64_t x = first_position(&k->b, from, o->height, o->width, o->stride, 0);
    int64_t dy = first_position(&k->b, from, o->out_height, o->out_width, 1, 0);
    int64_t row = o->in * (int64_t)sizeof(element), out_row = o->out * (int64_t)sizeof(element);
    fetch_rows(&f, (const element *)o->x + x * o->in, row, row,
               end_position(&k->b, to, o->height, o->width, o->stride, 0) - x);
    fetch_rows(&f, (const element *)o->dy + dy * o->out, out_row, out_row,
               end_position(&k->b, to, o->out_height, o->out_width, 1, 0) - dy);
    return f;
}

/* Sums of one slice of the images and one row of the kernel, or all. */
static void work_on_share(const struct task *k, const struct workspace *d, int64_t share)
{
    const struct weights *o = k->o;
    int64_t slice = share / k->groups, tap = share % k->groups;
    float *sums = k->sums + slice * slice_size(o) + tap * o->kernel * o->in;
    int64_t start = o->images * slice / k->slices * k->b.rows_of_image;
    int64_t end = o->images * (slice + 1) / k->slices * k->b.rows_of_image;
    struct segment segments[MOST_SEGMENTS];
    struct parts parts;
    for (int64_t from = start; from < end; from += k->b.rows) {
        int64_t to = least(end, from + k->b.rows);
        int64_t count = find_segments(&k->b, from, to, segments, &parts);
        element *strip = d->strip;
        for (int64_t i = 0; i < count; i++) {
            find_taps(k, &segments[i], tap, strip, d);
            strip += strip_positions(&k->b, segments[i].rows, reach_of(k)) * o->in;
        }
        pair_taps(k, d, parts.end);
        pair_gradients(k, d, (const element *)o->dy + from * k->b.columns * o->out, parts.end);
        struct fetching ahead = fetch_block(k, to, least(end, to + k->b.rows));
        multiply_positions(k, d, parts.end, sums, from == start, &ahead);
    }
}

/* Adds up the slices of one channel of dy. */
static void add_slices(const struct task *k, int64_t out)
{
    int64_t row = slice_size(k->o) / k->o->out;
    for (int64_t at = out * row; at < (out + 1) * row; at += LANES) {
        floats sum = load_floats(k->sums + at, LANES);
        for (int64_t s = 1; s < k->slices; s++)
            sum += load_floats(k->sums + s * slice_size(k->o) + at, LANES);
        store_floats(k->o->dw + at, sum, LANES);
    }
}

static struct task share_out(const struct weights *o)
{
    struct task k = {.o = o};
    int64_t wanted = most(1, MOST_SUMS / (slice_size(o) * (int64_t)sizeof(float)));
    k.slices = least(o->images, least(MOST_SLICES, wanted));
    k.groups = slice_size(o) * (int64_t)sizeof(float) <= SMALL_SUMS ? 1 : o->kernel;
    k.down = o->kernel / k.groups;
    k.a_pitch = o->out + BETWEEN, k.b_pitch = k.down * o->kernel * o->in + BETWEEN;
    size_t a_position = (size_t)(k.a_pitch + k.b_pitch) * sizeof(element);
    k.b = lay_out_blocks(o->images, o->out_height, o->out_width, 1, a_position);
    return k;
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t DIRECT_NAME(weight_gradient)(const struct weights *o, int32_t wanted)
{
    struct task k = share_out(o);
    int64_t shares = k.slices * k.groups, words = (k.b.tiles + 2) / IN_WORD;
    int threads = (int)most(1, least(wanted, shares));
    size_t sums = k.slices > 1 ? lines((size_t)(k.slices * slice_size(o)) * sizeof(float)) : 0;
    size_t scale = lines((size_t)o->in * sizeof(float));
    size_t zeros = lines((size_t)o->in * sizeof(element));
    int64_t rows = o->mean ? k.b.rows * most(o->stride, k.down) : 0;
    size_t strip = lines((size_t)(rows * strip_columns(&k.b, reach_of(&k)) * o->in) * sizeof(element));
    size_t taps = lines((size_t)(k.b.tiles * k.down * o->kernel) * sizeof(element *));
    size_t a = lines((size_t)(words * k.a_pitch) * sizeof(float));
    size_t b = lines((size_t)(words * k.b_pitch) * sizeof(float));
    size_t each = strip + taps + a + b;
    char *memory = aligned_alloc(LINE, sums + scale + zeros + each * (size_t)threads);
    if (!memory)
        return 1;
    float *scales = (float *)(memory + sums);
    for (int64_t c = 0; o->mean && c < o->in; c++)
        scales[c] = o->rstd[c] * o->weight[c];
    memset(memory + sums + scale, 0, zeros);
    k.sums = k.slices > 1 ? (float *)memory : o->dw, k.scale = scales;
#pragma omp parallel num_threads(threads)
    {
        char *own = memory + sums + scale + zeros + each * (size_t)this_thread();
        struct workspace d = {(element *)own, (const element **)(own + strip),
                              (const element *)(memory + sums + scale), (float *)(own + strip + taps),
                              (float *)(own + strip + taps + a)};
#pragma omp for schedule(dynamic)
        for (int64_t share = 0; share < shares; share++)
            work_on_share(&k, &d, share);
#pragma omp for schedule(dynamic)
        for (int64_t out = 0; out < (k.slices > 1 ? o->out : 0); out++)
            add_slices(&k, out);
    }
    free(memory);
    return 0;
}
