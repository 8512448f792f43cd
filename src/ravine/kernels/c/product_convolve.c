/* y[n, v, u, d] = Σ x[n, v·s + i − p, u·s + j − p, c] · w[d, i, j, c] in float32, for any number of
   channels: what an inference runs where Winograd's algorithm does not fit.

   The taps that a result reads are gathered into a row, some rows at a time, so many that they stay
   in the second cache; a kernel of one position with stride 1 reads the images as they are. Each
   product goes from the registers to memory, with all that follows a convolution (epilogue.h). */

#include <stdlib.h>

#include "epilogue.h"

#define JOINED_PRODUCT(name, level) product_f32_##name##_##level
#define NAMED_PRODUCT(name, level) JOINED_PRODUCT(name, level)
#define PRODUCT_NAME(name) NAMED_PRODUCT(name, LEVEL)

enum {
    ROWS = REGISTERS == 32 ? 12 : 6, /* of results whose sums stay in registers */
    VECTORS = 2,                     /* of channels, likewise */
    PANEL = VECTORS * LANES,
    GATHERED = 96 << 10, /* bytes of rows at a time */
    MOST_BLOCKS = 16,    /* of ROWS rows, likewise */
};

/* Words of a row of gathered taps. */
INLINE int64_t row_words(const struct convolution *o)
{
    return o->kernel * o->kernel * o->in;
}

INLINE int64_t panels(const struct convolution *o)
{
    return (o->out + PANEL - 1) / PANEL;
}

INLINE int is_read_in_place(const struct convolution *o)
{
    return o->kernel == 1 && o->stride == 1 && o->padding == 0;
}

/* Rows that a thread takes at a time: a multiple of ROWS. */
static int64_t rows_at_once(const struct convolution *o, int64_t rows, int64_t threads)
{
    int64_t fit = GATHERED / (int64_t)sizeof(float) / row_words(o) / ROWS;
    int64_t share = (rows + threads * ROWS - 1) / (threads * ROWS);
    return ROWS * most(1, least(least(fit, MOST_BLOCKS), share));
}

/* Writes a panel of kernels, (row_words, PANEL), with zeros for channels that y does not have. */
static void pack_panel(const struct convolution *o, int64_t panel, float *to)
{
    int64_t words = row_words(o), d = panel * PANEL, channels = least(PANEL, o->out - d);
    memset(to, 0, (size_t)(words * PANEL) * sizeof *to);
    for (int64_t lane = 0; lane < channels; lane++)
        for (int64_t k = 0; k < words; k++)
            to[k * PANEL + lane] = o->w[(d + lane) * words + k];
}

/* Copies what result `row` of all images reads. */
static void gather_row(const struct convolution *o, int64_t row, float *to)
{
    int64_t area = o->out_height * o->out_width, image = row / area, position = row % area;
    int64_t top = position / o->out_width * o->stride - o->padding;
    int64_t left = position % o->out_width * o->stride - o->padding;
    int64_t from = most(0, -left), end = most(from, least(o->kernel, o->width - left));
    const float *pixels = (const float *)o->x + image * o->height * o->width * o->in;
    size_t bytes = (size_t)o->in * sizeof *to;
    for (int64_t i = 0; i < o->kernel; i++, to += o->kernel * o->in) {
        int64_t y = top + i;
        if (y < 0 || y >= o->height || from >= o->kernel) {
            memset(to, 0, bytes * (size_t)o->kernel);
            continue;
        }
        memset(to, 0, bytes * (size_t)from);
        memcpy(to + from * o->in, pixels + (y * o->width + left + from) * o->in,
               bytes * (size_t)(end - from));
        memset(to + end * o->in, 0, bytes * (size_t)(o->kernel - end));
    }
}

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

/* Multiplies `rows` rows of taps with a panel, and writes the results from `row` on. */
INLINE void multiply_rows(const struct convolution *o, const float *a, const float *b, int64_t row,
                          int64_t d, const int rows)
{
    int64_t words = row_words(o);
    floats sums[12][VECTORS];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++)
            sums[i][j] = (floats){0};
    for (int64_t k = 0; k < words; k++, b += PANEL) {
        floats columns[VECTORS];
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; j++)
            columns[j] = load_floats(b + j * LANES, LANES);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; j++)
                sums[i][j] = sums[i][j] + a[i * words + k] * columns[j];
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

static void work_on_rows(const struct convolution *o, const float *a, const float *kernels, int64_t from,
                         int64_t to)
{
    int64_t words = row_words(o);
    for (int64_t p = 0; p < panels(o); p++) {
        const float *b = kernels + p * words * PANEL;
        int64_t row = from, d = p * PANEL;
        for (; row + ROWS <= to; row += ROWS)
            multiply_rows(o, a + (row - from) * words, b, row, d, ROWS);
        if (ROWS > 8 && row + 8 <= to) {
            multiply_rows(o, a + (row - from) * words, b, row, d, 8);
            row += 8;
        }
        if (row + 4 <= to) {
            multiply_rows(o, a + (row - from) * words, b, row, d, 4);
            row += 4;
        }
        if (row + 2 <= to) {
            multiply_rows(o, a + (row - from) * words, b, row, d, 2);
            row += 2;
        }
        if (row < to)
            multiply_rows(o, a + (row - from) * words, b, row, d, 1);
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
    int64_t words = row_words(o), rows = o->images * o->out_height * o->out_width;
    int64_t step = rows_at_once(o, rows, wanted), blocks = (rows + step - 1) / step;
    int threads = (int)most(1, least(wanted, blocks));
    size_t each = is_read_in_place(o) ? 0 : lines((size_t)(step * words) * sizeof(float));
    char *memory = each ? aligned_alloc(LINE, each * (size_t)threads) : NULL;
    if (each && !memory)
        return 1;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t from = block * step, to = least(rows, from + step);
        const float *a = (const float *)o->x + from * words;
        if (each) {
            float *gathered = (float *)(memory + each * (size_t)this_thread());
            for (int64_t row = from; row < to; row++)
                gather_row(o, row, gathered + (row - from) * words);
            a = gathered;
        }
        work_on_rows(o, a, o->kernels, from, to);
    }
    free(memory);
    return 0;
}
