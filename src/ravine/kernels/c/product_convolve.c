/* y[n, v, u, d] = Σ x[n, v·s + i − p, u·s + j − p, c] · w[d, i, j, c] for any number of channels: what
   an inference runs where Winograd's algorithm does not fit.

   The taps that a result reads are gathered into a row of words (words.h), some rows at a time, so
   many that they stay in the second cache; a kernel of one position with stride 1 reads the images as
   they are, where a position is whole words. Long rows are gathered and multiplied in parts, a row of the kernel each: the kernels, which of a single
   image are most of what is read, then come from memory once for all rows. The last part goes from the
   registers to memory, with all that follows a convolution (epilogue.h). */

#include <stdlib.h>

#include "epilogue.h"
#include "product_kernels.h"

#define JOINED_PRODUCT(name, kind, level) product_##kind##_##name##_##level
#define NAMED_PRODUCT(name, kind, level) JOINED_PRODUCT(name, kind, level)
#if defined(IMAGES_FLOAT32)
#define PRODUCT_NAME(name) NAMED_PRODUCT(name, f32, LEVEL)
#else
#define PRODUCT_NAME(name) NAMED_PRODUCT(name, bf16, LEVEL)
#endif

enum {
    ROWS = REGISTERS == 32 ? 12 : 6, /* of results whose sums with a panel's channels stay in registers */
    SUMS = ROWS * VECTORS,
    GATHERED = 256 << 10, /* bytes of rows at a time */
    MOST_BLOCKS = 16,     /* of ROWS rows, likewise */
};

INLINE int is_read_in_place(const struct convolution *o)
{
    return o->kernel == 1 && o->stride == 1 && o->padding == 0 && o->groups <= 1 && o->in % IN_WORD == 0;
}

/* Rows that a thread takes at a time: a multiple of ROWS, about equal ones. */
static int64_t rows_at_once(const struct convolution *o, int64_t rows, int64_t threads)
{
    int64_t fit = GATHERED / (int64_t)sizeof(float) / part_words(o) / ROWS * ROWS;
    fit = most(ROWS, least(fit, MOST_BLOCKS * ROWS));
    int64_t blocks = most(threads, (rows + fit - 1) / fit), step = (rows + blocks - 1) / blocks;
    return (step + ROWS - 1) / ROWS * ROWS;
}

/* Copies so many bytes, few at most, without a call. */
INLINE void copy_few(void *to, const void *from, size_t bytes)
{
    enum { STEP = 8, FEW = 64 };
    if (bytes < STEP || bytes > FEW) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t at = 0; at + STEP <= bytes; at += STEP)
        memcpy((char *)to + at, (const char *)from + at, STEP);
    memcpy((char *)to + bytes - STEP, (const char *)from + bytes - STEP, STEP);
}

/* Copies the channels of so many positions in a row. */
INLINE void copy_positions(const struct convolution *o, element *to, const element *from, int64_t count)
{
    size_t bytes = (size_t)o->in * sizeof *to;
    if (o->groups <= 1) {
        copy_few(to, from, bytes * (size_t)count);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        copy_few(to + i * o->in, from + i * x_channels(o), bytes);
}

/* Copies what a result reads of its image with `height` rows of the kernel, the first one's first tap
   at (top, left). */
INLINE void gather_row(const struct convolution *o, const element *pixels, int64_t top, int64_t left,
                       int64_t height, element *to)
{
    int64_t from = least(o->kernel, most(0, -left)), end = most(from, least(o->kernel, o->width - left));
    size_t bytes = (size_t)o->in * sizeof *to;
    for (int64_t y = top; y < top + height; y++, to += o->kernel * o->in) {
        if (y < 0 || y >= o->height) {
            memset(to, 0, bytes * (size_t)o->kernel);
            continue;
        }
        if (from > 0)
            memset(to, 0, bytes * (size_t)from);
        copy_positions(o, to + from * o->in, pixels + (y * o->width + left + from) * x_channels(o),
                       end - from);
        if (end < o->kernel)
            memset(to + end * o->in, 0, bytes * (size_t)(o->kernel - end));
    }
    if (height * o->kernel * o->in % IN_WORD)
        *to = 0;
}

/* Copies what results [from, to) of all images read with a part of the kernel, from its row `first` on. */
static void gather_rows(const struct convolution *o, int64_t from, int64_t to, int64_t first,
                        element *gathered)
{
    int64_t height = part_height(o), each = part_words(o) * IN_WORD, of_image = o->height * o->width * x_channels(o);
    int64_t column = from % o->out_width, row = from / o->out_width % o->out_height;
    const element *pixels = (const element *)o->x + from / (o->out_width * o->out_height) * of_image;
    for (int64_t i = from; i < to; i++, gathered += each) {
        gather_row(o, pixels, row * o->stride - o->padding + first, column * o->stride - o->padding,
                   height, gathered);
        if (++column < o->out_width)
            continue;
        column = 0;
        if (++row == o->out_height)
            row = 0, pixels += of_image;
    }
}

/* One part of the kernel for some rows of results. */
struct part {
    const float *a;       /* (rows, words) gathered taps */
    int64_t begin;        /* words of a row of all parts before this one */
    float *sums;          /* of the parts before, panel by panel, or null where there is one */
    int64_t words, from, to; /* of a row; rows */
    int is_first, is_last;
};

/* Writes vector j of `rows` rows of sums at element `at` and below it, with rectifiers. */
INLINE void write_column(const struct finish *f, const floats sums[SUMS], const int vectors, int j,
                         int64_t at, int64_t out, const int rows, const int has_residual,
                         const int has_second)
{
#pragma GCC unroll 24
    for (int i = 0; i < rows; i++)
        write_rectified(f, at + i * out, sums[i * vectors + j], has_residual, has_second);
}

/* The same of other activations or fewer channels, from c on and from memory: inlined, this would take
   registers of the sums. */
static __attribute__((noinline)) void write_others(const struct convolution *o, const float *sums,
                                                   int64_t at, int64_t c, int64_t rows)
{
    int64_t n = least(LANES, o->out - c);
    struct finish f = begin_finish(o, c, n);
    for (int64_t i = 0; i < rows; i++)
        write_finished(&f, at + i * y_channels(o), load_floats(sums + i * LANES, LANES), n);
}

/* Writes vector j of `rows` rows of sums, channels from c on, at element `at` and below it. */
INLINE void write_sums(const struct convolution *o, const floats sums[SUMS], const int vectors, int j,
                       int64_t at, int64_t c, const int rows)
{
    if (c + LANES <= o->out) {
        struct finish f = begin_finish(o, c, LANES);
        if (f.is_rectified && f.residual && f.second) {
            write_column(&f, sums, vectors, j, at, y_channels(o), rows, 1, 1);
            return;
        }
        if (f.is_rectified && f.second) {
            write_column(&f, sums, vectors, j, at, y_channels(o), rows, 0, 1);
            return;
        }
        if (f.is_rectified && f.residual) {
            write_column(&f, sums, vectors, j, at, y_channels(o), rows, 1, 0);
            return;
        }
        if (f.is_rectified) {
            write_column(&f, sums, vectors, j, at, y_channels(o), rows, 0, 0);
            return;
        }
    }
    float others[SUMS * LANES];
#pragma GCC unroll 24
    for (int i = 0; i < rows; i++)
        store_floats(others + i * LANES, sums[i * vectors + j], LANES);
    write_others(o, others, at, c, rows);
}

/* Multiplies `rows` rows of taps from `row` on with the panel from channel d of y on. */
INLINE void multiply_rows(const struct convolution *o, const struct part *t, int64_t row, int64_t d,
                          const int rows, const int vectors)
{
    int64_t words = t->words;
    const float *a = t->a + (row - t->from) * words;
    const float *b = o->kernels + d * row_words(o) + t->begin * vectors * LANES;
    float *before = t->sums ? t->sums + d * (t->to - t->from) + (row - t->from) * vectors * LANES : NULL;
    floats sums[SUMS];
#pragma GCC unroll 24
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            sums[i * vectors + j] =
                t->is_first ? (floats){0} : load_floats(before + (i * vectors + j) * LANES, LANES);
    for (int64_t k = 0; k < words; k++, b += vectors * LANES) {
        floats columns[VECTORS];
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            columns[j] = load_floats(b + j * LANES, LANES);
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < vectors; j++)
                sums[i * vectors + j] = multiply_add(sums[i * vectors + j], a + i * words + k, columns[j]);
    }
    if (!t->is_last) {
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < vectors; j++)
                store_floats(before + (i * vectors + j) * LANES, sums[i * vectors + j], LANES);
        return;
    }
#pragma GCC unroll 2
    for (int j = 0; j < vectors; j++)
        write_sums(o, sums, vectors, j, row * y_channels(o) + d + j * LANES, d + j * LANES, rows);
}

/* Multiplies all rows with a panel. */
INLINE void multiply_panel(const struct convolution *o, const struct part *t, int64_t d,
                           const int at_once, const int vectors)
{
    int64_t row = t->from;
    for (; row + at_once <= t->to; row += at_once)
        multiply_rows(o, t, row, d, at_once, vectors);
    if (at_once > 16 && row + 16 <= t->to) {
        multiply_rows(o, t, row, d, 16, vectors);
        row += 16;
    }
    if (at_once > 8 && row + 8 <= t->to) {
        multiply_rows(o, t, row, d, 8, vectors);
        row += 8;
    }
    if (row + 4 <= t->to) {
        multiply_rows(o, t, row, d, 4, vectors);
        row += 4;
    }
    if (row + 2 <= t->to) {
        multiply_rows(o, t, row, d, 2, vectors);
        row += 2;
    }
    if (row < t->to)
        multiply_rows(o, t, row, d, 1, vectors);
}

/* Not inlined, as GCC allocates registers for a function as a whole. */
static __attribute__((noinline)) void multiply_wide(const struct convolution *o, const struct part *t,
                                                    int64_t d)
{
    multiply_panel(o, t, d, ROWS, VECTORS);
}

static __attribute__((noinline)) void multiply_narrow(const struct convolution *o, const struct part *t,
                                                      int64_t d)
{
    multiply_panel(o, t, d, SUMS, 1);
}

/* With channels [first, last) of y. */
static void multiply_part(const struct convolution *o, const struct part *t, int64_t first, int64_t last)
{
    for (int64_t d = first; d < last; d += PANEL)
        (vectors_from(o, d) == VECTORS ? multiply_wide : multiply_narrow)(o, t, d);
}

/* Rows and channels of results that a thread takes at a time. */
struct cut {
    int64_t rows, channels;
    int64_t parts; /* of the channels */
};

/* Of few rows, whatever is larger is cut: the kernels, by channels, or the images, by rows. */
static struct cut lay_out_units(const struct convolution *o, int64_t rows, int64_t threads)
{
    struct cut c = {.channels = o->out, .parts = 1};
    if (o->out > rows) {
        c.channels = ((o->out + threads - 1) / threads + PANEL - 1) / PANEL * PANEL;
        c.parts = (o->out + c.channels - 1) / c.channels;
    }
    c.rows = rows_at_once(o, rows, (threads + c.parts - 1) / c.parts);
    return c;
}

/* Rows [from, to) of results and channels from `first_channel` on, gathered part by part into `memory` unless
   that is null. */
static void work_on_rows(const struct convolution *o, const struct cut *c, float *memory, int64_t from,
                         int64_t to, int64_t first_channel)
{
    int64_t last_channel = least(o->out, first_channel + c->channels);
    int64_t words = part_words(o), height = part_height(o);
    struct part t = {.words = words, .from = from, .to = to};
    t.sums = height < o->kernel ? memory + (to - from) * words : NULL;
    for (int64_t first = 0; first < o->kernel; first += height) {
        if (memory)
            gather_rows(o, from, to, first, (element *)memory);
        t.a = memory ? memory : (const float *)o->x + from * words;
        t.begin = first / height * words;
        t.is_first = first == 0, t.is_last = first + height >= o->kernel;
        multiply_part(o, &t, first_channel, last_channel);
    }
}

/* Returns the bytes of the packed kernels. */
int64_t PRODUCT_NAME(kernel_bytes)(const struct convolution *o, int32_t threads)
{
    (void)threads;
    return (int64_t)lines((size_t)(padded_channels(o) * row_words(o)) * sizeof(float));
}

/* Packs the kernels, or where that was done convolves, with `after`. Returns 0, or 1 where there is
   not enough memory. */
int32_t PRODUCT_NAME(convolve)(const struct convolution *o, int32_t wanted)
{
    if (!o->packed) {
#pragma omp parallel for schedule(static) num_threads(wanted)
        for (int64_t d = 0; d < o->out; d += PANEL)
            pack_panel(o, d, o->kernels + d * row_words(o));
        return 0;
    }
    int64_t rows = o->images * o->out_height * o->out_width;
    struct cut c = lay_out_units(o, rows, wanted);
    int64_t step = c.rows, units = (rows + step - 1) / step * c.parts;
    int threads = (int)most(1, least(wanted, units));
    int64_t sums = part_height(o) < o->kernel ? padded_channels(o) : 0;
    size_t each = is_read_in_place(o) ? 0 : lines((size_t)(step * (part_words(o) + sums)) * sizeof(float));
    char *memory = each ? aligned_alloc(LINE, each * (size_t)threads) : NULL;
    if (each && !memory)
        return 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t unit = 0; unit < units; unit++) {
        float *own = each ? (float *)(memory + each * (size_t)this_thread()) : NULL;
        int64_t from = unit / c.parts * step;
        work_on_rows(o, &c, own, from, least(rows, from + step), unit % c.parts * c.channels);
    }
    free(memory);
    return 0;
}
