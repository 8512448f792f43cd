/* y[n, v, u, d] = Σ x[n, v + i − p, u + j − p, c] · w[d, i, j, c] for kernels of 3×3 and stride 1,
   and its input gradient, by Winograd's minimal filtering: F(m×m, 3×3) takes (m + 2)² products of
   matrices where m²·9 stand (winograd_transforms.h).

   A block is some rows of tiles, so many that its transform and a panel of its products stay in
   the second cache. Its images are copied to a padded strip, the norm before the convolution
   applied on the way, and transformed; for GROUP channels of y at a time the (m + 2)² products are
   taken, transformed back and written, the skip added and the sums for a norm taken on the way, as
   in convolve.c. The input gradient is the convolution with kernels turned by half a turn. Threads
   take images, some at a time, as they get free: an image's results and sums are one thread's, in
   the order of its tiles, so that no bit depends on the number of threads. Of a few small images,
   whose kernels are most of what is read, they take channels of y. */

#include <stdlib.h>

#include "products.h"
#include "winograd_writing.h"

enum { GROUP = 64 /* channels of y, at most, whose products wait to be transformed back */ };

/* What one thread works on. */
struct workspace {
    element *strip;       /* padded images: (rows, positions, in) */
    element *transformed; /* (AREA, tiles, in) */
    float *products;      /* (AREA, tiles, group) */
};

/* Words from component to component of a panel of kernels, and before the panel that begins at
   channel `at` of y; with a line between components, so that they don't meet in the caches' sets. */
INLINE int64_t kernel_component(const struct convolution *o, int64_t width)
{
    return o->in / IN_WORD * width + BETWEEN;
}

INLINE int64_t kernel_panel(const struct convolution *o, int64_t at)
{
    return AREA * (o->in / IN_WORD * at + at / LANES * BETWEEN);
}

/* Columns of the panel that begins at channel `at` of y. Of one panel's channels two are made, so that
   two threads that share them read from different places. */
INLINE int64_t y_panel(int64_t at, int64_t out)
{
    return least(panel_width(at, out), out == PANEL ? PANEL / 2 : PANEL);
}

/* Kernels of CHANNELS channels of x, for LANES of y from d on: (tap, channel, lane). */
INLINE void gather_kernels(const struct convolution *o, int64_t c, int64_t d,
                           float to[9][CHANNELS][LANES])
{
    for (int64_t tap = 0; tap < 9; tap++) {
        if (!o->backward)
            load_transposed(o->w + (d * 9 + tap) * o->in + c, 9 * o->in, to[tap]);
        for (int64_t k = 0; k < (o->backward ? CHANNELS : 0); k++)
            memcpy(to[tap][k], o->w + ((c + k) * 9 + 8 - tap) * o->out + d, sizeof to[tap][k]);
    }
}

INLINE void transform_one_kernel(const float from[9][CHANNELS][LANES], int64_t k, floats to[AREA])
{
    floats half[3][SIDE];
    for (int i = 0; i < 3; i++) {
        floats g[3];
        for (int j = 0; j < 3; j++)
            g[j] = load_floats(from[3 * i + j][k], LANES);
        transform_kernel(half[i], g);
    }
    for (int j = 0; j < SIDE; j++) {
        floats g[3] = {half[0][j], half[1][j], half[2][j]}, u[SIDE];
        transform_kernel(u, g);
        for (int i = 0; i < SIDE; i++)
            to[i * SIDE + j] = u[i];
    }
}

/* Writes G g Gᵀ for CHANNELS channels of x from c on and all channels of y. */
static void transform_kernels(const struct convolution *o, float *kernels, int64_t c)
{
    float gathered[9][CHANNELS][LANES];
    for (int64_t at = 0, width; at < o->out; at += width) {
        width = y_panel(at, o->out);
        float *panel = kernels + kernel_panel(o, at);
        int64_t apart = kernel_component(o, width);
        for (int64_t d = 0; d < width; d += LANES) {
            gather_kernels(o, c, at + d, gathered);
            for (int64_t k = 0; k < CHANNELS; k += 2) {
                floats first[AREA], second[AREA];
                transform_one_kernel((const float(*)[CHANNELS][LANES])gathered, k, first);
                transform_one_kernel((const float(*)[CHANNELS][LANES])gathered, k + 1, second);
                float *to = panel + (c + k) / IN_WORD * width + d;
                for (int64_t t = 0; t < AREA; t++)
                    store_two((element *)(to + t * apart), first[t], second[t], width);
            }
        }
    }
}

/* Bᵀ d of a tile's columns from `first` on, of one or two vectors of channels. */
INLINE void transform_vectors(const element *from, int64_t row, int64_t column, const int first,
                              floats half[2][SIDE][SIDE], const int vectors)
{
    if (vectors == 1 || OUTPUTS > 2) { /* registers do not hold both of the larger ones */
        for (int v = 0; v < vectors; v++)
            transform_columns(from + v * LANES, row, column, first, half[v]);
        return;
    }
    for (int j = first; j < SIDE; j++) {
        floats d[2][SIDE], t[SIDE];
        for (int i = 0; i < SIDE; i++) {
            floats both[2];
            load_both(from + i * row + j * column, both);
            d[0][i] = both[0], d[1][i] = both[1];
        }
        for (int v = 0; v < 2; v++) {
            transform_input(t, d[v]);
            for (int i = 0; i < SIDE; i++)
                half[v][i][j] = t[i];
        }
    }
}

/* Writes Bᵀ d B of a row of tiles for one or two vectors of channels; the columns that two tiles
   share are transformed once. */
INLINE void transform_row(const struct blocks *b, const struct segment *s, int64_t tile_row,
                          const element *from, int64_t row, int64_t channels, element *transformed,
                          int64_t apart, const int vectors, int64_t first)
{
    floats half[2][SIDE][SIDE], t[2][SIDE];
    from += first * OUTPUTS * channels;
    for (int64_t j = first; j < b->columns; j++, from += OUTPUTS * channels) {
        element *to = transformed + tile_number(b, s, tile_row, j) * channels;
        for (int v = 0; v < vectors; v++)
            for (int i = 0; i < SIDE && j > first; i++)
                for (int k = 0; k < HALO; k++)
                    half[v][i][k] = half[v][i][OUTPUTS + k];
        if (j == first)
            transform_vectors(from, row, channels, 0, half, vectors);
        else
            transform_vectors(from, row, channels, HALO, half, vectors);
        for (int i = 0; i < SIDE; i++) {
            for (int v = 0; v < vectors; v++)
                transform_input(t[v], half[v][i]);
            for (int k = 0; k < SIDE; k++) {
                if (vectors == 2)
                    store_both(to + (i * SIDE + k) * apart, t[0][k], t[1][k]);
                else
                    store(to + (i * SIDE + k) * apart, t[0][k], LANES);
            }
        }
    }
}

/* Bᵀ d of the columns from `first` on of two tiles side by side, of LANES channels. */
INLINE void transform_columns_of_twos(const element *from, int64_t row, const int first,
                                      floats half[SIDE][SIDE + OUTPUTS])
{
    for (int j = first; j < SIDE + OUTPUTS; j += 2) {
        floats d[2][SIDE], t[2][SIDE];
        for (int i = 0; i < SIDE; i++) {
            floats both[2];
            load_both(from + i * row + j * LANES, both);
            d[0][i] = both[0], d[1][i] = both[1];
        }
        transform_input(t[0], d[0]);
        transform_input(t[1], d[1]);
        for (int i = 0; i < SIDE; i++)
            half[i][j] = t[0][i], half[i][j + 1] = t[1][i];
    }
}

/* The same of whole tiles with LANES channels, two at a time, which lie together; returns how many. */
static int64_t transform_twos(const struct blocks *b, const struct segment *s, int64_t tile_row,
                              const element *from, int64_t row, element *transformed, int64_t apart)
{
    floats half[SIDE][SIDE + OUTPUTS], first[SIDE], second[SIDE];
    int64_t count = (b->columns - b->is_right_cut) / 2 * 2;
    for (int64_t j = 0; j < count; j += 2, from += 2 * OUTPUTS * LANES) {
        element *to = transformed + tile_number(b, s, tile_row, j) * LANES;
        for (int i = 0; i < SIDE && j > 0; i++)
            for (int k = 0; k < HALO; k++)
                half[i][k] = half[i][2 * OUTPUTS + k];
        if (j == 0)
            transform_columns_of_twos(from, row, 0, half);
        else
            transform_columns_of_twos(from, row, HALO, half);
        for (int i = 0; i < SIDE; i++) {
            transform_input(first, half[i]);
            transform_input(second, half[i] + OUTPUTS);
            for (int k = 0; k < SIDE; k++)
                store_both(to + (i * SIDE + k) * apart, first[k], second[k]);
        }
    }
    return count;
}

/* Writes Bᵀ d B of a segment's tiles: (AREA, tiles of a block, channels). */
static void transform_strip(const struct blocks *b, const struct segment *s, const element *strip,
                            int64_t channels, element *transformed, int64_t apart)
{
    int64_t row = strip_columns(b, TILE) * channels;
    for (int64_t i = 0; i < s->rows; i++) {
        const element *from = strip + i * OUTPUTS * row;
        int64_t c = 0;
        for (; c + 2 * LANES <= channels; c += 2 * LANES)
            transform_row(b, s, i, from + c, row, channels, transformed + c, apart, 2, 0);
        int64_t done = 0;
        if (OUTPUTS == 2 && channels == LANES)
            done = transform_twos(b, s, i, from, row, transformed, apart);
        if (c < channels)
            transform_row(b, s, i, from + c, row, channels, transformed + c, apart, 1, done);
    }
}

/* What will be needed of rows of tiles [from, to): where their results go, and what is read
   beside them; and with the last group, up to channel `last`, the images of the block after them. */
static struct fetching fetch_around(const struct task *k, int64_t from, int64_t to, int64_t end,
                                    int64_t at, int64_t channels, int64_t last)
{
    const struct convolution *o = k->o;
    struct fetching f = {.count = 0};
    int64_t first = first_position(&k->b, from, o->out_height, o->out_width, OUTPUTS, 0);
    int64_t rows = end_position(&k->b, to, o->out_height, o->out_width, OUTPUTS, 0) - first;
    int64_t bytes = channels * (int64_t)sizeof(element), stride = y_channels(o) * (int64_t)sizeof(element);
    const void *tensors[] = {o->y, o->residual, o->normed};
    for (int i = 0; i < 3; i++)
        if (tensors[i])
            fetch_rows(&f, (const element *)tensors[i] + first * y_channels(o) + at, bytes, stride, rows);
    if (at + channels == last && to < end) {
        int64_t after = least(end, to + k->b.rows);
        int64_t start = first_position(&k->b, to, o->height, o->width, OUTPUTS, 1);
        int64_t all = end_position(&k->b, after, o->height, o->width, OUTPUTS, 1) - start;
        int64_t row = o->in * (int64_t)sizeof(element), pitch = x_channels(o);
        fetch_rows(&f, (const element *)o->x + start * pitch, row, pitch * (int64_t)sizeof(element), all);
    }
    return f;
}

/* The first channel of the panel that channel `at` of y is in. */
INLINE int64_t panel_start(const struct convolution *o, int64_t at)
{
    int64_t start = 0;
    for (int64_t width; start + (width = y_panel(start, o->out)) <= at;)
        start += width;
    return start;
}

/* The kernels of component t for channels of y from `at` on. */
INLINE const float *kernels_at(const struct task *k, int64_t t, int64_t at)
{
    int64_t panel = panel_start(k->o, at), width = y_panel(panel, k->o->out);
    return k->kernels + kernel_panel(k->o, panel) + t * kernel_component(k->o, width) + at - panel;
}

/* Multiplies all components of a block with the kernels of `channels` channels of y from `at` on. */
static void multiply_group(const struct task *k, const struct workspace *d, const struct parts *parts,
                           int64_t at, int64_t channels, struct fetching *ahead)
{
    const struct convolution *o = k->o;
    int64_t words = o->in / IN_WORD;
    spread_over(ahead, AREA * calls_of(parts->end, at, at + channels, o->out));
    for (int64_t t = 0; t < AREA; t++) {
        int64_t from = first_tile(parts, t), tiles = end_tile(parts, t) - from;
        for (int64_t c = 0, columns; c < channels; c += columns) {
            int64_t panel = panel_start(o, at + c), width = y_panel(panel, o->out);
            columns = least(channels - c, panel + width - at - c);
            int is_last = c + columns == channels;
            struct operands p = {
                .a = (const float *)(d->transformed + t * k->transformed + from * o->in),
                .b = kernels_at(k, t, at + c),
                .next = kernels_at(k, t + is_last, is_last ? at : at + c + columns),
                .c = d->products + t * k->products + from * k->group + c,
                .a_row = words, .a_k = 1, .b_k = width, .c_row = k->group, .k = words, .is_first = 1,
                .ahead = ahead,
            };
            multiply(&p, tiles, columns);
        }
    }
}

static void write_group(const struct task *k, const struct workspace *d,
                        const struct segment *segments, int64_t count, int64_t at, int64_t channels)
{
    for (int64_t c = 0; c < channels; c += LANES)
        for (int64_t i = 0; i < count; i++)
            write_segment(k, &segments[i], d->products + c, at + c);
}

static void work_on_unit(const struct task *k, const struct workspace *d, int64_t unit)
{
    const struct convolution *o = k->o;
    int64_t padding = o->backward ? 2 - o->padding : o->padding;
    struct source x = {.images = o->x, .height = o->height, .width = o->width, .channels = o->in,
                       .pitch = x_channels(o), .above = padding, .left = padding};
    if (!o->backward && o->mean)
        x.mean = o->mean, x.scale = k->scale, x.bias = o->bias, x.relu = o->relu;
    struct segment segments[MOST_SEGMENTS];
    struct parts parts;
    int64_t parts_of_y = (o->out + k->channels - 1) / k->channels;
    int64_t first = unit % parts_of_y * k->channels, last = least(o->out, first + k->channels);
    int64_t from = unit / parts_of_y * k->rows, end = least(k->all, from + k->rows);
    for (; from < end; from += k->b.rows) {
        int64_t to = least(end, from + k->b.rows);
        int64_t count = find_segments(&k->b, from, to, segments, &parts);
        for (int64_t i = 0; i < count; i++) {
            copy_strip(&x, &k->b, &segments[i], TILE, d->strip);
            transform_strip(&k->b, &segments[i], d->strip, o->in, d->transformed,
                            k->transformed);
        }
        for (int64_t at = first; at < last; at += k->group) {
            int64_t channels = least(k->group, last - at);
            struct fetching ahead = fetch_around(k, from, to, end, at, channels, last);
            multiply_group(k, d, &parts, at, channels, &ahead);
            write_group(k, d, segments, count, at, channels);
        }
    }
}

/* Cuts the work into units. Where there are fewer blocks than threads, and no sums that an image's one
   thread takes, whatever is larger is cut: the kernels, by channels of y, or the images, by rows. */
static int64_t lay_out_units(struct task *k, int64_t wanted)
{
    const struct convolution *o = k->o;
    int64_t parts = 1;
    k->all = o->images * k->b.rows_of_image, k->channels = o->out;
    if (!o->sums && k->b.units < wanted && o->out > k->all * k->b.columns) {
        k->channels = part_of_channels(o->out, wanted);
        parts = (o->out + k->channels - 1) / k->channels;
    }
    k->rows = rows_of_unit(&k->b, o->images, (wanted + parts - 1) / parts, o->sums != NULL);
    return parts * ((k->all + k->rows - 1) / k->rows);
}

/* Returns the bytes of the transformed kernels. */
int64_t WINOGRAD_NAME(kernel_bytes)(const struct convolution *o, int32_t threads)
{
    (void)threads;
    return (int64_t)lines((size_t)kernel_panel(o, o->out) * sizeof(float));
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t WINOGRAD_NAME(convolve)(const struct convolution *o, int32_t wanted)
{
    struct task k = {.o = o, .group = least(GROUP, o->out)};
    size_t a_tile = (size_t)AREA * ((size_t)o->in * sizeof(element) + (size_t)k.group * sizeof(float));
    k.b = lay_out_blocks(o->images, o->out_height, o->out_width, OUTPUTS, a_tile);
    int64_t units = lay_out_units(&k, wanted);
    int threads = (int)most(1, least(wanted, units));
    k.transformed = k.b.tiles * o->in + BETWEEN * IN_WORD, k.products = k.b.tiles * k.group + BETWEEN;
    size_t kernels = o->kernels ? 0 : (size_t)WINOGRAD_NAME(kernel_bytes)(o, wanted);
    size_t scale = lines((size_t)(o->backward ? o->out : o->in) * sizeof(float));
    size_t strip = lines((size_t)(strip_positions(&k.b, least(k.b.rows, k.b.rows_of_image), TILE) * o->in) *
                         sizeof(element));
    size_t transformed = lines((size_t)(AREA * k.transformed) * sizeof(element));
    size_t products = lines((size_t)(AREA * k.products) * sizeof(float));
    size_t each = strip + transformed + products;
    char *memory = aligned_alloc(LINE, kernels + scale + each * (size_t)threads);
    if (!memory)
        return 1;
    float *scales = (float *)(memory + kernels);
    for (int64_t c = 0; o->mean && c < (o->backward ? o->out : o->in); c++)
        scales[c] = o->rstd[c] * o->weight[c];
    float *to = o->kernels ? o->kernels : (float *)memory;
    k.kernels = to, k.scale = scales;
#pragma omp parallel num_threads(threads)
    {
        char *own = memory + kernels + scale + each * (size_t)this_thread();
        struct workspace d = {(element *)own, (element *)(own + strip),
                              (float *)(own + strip + transformed)};
#pragma omp for schedule(dynamic)
        for (int64_t c = 0; c < (o->packed ? 0 : o->in); c += CHANNELS)
            transform_kernels(o, to, c);
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < units; unit++)
            work_on_unit(&k, &d, unit);
    }
    free(memory);
    return 0;
}
