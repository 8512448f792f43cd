/* y = act(weight·(x − mean)/√(var + ε) + bias + residual), forward and backward.

   Ioffe, Szegedy 2015. bfloat16 or float32 in memory, float32 inside, sums in float64. Forward reads x twice
   and writes y; backward reads x and dy twice and writes dx: what the arithmetic needs at least,
   as the statistics of all rows must be known before the first row can be written. Where the sums
   of x, or of the gradients, are known from a convolution, a pass reads once. */

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "lanes.h"
#include "norm.h"

enum { CHUNK = 4096 /* elements that are taken at a time: they stay in the first cache */ };

/* eˣ to 2 units in the last place, for x in [-87, 88]. */
INLINE floats exponential(floats x)
{
    x = choose(x < -87.0f, (floats){0} - 87.0f, x);
    x = choose(x > 88.0f, (floats){0} + 88.0f, x);
    floats shifted = x * 1.44269504f + 12582912.0f; /* 1.5·2²³: rounds to an integer */
    ints n = (ints)shifted - (ints)((floats){0} + 12582912.0f);
    floats r = x - (shifted - 12582912.0f) * 0.693359375f;
    r = r + (shifted - 12582912.0f) * 2.12194440e-4f; /* ln 2 in two parts */
    floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (floats)((ints)p + (n << 23));
}

/* The standard normal's density φ(z) and, in `below`, its distribution Φ(z) to 1e-7: erf as in
   Abramowitz, Stegun 1964, 7.1.26. */
INLINE floats normal(floats z, floats *below)
{
    floats size = (floats)((words)z & 0x7fffffffu);
    floats t = 1.0f / (1.0f + 0.23164188f * size); /* 0.3275911/√2 */
    floats density = exponential(-0.5f * z * z);
    floats p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    floats tail = 0.5f * p * t * density;
    *below = choose(z < 0.0f, tail, 1.0f - tail);
    return density * 0.398942280f;
}

INLINE floats activate(floats z, int kind)
{
    if (kind == RELU) /* NaN stays NaN */
        return choose(z <= 0.0f, (floats){0}, z);
    if (kind == GELU) {
        floats below;
        normal(z, &below);
        return z * below;
    }
    if (kind == SILU)
        return z / (1.0f + exponential(-z));
    return z;
}

/* dy times the derivative of the activation at z. */
INLINE floats activation_gradient(floats dy, floats z, int kind)
{
    if (kind == RELU)
        return choose(z <= 0.0f, (floats){0}, dy);
    if (kind == GELU) {
        floats below, density = normal(z, &below);
        return dy * (below + z * density);
    }
    if (kind == SILU) {
        floats s = 1.0f / (1.0f + exponential(-z));
        return dy * s * (1.0f + z * (1.0f - s));
    }
    return dy;
}

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

INLINE floats before_activation(const struct norm *o, const struct map *m, floats x, int64_t at,
                                int64_t n)
{
    floats z = (x - m->mean) * m->scale + m->bias;
    return o->residual ? z + load(o->residual + at, n) : z;
}

static void add_to(double *sums, floats f, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sums[i] += f[i];
}

/* Adds Σ(x − pivot) and Σ(x − pivot)² of rows [from, to); the pivot, the first row, keeps large
   means from drowning small variances. */
static void add_moments(const struct norm *o, int64_t from, int64_t to, double *sums)
{
    for (int64_t c = 0; c < o->channels; c += LANES) {
        int64_t n = o->channels - c < LANES ? o->channels - c : LANES;
        floats pivot = load(o->x + c, n), first = {0}, second = {0};
        const element *x = o->x + from * o->channels + c;
        if (n == LANES)
            for (int64_t row = from; row < to; row++, x += o->channels) {
                floats d = load(x, LANES) - pivot;
                first += d, second += d * d;
            }
        else
            for (int64_t row = from; row < to; row++, x += o->channels) {
                floats d = load(x, n) - pivot;
                first += d, second += d * d;
            }
        add_to(sums + c, first, n);
        add_to(sums + o->channels + c, second, n);
    }
}

INLINE void apply_columns(const struct norm *o, int64_t from, int64_t to, int64_t c, int64_t n,
                          int kind)
{
    struct map m = map_of(o, c, n);
    for (int64_t row = from; row < to; row++) {
        int64_t at = row * o->channels + c;
        store(o->y + at, activate(before_activation(o, &m, load(o->x + at, n), at, n), kind), n);
    }
}

/* Adds Σdz and Σdz·(x − mean) of rows [from, to). */
INLINE void add_gradients_of_columns(const struct norm *o, int64_t from, int64_t to, int64_t c,
                                     int64_t n, int kind, double *sums)
{
    struct map m = map_of(o, c, n);
    floats first = {0}, second = {0};
    for (int64_t row = from; row < to; row++) {
        int64_t at = row * o->channels + c;
        floats x = load(o->x + at, n);
        floats dz = activation_gradient(load(o->dy + at, n), before_activation(o, &m, x, at, n), kind);
        first += dz, second += dz * (x - m.mean);
    }
    add_to(sums + c, first, n);
    add_to(sums + o->channels + c, second, n);
}

/* dx = scale·(dz − mean(dz) − x̂·mean(dz·x̂)) + the other gradient of x. */
INLINE void backward_columns(const struct norm *o, int64_t from, int64_t to, int64_t c, int64_t n,
                            int kind)
{
    struct map m = map_of(o, c, n);
    float share = o->frozen ? 0.0f : (float)(1.0 / (double)o->rows);
    floats mean_dz = load_floats(o->dbias + c, n) * share;
    floats slope = load_floats(o->dweight + c, n) * share * m.rstd;
    for (int64_t row = from; row < to; row++) {
        int64_t at = row * o->channels + c;
        floats x = load(o->x + at, n);
        floats dz = activation_gradient(load(o->dy + at, n), before_activation(o, &m, x, at, n), kind);
        floats dx = m.scale * (dz - mean_dz - (x - m.mean) * slope);
        if (o->dx_more)
            dx += load(o->dx_more + at, n);
        store(o->dx + at, dx, n);
        if (o->dresidual)
            store(o->dresidual + at, dz, n);
    }
}

/* The same code once for each activation and for whole and ragged vectors, so that the inner
   loops hold no choice. */
#define EACH_COLUMN(o, CALL)                                                             \
    for (int64_t c = 0; c < (o)->channels; c += LANES) {                                 \
        int64_t n = (o)->channels - c < LANES ? (o)->channels - c : LANES;               \
        switch ((o)->activation * 2 + (n == LANES)) {                                    \
        case 0: CALL(n, IDENTITY); break;                                                \
        case 1: CALL(LANES, IDENTITY); break;                                            \
        case 2: CALL(n, RELU); break;                                                    \
        case 3: CALL(LANES, RELU); break;                                                \
        case 4: CALL(n, GELU); break;                                                    \
        case 5: CALL(LANES, GELU); break;                                                \
        case 6: CALL(n, SILU); break;                                                    \
        default: CALL(LANES, SILU); break;                                               \
        }                                                                                \
    }

static void apply(const struct norm *o, int64_t from, int64_t to)
{
#define CALL(n, kind) apply_columns(o, from, to, c, n, kind)
    EACH_COLUMN(o, CALL)
#undef CALL
}

static void add_gradients(const struct norm *o, int64_t from, int64_t to, double *sums)
{
#define CALL(n, kind) add_gradients_of_columns(o, from, to, c, n, kind, sums)
    EACH_COLUMN(o, CALL)
#undef CALL
}

static void backward_rows(const struct norm *o, int64_t from, int64_t to)
{
#define CALL(n, kind) backward_columns(o, from, to, c, n, kind)
    EACH_COLUMN(o, CALL)
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

/* Calls DO for chunk after chunk, [from, to), of one of the SHARES equal parts of the rows. */
#define EACH_CHUNK(o, share, DO)                                                      \
    {                                                                                 \
        int64_t step = CHUNK / (o)->channels > 0 ? CHUNK / (o)->channels : 1;         \
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
#pragma omp for schedule(static)
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
#pragma omp for schedule(static)
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
#pragma omp for schedule(static)
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
#pragma omp for schedule(static)
        for (int share = 0; share < SHARES; share++)
            EACH_CHUNK(o, share, backward_rows(o, from, to))
    }
}
