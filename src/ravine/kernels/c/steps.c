/* Optimizer steps and norms of gradients, in one pass over memory.

   Compiled once for each level of the processor (LEVEL is the ending of the names); library.c
   picks the level when it runs. Work is cut into units whose borders do not depend on the
   number of threads, and sums are added up in the order of the units, so that results do not
   depend on it either. Plain C on raw pointers: nothing of torch or Python is known here. */

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "steps.h"

#define JOINED(name, level) name##_##level
#define NAMED(name, level) JOINED(name, level)
#define FOR_LEVEL(name) NAMED(name, LEVEL)

#define POW(base, exponent) pow(base, exponent)
#define SQRT(x) _Generic((x), float: sqrtf, double: sqrt)(x)
/* NaN fails both comparisons and stays. */
#define AT_LEAST(x, limit) ((x) < (limit) ? (limit) : (x))
#define AT_MOST(x, limit) ((x) > (limit) ? (limit) : (x))

enum { COEFFICIENTS = 16, RUN = 512, LONG_RUN = 2048, LINE = 16 };

/* Consecutive elements of one tensor. */
struct range {
    float *w;
    const float *g;
    float *state[2];
    int64_t n;
};

/* `restrict` holds for parameters only, in GCC: elsewhere the loop would be there twice, and take the
   unvectorised one, which rounds otherwise, for tensors that lie less than a vector apart. */
struct rule {
    double (*coefficients)(const double *h, double k, double mu, float *c);
    void (*update)(const float *restrict c, float *restrict w, const float *restrict g,
                   float *restrict first, float *restrict second, int64_t n);
};

#include "rules.h"

/* Denormal numbers cost some hundred cycles each; where they cannot matter they count as zero. */
static unsigned flush_denormals(int wanted)
{
#if defined(__SSE__)
    const unsigned before = _mm_getcsr();
    if (wanted)
        _mm_setcsr(before | 0x8040); /* flush to zero, denormals are zero */
    return before;
#else
    (void)wanted;
    return 0;
#endif
}

static void restore_denormals(unsigned before)
{
#if defined(__SSE__)
    _mm_setcsr(before);
#else
    (void)before;
#endif
}

/* Whether asking for memory ahead gains time: on Intel's processors, whose own prefetching ends with
   every page, up to a third; on AMD's it costs a third. */
static int asks_ahead(void)
{
#if defined(RAVINE_X86)
    __builtin_cpu_init();
    return __builtin_cpu_is("intel");
#else
    return 0;
#endif
}

/* Asks for the next run of memory. */
static void fetch_ahead(const struct range *r)
{
    for (int64_t i = RUN; i < 2 * RUN; i += LINE) {
        __builtin_prefetch(r->w + i, 1);
        __builtin_prefetch(r->g + i, 0);
        __builtin_prefetch(r->state[0] + i, 1);
        if (r->state[1])
            __builtin_prefetch(r->state[1] + i, 1);
    }
}

static void step_unit(const struct rule *rule, const struct tensor *tensors,
                      const struct piece *pieces, int64_t count, const double *hyper, int ahead)
{
    float c[COEFFICIENTS];
    int64_t group = -1, k = -1;
    double mu = 0;
    for (int64_t p = 0; p < count; p++) {
        const struct tensor *t = tensors + pieces[p].tensor;
        const double its_mu = t->mu ? *t->mu : 1;
        if (!t->g)
            continue;
        if (t->group != group || *t->k != k || its_mu != mu) {
            group = t->group, k = *t->k, mu = its_mu;
            rule->coefficients(hyper + group * HYPER, (double)(k + 1), mu, c);
        }
        const int64_t end = pieces[p].start + pieces[p].n;
        const int64_t run = ahead ? RUN : LONG_RUN;
        for (int64_t from = pieces[p].start; from < end; from += run) {
            const struct range r = {
                .w = t->w + from,
                .g = t->g + from,
                .state = {t->state[0] + from, t->state[1] ? t->state[1] + from : NULL},
                .n = end - from < run ? end - from : run,
            };
            if (ahead && end - from > run)
                fetch_ahead(&r);
            rule->update(c, r.w, r.g, r.state[0], r.state[1], r.n);
        }
    }
}

void FOR_LEVEL(step)(int32_t which, struct tensor *tensors, int64_t tensor_count,
                     const struct piece *pieces, const int64_t *units, int64_t unit_count,
                     const double *hyper, int32_t flush, int32_t threads)
{
    const struct rule *rule = RULES + which;
    const int ahead = asks_ahead();
#pragma omp parallel num_threads(threads) if (threads > 1 && unit_count > 1)
    {
        const unsigned before = flush_denormals(flush);
#pragma omp for schedule(dynamic, 1)
        for (int64_t u = 0; u < unit_count; u++)
            step_unit(rule, tensors, pieces + units[u], units[u + 1] - units[u], hyper, ahead);
        restore_denormals(before);
    }
    float unused[COEFFICIENTS];
    int64_t group = -1, k = -1;
    double mu = 0, next_mu = 0;
    for (int64_t i = 0; i < tensor_count; i++) {
        struct tensor *t = tensors + i;
        if (!t->g)
            continue;
        *t->k += 1;
        if (!t->mu)
            continue;
        if (t->group != group || *t->k != k || *t->mu != mu) {
            group = t->group, k = *t->k, mu = *t->mu;
            next_mu = rule->coefficients(hyper + group * HYPER, (double)k, mu, unused);
        }
        *t->mu = next_mu;
    }
}

typedef float floats __attribute__((vector_size(64), aligned(4)));

enum { BLOCK = 512, LANES = 16, STREAMS = 4 };
/* Below this a sum of squares has lost digits to denormal numbers; above FLT_MAX, everything. */
#define LEAST_IN_SINGLE 1e-28f

static double sum_in_double(const float *restrict g, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)g[i] * g[i];
    return sum;
}

/* A block in single precision: each of its 64 running sums has eight terms. */
static float sum_of_block(const float *restrict g)
{
    floats sums[STREAMS] = {{0}};
    for (int i = 0; i < BLOCK; i += LANES * STREAMS)
        for (int j = 0; j < STREAMS; j++) {
            const floats x = *(const floats *)(g + i + LANES * j);
            sums[j] += x * x;
        }
    const floats all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    float four[4];
    for (int k = 0; k < 4; k++)
        four[k] = (all[k] + all[k + 4]) + (all[k + 8] + all[k + 12]);
    return (four[0] + four[1]) + (four[2] + four[3]);
}

/* The sum of squares: finite float32 numbers of any size cannot make it infinite, or zero. */
static double sum_of_squares(const float *restrict g, int64_t n)
{
    double sum = 0;
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        for (int64_t ahead = i + 2 * BLOCK; ahead < i + 3 * BLOCK && ahead < n; ahead += LINE)
            __builtin_prefetch(g + ahead);
        const float block = sum_of_block(g + i);
        /* NaN fails the comparison too. */
        sum += block >= LEAST_IN_SINGLE && block <= FLT_MAX ? block : sum_in_double(g + i, BLOCK);
    }
    return sum + sum_in_double(g + i, n - i);
}

void FOR_LEVEL(squares)(const struct tensor *tensors, int64_t tensor_count,
                        const struct piece *pieces, const int64_t *units, int64_t unit_count,
                        double *partial, double *sums, int32_t threads)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) \
    if (threads > 1 && unit_count > 1)
    for (int64_t u = 0; u < unit_count; u++)
        for (int64_t p = units[u]; p < units[u + 1]; p++) {
            const float *g = tensors[pieces[p].tensor].g;
            partial[p] = g ? sum_of_squares(g + pieces[p].start, pieces[p].n) : 0;
        }
    for (int64_t i = 0; i < tensor_count; i++)
        sums[i] = 0;
    for (int64_t p = 0; p < units[unit_count]; p++)
        sums[pieces[p].tensor] += partial[p];
}
