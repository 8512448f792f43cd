/* y[n, v, u, d] = Σ x[n, v·s + i − p, u·s + j − p, c] · w[d, i, j, c] for any number of channels: what
   an inference runs where Winograd's algorithm does not fit.

   The taps that a result reads are gathered into a row of words (words.h), some rows at a time, so
   many that they stay in the second cache; a kernel of one position with stride 1 reads the images as
   they are, where a position is whole words. Long rows are gathered and multiplied in parts, a row of the kernel each: the kernels, which of a single
   image are most of what is read, then come from memory once for all rows. The last part goes from the
   registers to memory, with all that follows a convolution (epilogue.h). */

#include <stdlib.h>

#include "epilogue.h"

#define JOINED_PRODUCT(name, kind, level) product_##kind##_##name##_##level
#define NAMED_PRODUCT(name, kind, level) JOINED_PRODUCT(name, kind, level)
#if defined(IMAGES_FLOAT32)
#define PRODUCT_NAME(name) NAMED_PRODUCT(name, f32, LEVEL)
#else
#define PRODUCT_NAME(name) NAMED_PRODUCT(name, bf16, LEVEL)
#endif

enum {
    ROWS = REGISTERS == 32 ? 12 : 6, /* of results whose sums stay in registers */
    VECTORS = 2,                     /* of channels, likewise */
    PANEL = VECTORS * LANES,
    GATHERED = 256 << 10, /* bytes of rows at a time */
    MOST_BLOCKS = 16,     /* of ROWS rows, likewise */
    LONGEST_WHOLE = 576,  /* words of a row that is not cut into parts */
};

INLINE int64_t panels(const struct convolution *o)
{
    return (o->out + PANEL - 1) / PANEL;
}

INLINE int is_read_in_place(const struct convolution *o)
{
    return o->kernel == 1 && o->stride == 1 && o->padding == 0 && o->in % IN_WORD == 0;
}

/* Elements and words of whole rows of the kernel; the last word is filled up with a zero. */
INLINE int64_t elements_of(const struct convolution *o, int64_t height)
{
    return height * o->kernel * o->in;
}

INLINE int64_t words_of(const struct convolution *o, int64_t height)
{
    return (elements_of(o, height) + IN_WORD - 1) / IN_WORD;
}

/* Rows of the kernel in a part, of which rows of gathered taps have 1 or o->kernel. */
INLINE int64_t part_height(const struct convolution *o)
{
    return words_of(o, o->kernel) > LONGEST_WHOLE ? 1 : o->kernel;
}

INLINE int64_t part_words(const struct convolution *o)
{
    return words_of(o, part_height(o));
}

/* Words of all parts of a row of gathered taps. */
INLINE int64_t row_words(const struct convolution *o)
{
    return o->kernel / part_height(o) * part_words(o);
}

/* Rows that a thread takes at a time: a multiple of ROWS, about equal ones. */
static int64_t rows_at_once(const struct convolution *o, int64_t rows, int64_t threads)
{
    int64_t fit = GATHERED / (int64_t)sizeof(float) / part_words(o) / ROWS * ROWS;
    fit = most(ROWS, least(fit, MOST_BLOCKS * ROWS));
    int64_t blocks = most(threads, (rows + fit - 1) / fit), step = (rows + blocks - 1) / blocks;
    return (step + ROWS - 1) / ROWS * ROWS;
}

/* Element `at` of the kernels of LANES channels of y from d on; zeros for those that y does not have. */
INLINE floats gather_lanes(const struct convolution *o, int64_t d, int64_t at)
{
    float lanes[LANES] = {0};
    for (int64_t lane = 0; lane < least(LANES, o->out - d); lane++)
        lanes[lane] = o->w[(d + lane) * elements_of(o, o->kernel) + at];
    return load_floats(lanes, LANES);
}

INLINE void pack_word(const struct convolution *o, int64_t d, int64_t at, int64_t elements, float *to)
{
#if defined(IMAGES_FLOAT32)
    (void)elements;
    store_floats(to, gather_lanes(o, d, at), LANES);
#else
    store_two((element *)to, gather_lanes(o, d, at),
              elements > 1 ? gather_lanes(o, d, at + 1) : (floats){0}, LANES);
#endif
}

/* Writes a panel of kernels, (row_words, PANEL). */
static void pack_panel(const struct convolution *o, int64_t panel, float *to)
{
    int64_t elements = elements_of(o, part_height(o)), all = elements_of(o, o->kernel);
    for (int64_t part = 0; part < all; part += elements)
        for (int64_t at = 0; at < elements; at += IN_WORD, to += PANEL)
            for (int64_t j = 0; j < VECTORS; j++)
                pack_word(o, panel * PANEL + j * LANES, part + at, elements - at, to + j * LANES);
}

/* Copies what result `row` of all images reads with a part of the kernel, from its row `first` on. */
static void gather_row(const struct convolution *o, int64_t row, int64_t first, element *to)
{
    int64_t area = o->out_height * o->out_width, image = row / area, position = row % area;
    int64_t top = position / o->out_width * o->stride - o->padding + first;
    int64_t left = position % o->out_width * o->stride - o->padding;
    int64_t from = least(o->kernel, most(0, -left)), end = most(from, least(o->kernel, o->width - left));
    const element *pixels = (const element *)o->x + image * o->height * o->width * o->in;
    size_t bytes = (size_t)o->in * sizeof *to;
    for (int64_t i = 0; i < part_height(o); i++, to += o->kernel * o->in) {
        int64_t y = top + i;
        if (y < 0 || y >= o->height) {
            memset(to, 0, bytes * (size_t)o->kernel);
            continue;
        }
        memset(to, 0, bytes * (size_t)from);
        memcpy(to + from * o->in, pixels + (y * o->width + left + from) * o->in,
               bytes * (size_t)(end - from));
        memset(to + end * o->in, 0, bytes * (size_t)(o->kernel - end));
    }
    if (elements_of(o, part_height(o)) % IN_WORD)
        *to = 0;
}

/* One part of the kernel for some rows of results. */
struct part {
    const float *a;       /* (rows, words) gathered taps */
    const float *kernels; /* of the part, in the first panel */
    float *sums;          /* (panels, rows, PANEL) of the parts before, or null where there is one */
    int64_t words, from, to;
    int is_first, is_last;
};

/* Writes vector j of `rows` rows of sums: `n` channels from c on, at element `at` and below it. */
INLINE void write_column(const struct convolution *o, const floats sums[12][VECTORS], int j, int64_t at,
                         int64_t c, const int rows, int64_t n)
{
    struct finish f = begin_finish(o, c, n);
    int64_t out = o->out;
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
        write_finished(&f, at + i * out, sums[i][j], n);
}

/* Multiplies `rows` rows of taps from `row` on with a panel. */
INLINE void multiply_rows(const struct convolution *o, const struct part *t, int64_t row, int64_t panel,
                          const int rows)
{
    int64_t words = t->words, d = panel * PANEL;
    const float *a = t->a + (row - t->from) * words, *b = t->kernels + panel * row_words(o) * PANEL;
    float *before = t->sums ? t->sums + (panel * (t->to - t->from) + row - t->from) * PANEL : NULL;
    floats sums[12][VECTORS];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++)
            sums[i][j] = t->is_first ? (floats){0} : load_floats(before + i * PANEL + j * LANES, LANES);
    for (int64_t k = 0; k < words; k++, b += PANEL) {
        floats columns[VECTORS];
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++)
            columns[j] = load_floats(b + j * LANES, LANES);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; j++)
                sums[i][j] = multiply_add(sums[i][j], a + i * words + k, columns[j]);
    }
    if (!t->is_last) {
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; j++)
                store_floats(before + i * PANEL + j * LANES, sums[i][j], LANES);
        return;
    }
#pragma GCC unroll 2
    for (int j = 0; j < VECTORS; j++) {
        int64_t c = d + j * LANES, n = least(LANES, o->out - c);
        if (n == LANES)
            write_column(o, sums, j, row * o->out + c, c, rows, LANES);
        else if (n > 0)
            write_column(o, sums, j, row * o->out + c, c, rows, n);
    }
}

static void multiply_part(const struct convolution *o, const struct part *t)
{
    for (int64_t panel = 0; panel < panels(o); panel++) {
        int64_t row = t->from;
        for (; row + ROWS <= t->to; row += ROWS)
            multiply_rows(o, t, row, panel, ROWS);
        if (ROWS > 8 && row + 8 <= t->to) {
            multiply_rows(o, t, row, panel, 8);
            row += 8;
        }
        if (row + 4 <= t->to) {
            multiply_rows(o, t, row, panel, 4);
            row += 4;
        }
        if (row + 2 <= t->to) {
            multiply_rows(o, t, row, panel, 2);
            row += 2;
        }
        if (row < t->to)
            multiply_rows(o, t, row, panel, 1);
    }
}

/* Rows [from, to) of results, gathered part by part into `memory` unless that is null. */
static void work_on_rows(const struct convolution *o, float *memory, int64_t from, int64_t to)
{
    int64_t words = part_words(o), height = part_height(o);
    struct part t = {.words = words, .from = from, .to = to};
    t.sums = height < o->kernel ? memory + (to - from) * words : NULL;
    for (int64_t first = 0; first < o->kernel; first += height) {
        for (int64_t row = from; memory && row < to; row++)
            gather_row(o, row, first, (element *)(memory + (row - from) * words));
        t.a = memory ? memory : (const float *)o->x + from * words;
        t.kernels = o->kernels + first / height * words * PANEL;
        t.is_first = first == 0, t.is_last = first + height >= o->kernel;
        multiply_part(o, &t);
    }
}

/* Returns the bytes of the packed kernels. */
int64_t PRODUCT_NAME(kernel_bytes)(const struct convolution *o, int32_t threads)
{
    (void)threads;
    return (int64_t)lines((size_t)(panels(o) * PANEL * row_words(o)) * sizeof(float));
}

/* Packs the kernels, or where that was done convolves, with `after`. Returns 0, or 1 where there is
   not enough memory. */
int32_t PRODUCT_NAME(convolve)(const struct convolution *o, int32_t wanted)
{
    if (!o->packed) {
        for (int64_t p = 0; p < panels(o); p++)
            pack_panel(o, p, o->kernels + p * row_words(o) * PANEL);
        return 0;
    }
    int64_t rows = o->images * o->out_height * o->out_width, step = rows_at_once(o, rows, wanted);
    int64_t blocks = (rows + step - 1) / step;
    int threads = (int)most(1, least(wanted, blocks));
    int64_t sums = part_height(o) < o->kernel ? panels(o) * PANEL : 0;
    size_t each = is_read_in_place(o) ? 0 : lines((size_t)(step * (part_words(o) + sums)) * sizeof(float));
    char *memory = each ? aligned_alloc(LINE, each * (size_t)threads) : NULL;
    if (each && !memory)
        return 1;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t block = 0; block < blocks; block++) {
        float *own = each ? (float *)(memory + each * (size_t)this_thread()) : NULL;
        work_on_rows(o, own, block * step, least(rows, (block + 1) * step));
    }
    free(memory);
    return 0;
}
