/* dw[c, i, j] = Σ dy[n, y, x, c] · x[n, y·s + i − p, x·s + j − p, c], and dbias[c] = Σ dy[n, y, x, c].

   A task is LANES channels of a share of the images. Rows of x are widened once, with zeros around
   them, into a ring of `kernel` rows; then OUTPUTS positions of dy lie in registers beside the sums
   of the taps, and each position of x is loaded once for all of them.

   Work is cut by the shape alone, never by the threads, and shares are added up in order, so that no
   bit depends on the number of threads. */

#include <stddef.h>
#include <stdlib.h>

#include "depthwise.h"
#include "lanes.h"

enum {
    OUTPUTS = 4,
    MOST_SHARES = 8,
    MOST_KERNEL = 7,
    LINE = 64,
};

/* What one thread works on: floats of LANES channels. */
struct workspace {
    floats *rows; /* (kernel, columns) of x, row r of the padded image at r mod kernel */
    floats *dy;   /* (places), zeros beyond the row's end */
};

struct plan {
    const struct depthwise *o;
    int64_t shares, blocks;  /* of the images, of the channels */
    int64_t places, columns; /* of a row of dy, of a row of x, that the sums read */
    floats *sums;            /* (shares, blocks, kernel² + 1): the taps, and dbias */
};

INLINE int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Fills `to` with a row of `width` positions from position `from` on, and zeros around it. */
static void widen_row(floats *to, int64_t count, const element *row, int64_t width, int64_t from,
                      int64_t channels, int64_t n)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t at = i - from;
        to[i] = at >= 0 && at < width ? load(row + at * channels, n) : (floats){0};
    }
}

/* Adds to the sums of one row of the filter; x is the row that its taps lie in. */
INLINE void add_taps(floats *sums, const floats *x, const floats *dy, int64_t places, int kernel,
                     int stride)
{
    floats sum[MOST_KERNEL];
#pragma GCC unroll 7
    for (int t = 0; t < kernel; t++)
        sum[t] = sums[t];
    for (int64_t place = 0; place < places; place += OUTPUTS) {
        floats d[OUTPUTS];
#pragma GCC unroll 4
        for (int q = 0; q < OUTPUTS; q++)
            d[q] = dy[place + q];
#pragma GCC unroll 13
        for (int j = 0; j < (OUTPUTS - 1) * stride + kernel; j++) {
            floats v = x[place * stride + j];
#pragma GCC unroll 4
            for (int q = 0; q < OUTPUTS; q++)
                if (j >= q * stride && j < q * stride + kernel)
                    sum[j - q * stride] += v * d[q];
        }
    }
#pragma GCC unroll 7
    for (int t = 0; t < kernel; t++)
        sums[t] = sum[t];
}

/* Adds a row of dy to all taps; rows outside of the image add nothing. */
INLINE void add_row(const struct plan *p, const struct workspace *d, int64_t y, floats *sums,
                    int kernel, int stride)
{
    for (int i = 0; i < kernel; i++) {
        int64_t padded = y * stride + i, row = padded - p->o->padding;
        if (row >= 0 && row < p->o->height)
            add_taps(sums + i * kernel, d->rows + padded % kernel * p->columns, d->dy, p->places,
                     kernel, stride);
    }
}

static void add_to_bias(const struct plan *p, const struct workspace *d, floats *sum)
{
    for (int64_t place = 0; place < p->places; place++)
        *sum += d->dy[place];
}

static void pick_row(const struct plan *p, const struct workspace *d, int64_t y, floats *sums)
{
#define CASE(kernel, stride)                       \
    case 10 * (kernel) + (stride):                 \
        add_row(p, d, y, sums, (kernel), (stride)); \
        break;
    switch (10 * p->o->kernel + p->o->stride) {
        CASE(5, 1)
        CASE(5, 2)
        CASE(7, 1)
        CASE(7, 2)
    }
#undef CASE
}

static void add_image(const struct plan *p, const struct workspace *d, int64_t image, int64_t first,
                      floats *sums)
{
    const struct depthwise *o = p->o;
    int64_t n = lesser(LANES, o->channels - first), next = 0;
    const element *x = o->x + image * o->height * o->width * o->channels + first;
    const element *dy = o->dy + image * o->out_height * o->out_width * o->channels + first;
    for (int64_t y = 0; y < o->out_height; y++) {
        if (next < y * o->stride)
            next = y * o->stride;
        for (; next < y * o->stride + o->kernel; next++) {
            int64_t row = next - o->padding;
            if (row >= 0 && row < o->height)
                widen_row(d->rows + next % o->kernel * p->columns, p->columns,
                          x + row * o->width * o->channels, o->width, o->padding, o->channels, n);
        }
        widen_row(d->dy, p->places, dy + y * o->out_width * o->channels, o->out_width, 0, o->channels,
                  n);
        add_to_bias(p, d, sums + o->kernel * o->kernel);
        pick_row(p, d, y, sums);
    }
}

static void add_share(const struct plan *p, const struct workspace *d, int64_t task)
{
    int64_t share = task / p->blocks, first = task % p->blocks * LANES;
    int64_t count = p->o->kernel * p->o->kernel + 1;
    floats *sums = p->sums + task * count;
    memset(sums, 0, (size_t)count * sizeof *sums);
    for (int64_t image = share * p->o->images / p->shares;
         image < (share + 1) * p->o->images / p->shares; image++)
        add_image(p, d, image, first, sums);
}

/* Adds the shares of a block of channels up, and writes them. */
static void write_block(const struct plan *p, int64_t block)
{
    const struct depthwise *o = p->o;
    int64_t taps = o->kernel * o->kernel, first = block * LANES;
    int64_t n = lesser(LANES, o->channels - first);
    for (int64_t t = 0; t <= taps; t++) {
        floats sum = {0};
        for (int64_t share = 0; share < p->shares; share++)
            sum += p->sums[(share * p->blocks + block) * (taps + 1) + t];
        if (t == taps && o->dbias)
            store_floats(o->dbias + first, sum, n);
        for (int64_t c = 0; t < taps && c < n; c++)
            o->dw[(first + c) * taps + t] = sum[c];
    }
}

/* Returns memory for so many vectors, or null; `free` takes it back. */
static floats *new_vectors(int64_t count)
{
    return aligned_alloc(LINE, ((size_t)count * sizeof(floats) + LINE - 1) / LINE * LINE);
}

/* Fills dw and dbias. Returns 0, or 1 without enough memory. */
int32_t FOR_LEVEL(depthwise_gradient)(const struct depthwise *o, int32_t threads)
{
    struct plan p = {.o = o, .shares = lesser(MOST_SHARES, o->images)};
    p.blocks = (o->channels + LANES - 1) / LANES;
    p.places = (o->out_width + OUTPUTS - 1) / OUTPUTS * OUTPUTS;
    p.columns = (p.places - 1) * o->stride + o->kernel;
    p.sums = new_vectors(p.shares * p.blocks * (o->kernel * o->kernel + 1));
    if (!p.sums)
        return 1;
    size_t failed = 0;
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        struct workspace d = {.rows = new_vectors(o->kernel * p.columns + p.places)};
        failed += !d.rows;
        if (d.rows)
            d.dy = d.rows + o->kernel * p.columns;
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < p.shares * p.blocks; task++)
            if (d.rows)
                add_share(&p, &d, task);
#pragma omp for
        for (int64_t block = 0; block < p.blocks; block++)
            write_block(&p, block);
        free(d.rows);
    }
    free(p.sums);
    return failed > 0;
}
