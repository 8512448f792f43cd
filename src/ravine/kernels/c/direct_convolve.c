/* y[n, v, u, d] = Σ x[n, v·s + i − p, u·s + j − p, c] · w[d, i, j, c] as products of matrices, and the
   input gradient, for any kernel and stride.

   A block is some rows of results, so many that what they read and a panel of their products stay
   in the second cache. The taps that each result reads are gathered into a row, and all rows
   multiplied with the kernels, GROUP channels of y at a time. The input gradient is cut into the s²
   polyphase components (phases) of y: each is a convolution of stride 1 with the taps that meet it.
   Threads take images, some at a time, as they get free: an image's results and sums are one
   thread's, in order, so that no bit depends on the number of threads. */

#include <stdlib.h>

#include "direct_lanes.h"
#include "epilogue.h"
#include "products.h"

enum {
    GROUP = 64, /* channels of y, at most, whose products wait to be written */
    MOST_PHASES = MOST_STRIDE * MOST_STRIDE,
};

/* Along one side of a phase: its results, and the taps that they read. */
struct side {
    int64_t first, results; /* the first one's position in y, and their number */
    int64_t tap, taps;      /* the first tap, from the image's end backward, and their number */
    int64_t before;         /* positions that the first result's taps begin before the image */
};

struct phase {
    struct side down, across;
    struct blocks b;
    int64_t rows;         /* of results, that a thread takes at a time */
    const float *kernels; /* panels of (taps, in, columns) words */
};

/* What all threads read. */
struct task {
    const struct convolution *o;
    struct phase phases[MOST_PHASES];
    int64_t phase_count;
    int64_t units; /* how often threads take some */
    const float *scale;  /* rstd·weight of the norm, or null */
};

/* What one thread works on. */
struct workspace {
    element *strip;    /* padded images with the norm applied */
    element *gathered; /* (results, taps, in) */
    float *products;   /* (results, GROUP) */
};

INLINE struct reach reach_of(const struct convolution *o, const struct phase *p)
{
    int64_t step = o->backward ? 1 : o->stride;
    return (struct reach){step, p->down.taps - step, p->across.taps - step};
}

/* Words of a row of gathered taps. */
INLINE int64_t row_words(const struct convolution *o, const struct phase *p)
{
    return p->down.taps * p->across.taps * o->in / IN_WORD;
}

/* Component `first` of a side of the input gradient of a convolution, `size` long. */
static struct side backward_side(const struct convolution *o, int64_t first, int64_t size)
{
    int64_t s = o->stride, tap = (first + o->padding) % s;
    struct side side = {.first = first, .results = (size - first + s - 1) / s};
    side.taps = tap < o->kernel ? (o->kernel - tap + s - 1) / s : 0;
    side.tap = tap + s * (side.taps - 1);
    side.before = side.taps - 1 - (first + o->padding - tap) / s;
    return side;
}

static void find_phases(struct task *k)
{
    const struct convolution *o = k->o;
    if (!o->backward) {
        k->phase_count = 1;
        k->phases[0].down = (struct side){0, o->out_height, 0, o->kernel, o->padding};
        k->phases[0].across = (struct side){0, o->out_width, 0, o->kernel, o->padding};
        return;
    }
    k->phase_count = o->stride * o->stride;
    for (int64_t i = 0; i < k->phase_count; i++) {
        k->phases[i].down = backward_side(o, i / o->stride, o->out_height);
        k->phases[i].across = backward_side(o, i % o->stride, o->out_width);
    }
}

static void lay_out_phases(struct task *k, int64_t threads)
{
    const struct convolution *o = k->o;
    int64_t words = 0, unit = o->images;
    for (int64_t i = 0; i < k->phase_count; i++)
        words = most(words, row_words(o, &k->phases[i]));
    size_t a_result = (size_t)(words + GROUP) * sizeof(float);
    for (int64_t i = 0; i < k->phase_count; i++) {
        struct phase *p = &k->phases[i];
        if (p->down.results <= 0 || p->across.results <= 0)
            continue;
        p->b = lay_out_blocks(o->images, p->down.results, p->across.results, 1, a_result);
        unit = least(unit, p->b.unit);
    }
    k->units = (o->images + unit - 1) / unit;
    for (int64_t i = 0; i < k->phase_count; i++) {
        struct phase *p = &k->phases[i];
        p->rows = unit * p->b.rows_of_image;
        p->b.rows = least(p->b.rows, p->rows);
        p->b.tiles = p->b.rows * p->b.columns;
    }
    if (!o->backward && k->phases[0].b.tiles > 0) {
        struct phase *all = &k->phases[0];
        all->rows = rows_of_unit(&all->b, o->images, threads, o->sums != NULL);
        k->units = (o->images * all->b.rows_of_image + all->rows - 1) / all->rows;
    }
}

/* Row and column of the kernel that gathered tap `at` of a side is multiplied with. */
INLINE int64_t kernel_tap(const struct convolution *o, const struct side *side, int64_t at)
{
    return o->backward ? side->tap - o->stride * at : at;
}

/* Writes the kernels of CHANNELS channels of x from c on, one tap, for LANES of y from d on. */
INLINE void pack_lanes(const struct convolution *o, int64_t tap, int64_t c, int64_t d, float *to,
                       int64_t width)
{
    float from[CHANNELS][LANES];
    int64_t area = o->kernel * o->kernel;
    if (!o->backward)
        load_transposed(o->w + (d * area + tap) * o->in + c, area * o->in, from);
    for (int64_t k = 0; k < (o->backward ? CHANNELS : 0); k++)
        memcpy(from[k], o->w + ((c + k) * area + tap) * o->out + d, sizeof from[k]);
    for (int64_t k = 0; k < CHANNELS; k += 2)
        store_two((element *)(to + k / IN_WORD * width), load_floats(from[k], LANES),
                  load_floats(from[k + 1], LANES), width);
}

/* Packs the kernels of a phase for CHANNELS channels of x from c on. */
static void pack_kernels(const struct convolution *o, const struct phase *p, float *kernels, int64_t c)
{
    int64_t words = row_words(o, p);
    for (int64_t i = 0; i < p->down.taps; i++)
        for (int64_t j = 0; j < p->across.taps; j++) {
            int64_t tap = kernel_tap(o, &p->down, i) * o->kernel + kernel_tap(o, &p->across, j);
            int64_t word = ((i * p->across.taps + j) * o->in + c) / IN_WORD;
            for (int64_t at = 0, width; at < o->out; at += width) {
                width = panel_width(at, o->out);
                for (int64_t d = 0; d < width; d += LANES)
                    pack_lanes(o, tap, c, at + d, kernels + at * words + word * width + d, width);
            }
        }
}

/* Copies one row of taps of a result, with zeros outside the picture. */
INLINE void gather_taps(const struct picture *x, int64_t channels, int64_t row, int64_t column,
                        int64_t taps, element *to)
{
    size_t bytes = (size_t)channels * sizeof *to;
    int64_t from = 0, end = 0;
    if (row >= 0 && row < x->height)
        taps_inside(column, taps, x->width, &from, &end);
    memset(to, 0, bytes * (size_t)from);
    if (end > from)
        memcpy(to + from * channels, x->pixels + (row * x->width + column + from) * channels,
               bytes * (size_t)(end - from));
    memset(to + end * channels, 0, bytes * (size_t)(taps - end));
}

static void gather_segment(const struct task *k, const struct phase *p, const struct segment *s,
                           const struct workspace *d)
{
    const struct convolution *o = k->o;
    struct reach r = reach_of(o, p);
    struct source x = {.images = o->x, .height = o->height, .width = o->width, .channels = o->in,
                       .above = p->down.before, .left = p->across.before};
    if (!o->backward && o->mean)
        x.mean = o->mean, x.scale = k->scale, x.bias = o->bias, x.relu = o->relu;
    int64_t top, left, row = p->across.taps * o->in;
    struct picture picture = read_picture(&x, &p->b, s, r, d->strip, &top, &left);
    element *to = d->gathered + s->first.whole * p->down.taps * row;
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = 0; j < p->b.columns; j++)
            for (int64_t t = 0; t < p->down.taps; t++, to += row)
                gather_taps(&picture, o->in, top + i * r.step + t, left + j * r.step, p->across.taps, to);
}

/* Multiplies gathered results with the kernels of `channels` channels of y from `at` on. */
static void multiply_group(const struct task *k, const struct phase *p, const struct workspace *d,
                           int64_t results, int64_t at, int64_t channels, struct fetching *ahead)
{
    const struct convolution *o = k->o;
    int64_t words = row_words(o, p);
    spread_over(ahead, calls_of(results, at, at + channels, o->out));
    for (int64_t c = 0, width; c < channels; c += width) {
        width = panel_width(at + c, o->out);
        struct operands product = {
            .a = (const float *)d->gathered, .b = p->kernels + (at + c) * words, .c = d->products + c,
            .a_row = words, .a_k = 1, .b_k = width, .c_row = GROUP, .k = words, .is_first = 1,
            .ahead = ahead,
        };
        multiply_long(&product, results, width);
    }
}

/* Writes a segment's products for LANES channels of y from d on. */
INLINE void write_segment(const struct task *k, int64_t phase, const struct segment *s,
                          const float *products, int64_t d)
{
    const struct convolution *o = k->o;
    const struct phase *p = &k->phases[phase];
    int64_t apart = o->backward ? o->stride : 1;
    float *sums = o->sums ? o->sums + (s->image * k->phase_count + phase) * 2 * o->out : NULL;
    struct epilogue e = begin_epilogue(o, k->scale, sums, s->top > 0, d);
    const float *from = products + s->first.whole * GROUP;
    for (int64_t i = 0; i < s->rows; i++) {
        int64_t row = s->image * o->out_height + p->down.first + (s->top + i) * apart;
        int64_t at = (row * o->out_width + p->across.first) * o->out + d;
        for (int64_t j = 0; j < p->b.columns; j++, from += GROUP, at += apart * o->out)
            write_position(&e, at, load_floats(from, LANES));
    }
    end_epilogue(&e);
}

/* What is read and written beside the products of rows [from, to), and what the rows after them
   read. Rows are not of more than one image where results lie apart, or else end early. */
static struct fetching fetch_around(const struct task *k, const struct phase *p, int64_t from, int64_t to,
                                    int64_t end, int64_t at, int64_t channels)
{
    const struct convolution *o = k->o;
    struct fetching f = {.count = 0};
    int64_t apart = o->backward ? o->stride : 1, size = (int64_t)sizeof(element), columns = p->b.columns;
    int64_t row = from / p->b.rows_of_image * o->out_height + p->down.first +
                  from % p->b.rows_of_image * apart;
    int64_t first = (row * o->out_width + p->across.first) * o->out + at;
    int64_t jump = (o->out_width - columns) * apart * o->out * size;
    const void *tensors[] = {o->y, o->residual, o->normed};
    for (int i = 0; i < 3; i++)
        if (tensors[i])
            fetch_groups(&f, (const element *)tensors[i] + first, channels * size, apart * o->out * size,
                         (to - from) * columns, columns, jump);
    if (at + channels == o->out && to < end) {
        int64_t step = reach_of(o, p).step, last = least(end, to + p->b.rows);
        int64_t start = first_position(&p->b, to, o->height, o->width, step, 1);
        int64_t all = end_position(&p->b, last, o->height, o->width, step, 1) - start;
        fetch_rows(&f, (const element *)o->x + start * o->in, o->in * size, o->in * size, all);
    }
    return f;
}

static void work_on_phase(const struct task *k, const struct workspace *d, int64_t unit, int64_t phase)
{
    const struct convolution *o = k->o;
    const struct phase *p = &k->phases[phase];
    struct segment segments[MOST_SEGMENTS];
    struct parts parts;
    int64_t from = unit * p->rows, end = least(o->images * p->b.rows_of_image, from + p->rows);
    for (; from < end; from += p->b.rows) {
        int64_t to = least(end, from + p->b.rows);
        int64_t count = find_segments(&p->b, from, to, segments, &parts);
        for (int64_t i = 0; i < count && p->down.taps * p->across.taps > 0; i++)
            gather_segment(k, p, &segments[i], d);
        for (int64_t at = 0; at < o->out; at += GROUP) {
            int64_t channels = least(GROUP, o->out - at);
            struct fetching ahead = fetch_around(k, p, from, to, end, at, channels);
            multiply_group(k, p, d, parts.end, at, channels, &ahead);
            for (int64_t c = 0; c < channels; c += LANES)
                for (int64_t i = 0; i < count; i++)
                    write_segment(k, phase, &segments[i], d->products + c, at + c);
        }
    }
}

/* Bytes of each part of the workspace, at most. */
struct sizes {
    size_t strip, gathered, products, kernels;
};

static struct sizes measure(const struct task *k)
{
    const struct convolution *o = k->o;
    struct sizes z = {0};
    for (int64_t i = 0; i < k->phase_count; i++) {
        const struct phase *p = &k->phases[i];
        int64_t words = row_words(o, p), rows = least(p->b.rows, p->b.rows_of_image);
        size_t gathered = lines((size_t)(p->b.tiles * words) * sizeof(float));
        size_t products = lines((size_t)(p->b.tiles * GROUP) * sizeof(float));
        z.gathered = gathered > z.gathered ? gathered : z.gathered;
        z.products = products > z.products ? products : z.products;
        z.kernels += lines((size_t)(words * o->out) * sizeof(float));
        if (o->mean && !o->backward)
            z.strip = lines((size_t)(strip_positions(&p->b, rows, reach_of(o, p)) * o->in) * sizeof(element));
    }
    return z;
}

/* Returns the bytes of the packed kernels, of the pass forward. */
int64_t DIRECT_NAME(kernel_bytes)(const struct convolution *o, int32_t threads)
{
    (void)threads;
    int64_t words = o->kernel * o->kernel * o->in / IN_WORD;
    return (int64_t)lines((size_t)(words * o->out) * sizeof(float));
}

/* Returns 0, or 1 where there is not enough memory. */
int32_t DIRECT_NAME(convolve)(const struct convolution *o, int32_t wanted)
{
    struct task k = {.o = o};
    find_phases(&k);
    lay_out_phases(&k, wanted);
    struct sizes z = measure(&k);
    int threads = (int)most(1, least(wanted, k.units));
    size_t scale = lines((size_t)(o->backward ? o->out : o->in) * sizeof(float));
    size_t each = z.strip + z.gathered + z.products;
    if (o->kernels)
        z.kernels = 0;
    char *memory = aligned_alloc(LINE, z.kernels + scale + each * (size_t)threads);
    if (!memory)
        return 1;
    char *kernels = o->kernels ? (char *)o->kernels : memory;
    for (int64_t i = 0; i < k.phase_count; i++) {
        k.phases[i].kernels = (const float *)kernels;
        kernels += lines((size_t)(row_words(o, &k.phases[i]) * o->out) * sizeof(float));
    }
    float *scales = (float *)(memory + z.kernels);
    for (int64_t c = 0; o->mean && c < (o->backward ? o->out : o->in); c++)
        scales[c] = o->rstd[c] * o->weight[c];
    k.scale = scales;
#pragma omp parallel num_threads(threads)
    {
        char *own = memory + z.kernels + scale + each * (size_t)this_thread();
        struct workspace d = {(element *)own, (element *)(own + z.strip),
                              (float *)(own + z.strip + z.gathered)};
#pragma omp for schedule(dynamic)
        for (int64_t c = 0; c < (o->packed ? 0 : o->in); c += CHANNELS)
            for (int64_t i = 0; i < k.phase_count; i++)
                pack_kernels(o, &k.phases[i], (float *)k.phases[i].kernels, c);
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < k.units; unit++)
            for (int64_t i = 0; i < k.phase_count; i++)
                if (k.phases[i].b.tiles > 0)
                    work_on_phase(&k, &d, unit, i);
    }
    free(memory);
    return 0;
}
