/* Optimizer steps and norms of gradients, in one pass over memory.

   Compiled once for each level of the processor (LEVEL is the ending of the names); library.c
   picks the level when it runs. Work is cut into units whose borders do not depend on the
   number of threads, and sums are added up in the order of the units, so that results do not
   depend on it either. Plain C on raw pointers: nothing of torch or Python is known here. */

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

enum { COEFFICIENTS = 16 };

/* Consecutive elements of one tensor. */
struct range {
    float *w;
    const float *g;
    float *state[2];
    int64_t n;
};

struct rule {
    double (*coefficients)(const double *h, double k, double mu, float *c);
    void (*update)(const float *restrict c, const struct range *restrict r);
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

static void step_unit(const struct rule *rule, const struct tensor *tensors,
                      const struct piece *pieces, int64_t count, const double *hyper)
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
        const int64_t from = pieces[p].start;
        const struct range r = {
            .w = t->w + from,
            .g = t->g + from,
            .state = {t->state[0] + from, t->state[1] ? t->state[1] + from : NULL},
            .n = pieces[p].n,
        };
        rule->update(c, &r);
    }
}

void FOR_LEVEL(step)(int32_t which, struct tensor *tensors, int64_t tensor_count,
                     const struct piece *pieces, const int64_t *units, int64_t unit_count,
                     const double *hyper, int32_t flush, int32_t threads)
{
    const struct rule *rule = RULES + which;
#pragma omp parallel num_threads(threads) if (threads > 1 && unit_count > 1)
    {
        const unsigned before = flush_denormals(flush);
#pragma omp for schedule(dynamic, 1)
        for (int64_t u = 0; u < unit_count; u++)
            step_unit(rule, tensors, pieces + units[u], units[u + 1] - units[u], hyper);
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

typedef double doubles __attribute__((vector_size(64)));
typedef float floats __attribute__((vector_size(32), aligned(4)));

/* The sum of squares in double precision: finite float32 numbers cannot make it infinite. */
static double sum_of_squares(const float *restrict g, int64_t n)
{
    doubles sums[4] = {{0}};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int j = 0; j < 4; j++) {
            const floats narrow = *(const floats *)(g + i + 8 * j);
            const doubles x = __builtin_convertvector(narrow, doubles);
            sums[j] += x * x;
        }
    const doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    double sum = ((all[0] + all[4]) + (all[1] + all[5])) + ((all[2] + all[6]) + (all[3] + all[7]));
    for (; i < n; i++)
        sum += (double)g[i] * g[i];
    return sum;
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
