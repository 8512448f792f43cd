/* y[n, v, u, d] = Σ x[n, v·s + i − p, u·s + j − p, c] · w[d, i, j, c] for any number of channels: what
   an inference runs where Winograd's algorithm does not fit.

   The taps that a result reads are gathered into a row of words (words.h), some rows at a time, so
   many that they stay in the second cache; a kernel of one position with stride 1 reads the images as
   they are, where a position is whole words (product_gather.h). Long rows are gathered and multiplied in
   parts, a row of the kernel each: the kernels, which of a single image are most of what is read, then
   come from memory once for all rows. The last part goes from the registers to memory, with all that
   follows a convolution (product_writing.h). */

#include <stdlib.h>

#include "fetching.h"
#include "product_writing.h"

#define JOINED_PRODUCT(name, kind, level) product_##kind##_##name##_##level
#define NAMED_PRODUCT(name, kind, level) JOINED_PRODUCT(name, kind, level)
#if defined(IMAGES_FLOAT32)
#define PRODUCT_NAME(name) NAMED_PRODUCT(name, f32, LEVEL)
#else
#define PRODUCT_NAME(name) NAMED_PRODUCT(name, bf16, LEVEL)
#endif

enum {
    ROWS = REGISTERS == 32 ? 12 : 6, /* of results whose sums with a panel stay in registers */
    SUMS = ROWS * VECTORS,
    /* So few that the next rows are multiplied while results are written: of a panel of one vector, and
       of products of few words. */
    NARROW_ROWS = REGISTERS == 32 ? 16 : 12,
    FEW_ROWS = REGISTERS == 32 ? 8 : 6,
    SHALLOW = 32, /* words */
    AHEAD = REGISTERS == 16 ? 64 : 0, /* rows of a panel that are asked for early; not measured with more */
    GATHERED = 256 << 10, /* bytes of rows at a time */
    MOST_BLOCKS = 16,     /* of ROWS rows, likewise */
};

/* Rows that a thread takes at a time: a multiple of ROWS, about equal ones. */
static int64_t rows_at_once(const struct convolution *o, int64_t rows, int64_t threads)
{
    int64_t fit = GATHERED / (int64_t)sizeof(float) / part_words(o) / ROWS * ROWS;
    fit = most(ROWS, least(fit, MOST_BLOCKS * ROWS));
    int64_t blocks = most(threads, (rows + fit - 1) / fit), step = (rows + blocks - 1) / blocks;
    return (step + ROWS - 1) / ROWS * ROWS;
}

/* One part of the kernel for some rows of results. */
struct part {
    const float *a;       /* (rows, words) gathered taps */
    int64_t begin;        /* words of a row of all parts before this one */
    float *sums;          /* of the parts before, panel by panel, or null where there is one */
    int64_t words, from, to; /* of a row; rows */
    int is_first, is_last;
};

/* Multiplies `rows` rows of taps from `row` on with the panel from channel d of y on. */
INLINE void multiply_rows(const struct convolution *o, const struct part *t, const struct ending *e,
                          int64_t row, int64_t d, const int rows, const int vectors, const int ahead)
{
    int64_t words = t->words;
    const float *a = t->a + (row - t->from) * words;
    const float *b = o->kernels + d * row_words(o) + t->begin * vectors * LANES;
    float *before = t->sums ? t->sums + d * (t->to - t->from) + (row - t->from) * vectors * LANES : NULL;
    floats sums[SUMS];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sums[i] = t->is_first ? e->shift[i % vectors] : load_floats(before + i * LANES, LANES);
    for (int64_t k = 0; k < words; k++, b += vectors * LANES) {
        floats columns[VECTORS];
        if (ahead)
            fetch_vectors(b + ahead * vectors * LANES, vectors);
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            columns[j] = load_floats(b + j * LANES, LANES);
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < vectors; j++)
                sums[i * vectors + j] = multiply_add(sums[i * vectors + j], a + i * words + k, columns[j]);
    }
    if (t->is_last) {
        write_sums(e, row * y_channels(o), sums, rows, vectors);
        return;
    }
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        store_floats(before + i * LANES, sums[i], LANES);
}

/* Multiplies all rows with a panel. */
INLINE void multiply_panel(const struct convolution *o, const struct part *t, int64_t d,
                           const int at_once, const int vectors, const int ahead)
{
    struct ending e = begin_ending(o, d);
    int64_t row = t->from;
    if (ahead && row + at_once <= t->to) { /* the first rows read the panel from far away */
        multiply_rows(o, t, &e, row, d, at_once, vectors, ahead);
        row += at_once;
    }
    for (; row + at_once <= t->to; row += at_once)
        multiply_rows(o, t, &e, row, d, at_once, vectors, 0);
    if (at_once > 16 && row + 16 <= t->to) {
        multiply_rows(o, t, &e, row, d, 16, vectors, 0);
        row += 16;
    }
    if (at_once > 8 && row + 8 <= t->to) {
        multiply_rows(o, t, &e, row, d, 8, vectors, 0);
        row += 8;
    }
    if (at_once > 4 && row + 4 <= t->to) {
        multiply_rows(o, t, &e, row, d, 4, vectors, 0);
        row += 4;
    }
    if (row + 2 <= t->to) {
        multiply_rows(o, t, &e, row, d, 2, vectors, 0);
        row += 2;
    }
    if (row < t->to)
        multiply_rows(o, t, &e, row, d, 1, vectors, 0);
}

/* Not inlined, as GCC allocates registers for a function as a whole. */
static __attribute__((noinline)) void multiply_wide(const struct convolution *o, const struct part *t,
                                                    int64_t d)
{
    multiply_panel(o, t, d, ROWS, VECTORS, AHEAD);
}

static __attribute__((noinline)) void multiply_shallow(const struct convolution *o, const struct part *t,
                                                       int64_t d)
{
    multiply_panel(o, t, d, FEW_ROWS, VECTORS, 0);
}

static __attribute__((noinline)) void multiply_narrow(const struct convolution *o, const struct part *t,
                                                      int64_t d)
{
    multiply_panel(o, t, d, NARROW_ROWS, 1, 0);
}

/* With channels [first, last) of y. */
static void multiply_part(const struct convolution *o, const struct part *t, int64_t first, int64_t last)
{
    for (int64_t d = first; d < last; d += PANEL)
        if (vectors_from(o, d) < VECTORS)
            multiply_narrow(o, t, d);
        else if (t->words <= SHALLOW)
            multiply_shallow(o, t, d);
        else
            multiply_wide(o, t, d);
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
