/* y = act(weight·(x − mean)/√(var + ε) + bias + residual), forward and backward.

   Ioffe, Szegedy 2015. bfloat16 or float32 in memory, float32 inside, sums in float64. Forward
   reads x twice and writes y; backward reads x and dy twice and writes dx: what the arithmetic
   needs at least, as the statistics of all rows must be known before the first row can be written.
   Where the sums of x, or of the gradients, are known from a convolution, a pass reads once. */

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "activation.h"
#include "lanes.h"
#include "norm.h"

enum {
    CHUNK = 16384, /* elements that are taken at a time: they stay in the second cache */
    ROWS = 256,    /* of a chunk at most: float32 adds up no more without a loss */
    BLOCK = 4      /* vectors that lie side by side in memory and are worked on together */
};

/* The affine map of the norm for some channels: z = (x − mean)·scale + bias. */
struct map {
    floats mean, scale, bias, rstd;
};

INLINE struct map map_of(const struct norm *o, int64_t c, int64_t n)
{
    struct map m;
    m.mean = load_floats(o->mean + c, n);
    m.rstd = load_floats(o->rstd + c, n);
    m.scale = m.rstd * load_floats(o->weight + c, n);
    m.bias = load_floats(o->bias + c, n);
    return m;
}

INLINE floats before_activation(const struct map *m, floats x, const element *residual, int64_t n)
{
    floats z = (x - m->mean) * m->scale + m->bias;
    return residual ? z + load(residual, n) : z;
}

static void add_to(double *sums, floats f, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sums[i] += f[i];
}

/* `tensor` from some number on; null stays null. */
#define FROM(tensor, at) ((tensor) ? (tensor) + (at) : NULL)

/* Functions of columns take `count` vectors of `n` channels each, from channel c on, in rows
   [from, to). */

/* Adds Σ(x − pivot) and Σ(x − pivot)²; the pivot, the first row, keeps large means from drowning
   small variances. */
INLINE void add_moments_of_columns(const struct norm *o, int64_t from, int64_t to, int64_t c,
                                   int count, int64_t n, double *sums)
{
    int64_t channels = o->channels;
    const element *x = o->x + from * channels + c;
    floats pivot[BLOCK], first[BLOCK], second[BLOCK];
    for (int k = 0; k < count; k++) {
        pivot[k] = load(o->x + c + k * LANES, n);
        first[k] = second[k] = (floats){0};
    }
    for (int64_t row = from; row < to; row++, x += channels)
        for (int k = 0; k < count; k++) {
            floats d = load(x + k * LANES, n) - pivot[k];
            first[k] += d, second[k] += d * d;
        }
    for (int k = 0; k < count; k++) {
        add_to(sums + c + k * LANES, first[k], n);
        add_to(sums + channels + c + k * LANES, second[k], n);
    }
}

INLINE void apply_columns(const struct norm *o, int64_t from, int64_t to, int64_t c, int count,
                          int64_t n, int kind)
{
    int64_t channels = o->channels, start = from * channels + c;
    const element *xs = o->x + start, *residuals = FROM(o->residual, start);
    element *ys = o->y + start;
    struct map m[BLOCK];
    for (int k = 0; k < count; k++)
        m[k] = map_of(o, c + k * LANES, n);
    for (int64_t row = from, at = 0; row < to; row++, at += channels)
        for (int k = 0; k < count; k++) {
            int64_t i = at + k * LANES;
            floats z = before_activation(&m[k], load(xs + i, n), FROM(residuals, i), n);
            store(ys + i, activate(z, kind), n);
        }
}

/* Adds Σdz and Σdz·(x − mean). */
INLINE void add_gradients_of_columns(const struct norm *o, int64_t from, int64_t to, int64_t c,
                                     int count, int64_t n, int kind, double *sums)
{
    int64_t channels = o->channels, start = from * channels + c;
    const element *xs = o->x + start, *dys = o->dy + start, *residuals = FROM(o->residual, start);
    struct map m[BLOCK];
    floats first[BLOCK], second[BLOCK];
    for (int k = 0; k < count; k++) {
        m[k] = map_of(o, c + k * LANES, n);
        first[k] = second[k] = (floats){0};
    }
    for (int64_t row = from, at = 0; row < to; row++, at += channels)
        for (int k = 0; k < count; k++) {
            int64_t i = at + k * LANES;
            floats x = load(xs + i, n), z = before_activation(&m[k], x, FROM(residuals, i), n);
            floats dz = activation_gradient(load(dys + i, n), z, kind);
            first[k] += dz, second[k] += dz * (x - m[k].mean);
        }
    for (int k = 0; k < count; k++) {
        add_to(sums + c + k * LANES, first[k], n);
        add_to(sums + channels + c + k * LANES, second[k], n);
    }
}

/* dx = scale·(dz − mean(dz) − x̂·mean(dz·x̂)) + the other gradient of x. */
INLINE void backward_columns(const struct norm *o, int64_t from, int64_t to, int64_t c, int count,
                             int64_t n, int kind)
{
    int64_t channels = o->channels, start = from * channels + c;
    const element *xs = o->x + start, *dys = o->dy + start, *residuals = FROM(o->residual, start);
    const element *more = FROM(o->dx_more, start);
    element *dxs = o->dx + start, *dresiduals = FROM(o->dresidual, start);
    float share = o->frozen ? 0.0f : (float)(1.0 / (double)o->rows);
    struct map m[BLOCK];
    floats mean_dz[BLOCK], slope[BLOCK];
    for (int k = 0; k < count; k++) {
        m[k] = map_of(o, c + k * LANES, n);
        mean_dz[k] = load_floats(o->dbias + c + k * LANES, n) * share;
        slope[k] = load_floats(o->dweight + c + k * LANES, n) * share * m[k].rstd;
    }
    for (int64_t row = from, at = 0; row < to; row++, at += channels)
        for (int k = 0; k < count; k++) {
            int64_t i = at + k * LANES;
            floats x = load(xs + i, n), z = before_activation(&m[k], x, FROM(residuals, i), n);
            floats dz = activation_gradient(load(dys + i, n), z, kind);
            floats dx = m[k].scale * (dz - mean_dz[k] - (x - m[k].mean) * slope[k]);
            if (more)
                dx += load(more + i, n);
            store(dxs + i, dx, n);
            if (dresiduals)
                store(dresiduals + i, dz, n);
        }
}

/* The same code once for each activation and for blocks, vectors and ragged vectors, so that the
   inner loops hold no choice. */
#define EACH_COLUMN(o, CALL, kind)                                             \
    {                                                                          \
        int64_t c = 0;                                                         \
        for (; c + BLOCK * LANES <= (o)->channels; c += BLOCK * LANES)         \
            CALL(BLOCK, LANES, kind);                                          \
        for (; c + LANES <= (o)->channels; c += LANES)                         \
            CALL(1, LANES, kind);                                              \
        if (c < (o)->channels)                                                 \
            CALL(1, (o)->channels - c, kind);                                  \
    }
#define EACH_KIND(o, CALL)                                                     \
    switch ((o)->activation) {                                                 \
    case IDENTITY: EACH_COLUMN(o, CALL, IDENTITY) break;                       \
    case RELU: EACH_COLUMN(o, CALL, RELU) break;                               \
    case GELU: EACH_COLUMN(o, CALL, GELU) break;                               \
    default: EACH_COLUMN(o, CALL, SILU) break;                                 \
    }

static void add_moments(const struct norm *o, int64_t from, int64_t to, double *sums)
{
#define CALL(count, n, kind) add_moments_of_columns(o, from, to, c, count, n, sums)
    EACH_COLUMN(o, CALL, IDENTITY)
#undef CALL
}

static void apply(const struct norm *o, int64_t from, int64_t to)
{
#define CALL(count, n, kind) apply_columns(o, from, to, c, count, n, kind)
    EACH_KIND(o, CALL)
#undef CALL
}

static void add_gradients(const struct norm *o, int64_t from, int64_t to, double *sums)
{
#define CALL(count, n, kind) add_gradients_of_columns(o, from, to, c, count, n, kind, sums)
    EACH_KIND(o, CALL)
#undef CALL
}

static void backward_rows(const struct norm *o, int64_t from, int64_t to)
{
#define CALL(count, n, kind) backward_columns(o, from, to, c, count, n, kind)
    EACH_KIND(o, CALL)
#undef CALL
}

/* Adds up what the shares have found, always in the same order; the total is in the first. */
static void reduce(const struct norm *o)
{
    for (int share = 1; share < SHARES; share++)
        for (int64_t i = 0; i < 2 * o->channels; i++)
            o->sums[i] += o->sums[share * 2 * o->channels + i];
}

/* The totals over images, or polyphase components of them, always in the same order. */
static void add_known_sums(const struct norm *o)
{
    memset(o->sums, 0, (size_t)o->channels * 2 * sizeof *o->sums);
    for (int64_t image = 0; image < o->images; image++)
        for (int64_t i = 0; i < 2 * o->channels; i++)
            o->sums[i] += o->known_sums[image * 2 * o->channels + i];
}

static float pivot_of(const struct norm *o, int64_t c)
{
    if (o->known_sums)
        return 0;
    return load(o->x + c, 1)[0];
}

static void finish_moments(const struct norm *o)
{
    double count = (double)o->rows;
    for (int64_t c = 0; c < o->channels; c++) {
        double first = o->sums[c] / count, second = o->sums[o->channels + c] / count;
        double mean = pivot_of(o, c) + first, var = second - first * first;
        if (var < 0) /* rounding; NaN stays NaN */
            var = 0;
        o->mean[c] = (float)mean;
        o->rstd[c] = (float)(1 / sqrt(var + o->eps));
        if (o->running_mean) {
            double unbiased = o->rows > 1 ? var * count / (count - 1) : var;
            o->running_mean[c] += (float)(o->momentum * (mean - o->running_mean[c]));
            o->running_var[c] += (float)(o->momentum * (unbiased - o->running_var[c]));
        }
    }
}

static int64_t rows_of_chunk(const struct norm *o)
{
    int64_t rows = CHUNK / o->channels;
    return rows > ROWS ? ROWS : rows > 0 ? rows : 1;
}

/* Calls DO for chunk after chunk, [from, to), of one of the SHARES equal parts of the rows. */
#define EACH_CHUNK(o, share, DO)                                                      \
    {                                                                                 \
        int64_t step = rows_of_chunk(o);                                              \
        int64_t chunks = ((o)->rows + step - 1) / step;                               \
        int64_t end = chunks * (share + 1) / SHARES * step;                           \
        end = end < (o)->rows ? end : (o)->rows;                                      \
        for (int64_t from = chunks * share / SHARES * step; from < end; from += step) { \
            int64_t to = from + step < end ? from + step : end;                       \
            DO;                                                                       \
        }                                                                             \
    }

static double *sums_of(const struct norm *o, int share)
{
    double *sums = o->sums + share * 2 * o->channels;
    memset(sums, 0, (size_t)o->channels * 2 * sizeof *sums);
    return sums;
}

void FOR_LEVEL(norm_forward)(const struct norm *o, int32_t threads)
{
    (void)threads;
#pragma omp parallel num_threads(threads)
    {
        if (o->known_sums) {
#pragma omp single
            {
                add_known_sums(o);
                finish_moments(o);
            }
        } else if (!o->frozen) {
#pragma omp for schedule(dynamic)
            for (int share = 0; share < SHARES; share++) {
                double *sums = sums_of(o, share);
                EACH_CHUNK(o, share, add_moments(o, from, to, sums))
            }
#pragma omp single
            {
                reduce(o);
                finish_moments(o);
            }
        }
        if (o->y) {
#pragma omp for schedule(dynamic)
            for (int share = 0; share < SHARES; share++)
                EACH_CHUNK(o, share, apply(o, from, to))
        }
    }
}

void FOR_LEVEL(norm_backward)(const struct norm *o, int32_t threads)
{
    (void)threads;
#pragma omp parallel num_threads(threads)
    {
        if (!o->known_sums) {
#pragma omp for schedule(dynamic)
            for (int share = 0; share < SHARES; share++) {
                double *sums = sums_of(o, share);
                EACH_CHUNK(o, share, add_gradients(o, from, to, sums))
            }
        }
#pragma omp single
        {
            if (o->known_sums)
                add_known_sums(o);
            else
                reduce(o);
            for (int64_t c = 0; c < o->channels; c++) {
                o->dbias[c] = (float)o->sums[c];
                o->dweight[c] = (float)(o->sums[o->channels + c] * o->rstd[c]);
            }
        }
#pragma omp for schedule(dynamic)
        for (int share = 0; share < SHARES; share++)
            EACH_CHUNK(o, share, backward_rows(o, from, to))
    }
}
