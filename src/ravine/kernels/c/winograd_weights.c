/* dw[o, i, j, c] = Σ dy[n, y, x, o] · x[n, y + i − p, x + j − p, c] for kernels of 3×3 and stride 1,
   by Winograd's minimal filtering: Gᵀ[Σ over tiles of (A dY Aᵀ) ⊙ (Bᵀ d B)]G.

   For each component of the transform a product of matrices over all tiles. Work is cut by the
   shape alone, never by the threads: into slices of the images with sums of their own, where sums
   are small, else into rows of components, each of which needs its part of the transform only. A
   share is one thread's, in the order of the tiles, and slices are added up in order, so that no
   bit depends on the number of threads. */

#include <stdlib.h>

#include "products.h"
#include "weights.h"
#include "winograd_parts.h"

enum {
    SMALL_SUMS = 128 * 128 * 16, /* up to so many slices have sums of their own */
    MOST_SLICES = 8,
    ALL_ROWS = -1,
};

/* How the sums over all tiles are shared out. */
struct task {
    const struct weights *o;
    struct blocks b;
    int64_t slices, groups; /* of images, of rows of components: 1 or SIDE */
    int64_t components;     /* of a share */
    int64_t a_pitch, b_pitch; /* words from tiles to tiles of dy's and x's transforms */
    int64_t a_component, b_component; /* and from component to component */
    const float *scale;     /* rstd·weight of the norm, or null */
    float *sums;            /* (slices, AREA, out, in) */
};

/* What one thread works on. */
struct workspace {
    element *x, *dy;      /* padded strips, one for each segment */
    const element **tiles; /* where each tile's x, and then its dy, begins */
    float *a, *b;         /* transforms of dy and x: (components, tiles, channels) words */
};

INLINE void transform_gradient_tile(const element *from, int64_t row, int64_t column, floats to[AREA])
{
    floats half[SIDE][OUTPUTS];
    for (int j = 0; j < OUTPUTS; j++) {
        floats e[OUTPUTS], t[SIDE];
        for (int i = 0; i < OUTPUTS; i++)
            e[i] = load(from + i * row + j * column, LANES);
        transform_gradient(t, e);
        for (int i = 0; i < SIDE; i++)
            half[i][j] = t[i];
    }
    for (int i = 0; i < SIDE; i++)
        transform_gradient(to + i * SIDE, half[i]);
}

/* Writes the components of tiles two by two; of one row of them, or of all. */
INLINE void transform_tiles(const element *const *tiles, int64_t count, int64_t row, int64_t channels,
                            float *to, int64_t pitch, int64_t apart, const int group,
                            const int is_gradient)
{
    const int first = group == ALL_ROWS ? 0 : group * SIDE, end = group == ALL_ROWS ? AREA : first + SIDE;
    for (int64_t k = 0; k < count; k += 2, to += 2 / IN_WORD * pitch)
        for (int64_t c = 0; c < channels; c += LANES) {
            floats even[AREA], odd[AREA] = {{0}};
            if (is_gradient)
                transform_gradient_tile(tiles[k] + c, row, channels, even);
            else
                transform_tile(tiles[k] + c, row, channels, even);
            if (k + 1 < count && is_gradient)
                transform_gradient_tile(tiles[k + 1] + c, row, channels, odd);
            else if (k + 1 < count)
                transform_tile(tiles[k + 1] + c, row, channels, odd);
            for (int t = first; t < end; t++)
                store_two((element *)(to + (t - first) * apart + c), even[t], odd[t], pitch);
        }
}

/* The same with the group known when it is compiled, so that nothing else is computed. */
INLINE void transform_group(const element *const *tiles, int64_t count, int64_t row, int64_t channels,
                            float *to, int64_t pitch, int64_t apart, int64_t group, const int is_gradient)
{
    switch (group) {
#define GROUP(g) \
    case g: transform_tiles(tiles, count, row, channels, to, pitch, apart, g, is_gradient); break;
        GROUP(0) GROUP(1) GROUP(2) GROUP(3)
#if WINOGRAD_OUTPUTS == 4
        GROUP(4) GROUP(5)
#endif
#undef GROUP
    default: transform_tiles(tiles, count, row, channels, to, pitch, apart, ALL_ROWS, is_gradient);
    }
}

static void transform_x(const struct task *k, const struct workspace *d, int64_t count, int64_t group)
{
    int64_t row = strip_columns(&k->b, TILE) * k->o->in;
    transform_group(d->tiles, count, row, k->o->in, d->b, k->b_pitch,
                    k->b_component, group, 0);
}

static void transform_dy(const struct task *k, const struct workspace *d, int64_t count, int64_t group)
{
    int64_t row = strip_columns(&k->b, RESULTS) * k->o->out;
    transform_group(d->tiles + k->b.tiles, count, row, k->o->out, d->a, k->a_pitch,
                    k->a_component, group, 1);
}

/* Finds a segment's tiles of dy: where they lie, unless some reach over the edge; those are copied. */
static void find_gradients(const struct task *k, const struct segment *s, element *strip,
                           const element **tiles)
{
    const struct weights *o = k->o;
    struct source dy = {.images = o->dy, .height = o->out_height, .width = o->out_width,
                        .channels = o->out};
    const element *from = strip;
    if (o->out_height % OUTPUTS || o->out_width % OUTPUTS)
        copy_strip(&dy, &k->b, s, RESULTS, strip);
    else
        from = dy.images + (s->image * dy.height + s->top * OUTPUTS) * dy.width * dy.channels;
    int64_t pitch = strip_columns(&k->b, RESULTS);
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = 0; j < k->b.columns; j++)
            tiles[tile_number(&k->b, s, i, j)] = from + (i * pitch + j) * OUTPUTS * o->out;
}

static void find_images(const struct task *k, const struct segment *s, element *strip,
                        const element **tiles)
{
    const struct weights *o = k->o;
    struct source x = {.images = o->x, .height = o->height, .width = o->width, .channels = o->in,
                       .above = o->padding, .left = o->padding};
    if (o->mean)
        x.mean = o->mean, x.scale = k->scale, x.bias = o->bias, x.relu = o->relu;
    copy_strip(&x, &k->b, s, TILE, strip);
    int64_t pitch = strip_columns(&k->b, TILE);
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = 0; j < k->b.columns; j++)
            tiles[tile_number(&k->b, s, i, j)] = strip + (i * pitch + j) * OUTPUTS * o->in;
}

/* The images and gradients of rows of tiles [from, to). */
static struct fetching fetch_block(const struct task *k, int64_t from, int64_t to)
{
    const struct weights *o = k->o;
    struct fetching f = {.count = 0};
    if (from >= to)
        return f;
    int64_t x = first_position(&k->b, from, o->height, o->width, OUTPUTS, 1);
    int64_t dy = first_position(&k->b, from, o->out_height, o->out_width, OUTPUTS, 0);
    int64_t row = o->in * (int64_t)sizeof(element), out_row = o->out * (int64_t)sizeof(element);
    fetch_rows(&f, (const element *)o->x + x * o->in, row, row,
               end_position(&k->b, to, o->height, o->width, OUTPUTS, 1) - x);
    fetch_rows(&f, (const element *)o->dy + dy * o->out, out_row, out_row,
               end_position(&k->b, to, o->out_height, o->out_width, OUTPUTS, 0) - dy);
    return f;
}

/* Adds the products of a block's tiles to the sums of a share, whose components begin at `first`.
   Where a component is not needed the gradient's is 0: words may begin with such a tile. */
static void multiply_tiles(const struct task *k, const struct workspace *d, const struct parts *parts,
                           int64_t first, float *sums, int is_first, struct fetching *ahead)
{
    const struct weights *o = k->o;
    spread_over(ahead, k->components * calls_of(o->out, 0, o->in, o->in));
    for (int64_t t = 0; t < k->components; t++) {
        int64_t from = first_tile(parts, first + t) / IN_WORD;
        int64_t to = (end_tile(parts, first + t) + 1) / 2 * 2 / IN_WORD;
        for (int64_t at = 0, width; at < o->in; at += width) {
            width = panel_width(at, o->in);
            struct operands p = {
                .a = d->a + t * k->a_component + from * k->a_pitch,
                .b = d->b + t * k->b_component + from * k->b_pitch + at,
                .c = sums + t * o->out * o->in + at,
                .a_row = 1, .a_k = k->a_pitch, .b_k = k->b_pitch, .c_row = o->in,
                .k = to - from, .is_first = is_first, .ahead = ahead,
            };
            multiply(&p, o->out, width);
        }
    }
}

/* Sums of one slice of the images and one row of components, or all. */
static void work_on_share(const struct task *k, const struct workspace *d, int64_t share)
{
    const struct weights *o = k->o;
    int64_t slice = share / k->groups, group = share % k->groups;
    float *sums = k->sums + (slice * AREA + group * k->components) * o->out * o->in;
    int64_t start = o->images * slice / k->slices * k->b.rows_of_image;
    int64_t end = o->images * (slice + 1) / k->slices * k->b.rows_of_image;
    struct segment segments[MOST_SEGMENTS];
    struct parts parts;
    for (int64_t from = start; from < end; from += k->b.rows) {
        int64_t to = least(end, from + k->b.rows);
        int64_t count = find_segments(&k->b, from, to, segments, &parts);
        element *x = d->x, *dy = d->dy;
        for (int64_t i = 0; i < count; i++) {
            find_images(k, &segments[i], x, d->tiles);
            find_gradients(k, &segments[i], dy, d->tiles + k->b.tiles);
            x += strip_positions(&k->b, segments[i].rows, TILE) * o->in;
            dy += strip_positions(&k->b, segments[i].rows, RESULTS) * o->out;
        }
        int64_t tiles = (to - from) * k->b.columns;
        transform_x(k, d, tiles, k->groups == 1 ? ALL_ROWS : group);
        transform_dy(k, d, tiles, k->groups == 1 ? ALL_ROWS : group);
        struct fetching ahead = fetch_block(k, to, least(end, to + k->b.rows));
        multiply_tiles(k, d, &parts, group * k->components, sums, from == start, &ahead);
    }
}

/* Writes Gᵀ u G for one channel of dy, slices added up. */
static void write_kernel_gradients(const struct task *k, int64_t out)
{
    const struct weights *o = k->o;
    for (int64_t c = 0; c < o->in; c += LANES) {
        floats half[3][SIDE];
        for (int j = 0; j < SIDE; j++) {
            floats u[SIDE], g[3];
            for (int i = 0; i < SIDE; i++) {
                const float *from = k->sums + ((i * SIDE + j) * o->out + out) * o->in + c;
                u[i] = load_floats(from, LANES);
                for (int64_t s = 1; s < k->slices; s++)
                    u[i] += load_floats(from + s * AREA * o->out * o->in, LANES);
            }
            transform_kernel_gradient(g, u);
            for (int i = 0; i < 3; i++)
                half[i][j] = g[i];
        }
        for (int i = 0; i < 3; i++) {
            floats g[3];
            transform_kernel_gradient(g, half[i]);
            for (int j = 0; j < 3; j++)
                store_floats(o->dw + (out * 9 + i * 3 + j) * o->in + c, g[j], LANES);
        }
    }
}

static struct task share_out(const struct weights *o)
{
    struct task k = {.o = o, .slices = 1, .groups = SIDE};
    if (AREA * o->in * o->out <= SMALL_SUMS)
        k.slices = least(MOST_SLICES, o->images), k.groups = 1;
    k.components = AREA / k.groups;
    k.a_pitch = o->out + BETWEEN, k.b_pitch = o->in + BETWEEN;
    size_t a_tile = (size_t)(k.components * (o->in + o->out)) * sizeof(element);
    k.b = lay_out_blocks(o->images, o->out_height, o->out_width, OUTPUTS, a_tile);
    int64_t rows = (k.b.tiles + 2) / IN_WORD;
    k.a_component = rows * k.a_pitch + BETWEEN, k.b_component = rows * k.b_pitch + BETWEEN;
    return k;
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t WINOGRAD_NAME(weight_gradient)(const struct weights *o, int32_t wanted)
{
    struct task k = share_out(o);
    int64_t shares = k.slices * k.groups;
    int threads = (int)most(1, least(wanted, shares));
    size_t sums = lines((size_t)(k.slices * AREA * o->out * o->in) * sizeof(float));
    size_t scale = lines((size_t)o->in * sizeof(float));
    size_t x = lines((size_t)(k.b.rows * strip_positions(&k.b, 1, TILE) * o->in) * sizeof(element));
    size_t dy = lines((size_t)(k.b.rows * strip_positions(&k.b, 1, RESULTS) * o->out) * sizeof(element));
    size_t tiles = lines((size_t)(2 * k.b.tiles) * sizeof(element *));
    size_t a = lines((size_t)(k.components * k.a_component) * sizeof(float));
    size_t b = lines((size_t)(k.components * k.b_component) * sizeof(float));
    size_t each = x + dy + tiles + a + b;
    char *memory = aligned_alloc(LINE, sums + scale + each * (size_t)threads);
    if (!memory)
        return 1;
    float *scales = (float *)(memory + sums);
    for (int64_t c = 0; o->mean && c < o->in; c++)
        scales[c] = o->rstd[c] * o->weight[c];
    k.sums = (float *)memory, k.scale = scales;
#pragma omp parallel num_threads(threads)
    {
        char *own = memory + sums + scale + each * (size_t)this_thread();
        struct workspace d = {(element *)own, (element *)(own + x), (const element **)(own + x + dy),
                              (float *)(own + x + dy + tiles), (float *)(own + x + dy + tiles + a)};
#pragma omp for schedule(dynamic)
        for (int64_t share = 0; share < shares; share++)
            work_on_share(&k, &d, share);
#pragma omp for schedule(dynamic)
        for (int64_t out = 0; out < o->out; out++)
            write_kernel_gradients(&k, out);
    }
    free(memory);
    return 0;
}
