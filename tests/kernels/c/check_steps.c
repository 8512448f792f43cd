/* ravine_step and ravine_squares: each rule against its formula, several steps on end, of tensors
   that are cut into pieces, of which some have no gradient. */

#include <math.h>
#include <string.h>

#include "checks.h"
#include "compare.h"
#include "draw.h"
#include "exported.h"
#include "update_formulas.h"

enum { TENSORS = 7, GROUPS = 2, STEPS = 4, PIECE = 600, MOST_SIZE = 1700, MOST_PIECES = 64 };

/* Parameters that one rule steps together. */
struct table {
    struct tensor tensors[TENSORS];
    int64_t sizes[TENSORS];
    struct piece *pieces;
    int64_t *units, unit_count;
    double *partial, *hyper;
    double *w[TENSORS], *state[TENSORS][2], mu[TENSORS]; /* wanted */
};

/* Cuts tensors into pieces, and gathers one to three of them into units. */
static void cut(struct table *t)
{
    struct piece pieces[MOST_PIECES];
    int64_t units[MOST_PIECES + 1] = {0}, count = 0;
    for (int k = 0; k < TENSORS; k++)
        for (int64_t from = 0; from < t->sizes[k]; from += PIECE) {
            int64_t left = t->sizes[k] - from;
            pieces[count++] = (struct piece){k, from, left < PIECE ? left : PIECE};
        }
    for (t->unit_count = 0; units[t->unit_count] < count; t->unit_count++) {
        int64_t end = units[t->unit_count] + draw_integer(1, 3);
        units[t->unit_count + 1] = end < count ? end : count;
    }
    t->pieces = copy_of(pieces, (size_t)count * sizeof *pieces);
    t->units = copy_of(units, (size_t)(t->unit_count + 1) * sizeof *units);
    t->partial = allocate((size_t)count * sizeof(double));
}

static void draw_hyper(struct table *t)
{
    t->hyper = new_doubles(GROUPS * HYPER);
    for (int g = 0; g < GROUPS; g++) {
        const double row[HYPER] = {0.04, g ? 0 : 0.02, g ? 0.03 : 0, 0.83, 0.96, 3e-4, g ? 1 : 0.7};
        memcpy(t->hyper + g * HYPER, row, sizeof row);
    }
}

static void draw_tensor(struct table *t, int k, const struct update_formula *rule)
{
    struct tensor *one = &t->tensors[k];
    int64_t n = t->sizes[k] = draw_chance(30) ? draw_integer(1, 20) : draw_integer(1, MOST_SIZE);
    *one = (struct tensor){.w = draw_floats(n, 0, 1), .group = k % GROUPS};
    t->w[k] = floats_to_doubles(one->w, n);
    for (int s = 0; s < rule->states; s++) {
        one->state[s] = to_floats(new_doubles(n), n);
        t->state[k][s] = new_doubles(n);
    }
    one->k = allocate_zeros(sizeof *one->k);
    t->mu[k] = 1;
    if (rule->keeps_product) {
        one->mu = allocate(sizeof *one->mu);
        *one->mu = 1;
    }
}

static struct table draw_table(const struct update_formula *rule)
{
    struct table t = {0};
    for (int k = 0; k < TENSORS; k++)
        draw_tensor(&t, k, rule);
    cut(&t);
    draw_hyper(&t);
    return t;
}

static void draw_gradients(struct table *t)
{
    int64_t absent = draw_integer(0, TENSORS - 1);
    for (int k = 0; k < TENSORS; k++)
        t->tensors[k].g = k == absent ? NULL : draw_floats(t->sizes[k], 0.1, 1);
}

/* A table with tensors of its own, so that it can be stepped twice. */
static void copy_tensors(struct tensor *to, const struct table *t)
{
    memcpy(to, t->tensors, sizeof t->tensors);
    for (int k = 0; k < TENSORS; k++) {
        size_t bytes = (size_t)t->sizes[k] * sizeof(float);
        to[k].w = copy_of(to[k].w, bytes);
        for (int s = 0; s < 2; s++)
            to[k].state[s] = to[k].state[s] ? copy_of(to[k].state[s], bytes) : NULL;
        to[k].k = copy_of(to[k].k, sizeof *to[k].k);
        to[k].mu = to[k].mu ? copy_of(to[k].mu, sizeof *to[k].mu) : NULL;
    }
}

static void step_wanted(struct table *t, const struct update_formula *rule)
{
    for (int k = 0; k < TENSORS; k++) {
        const struct tensor *one = &t->tensors[k];
        if (!one->g)
            continue;
        const double *h = t->hyper + one->group * HYPER;
        double before = t->mu[k];
        for (int64_t i = 0; i < t->sizes[k]; i++) {
            double *states[2] = {t->state[k][0] + i, rule->states > 1 ? t->state[k][1] + i : NULL};
            t->mu[k] = take_step(rule, h, *one->k + 1, before, one->g[i], t->w[k] + i, states);
        }
    }
}

static void expect_tensors(const struct table *t, const struct tensor *other)
{
    for (int k = 0; k < TENSORS; k++) {
        const struct tensor *one = &t->tensors[k];
        size_t bytes = (size_t)t->sizes[k] * sizeof(float);
        expect_near("w", one->w, 1, t->w[k], t->sizes[k], 0);
        expect_same("w with other threads", other[k].w, one->w, bytes);
        for (int s = 0; s < 2 && one->state[s]; s++) {
            expect_near("state", one->state[s], 1, t->state[k][s], t->sizes[k], 0);
            expect_same("state with other threads", other[k].state[s], one->state[s], bytes);
        }
        expect("the number of steps with other threads", *other[k].k == *one->k);
        if (one->mu)
            expect("mu", fabs(*one->mu - t->mu[k]) < 1e-12 && *other[k].mu == *one->mu);
    }
}

static void check_table(struct table *t, const struct update_formula *rule, int32_t which,
                        int level)
{
    struct tensor other[TENSORS];
    for (int step = 0; step < STEPS; step++) {
        draw_gradients(t);
        step_wanted(t, rule);
        copy_tensors(other, t);
        ravine_step(level, which, t->tensors, TENSORS, t->pieces, t->units, t->unit_count,
                    t->hyper, step % 2, 1);
        ravine_step(level, which, other, TENSORS, t->pieces, t->units, t->unit_count, t->hyper,
                    step % 2, THREADS);
        expect_tensors(t, other);
    }
}

void check_steps(void)
{
    for (int level = BASE; level <= AMX; level++) {
        if (!has_level(level))
            continue;
        begin_kernel("step", 1, level, DIRECT_FLOAT32);
        seed(7);
        for (int32_t which = 0; which < UPDATE_FORMULA_COUNT; which++) {
            const struct update_formula *rule = &UPDATE_FORMULAS[which];
            begin_shape("rule %s", rule->name);
            struct table t = draw_table(rule);
            check_table(&t, rule, which, level);
            release_all();
        }
        end_kernel();
    }
}

/* Gradients of any size: sums of squares neither overflow nor vanish. */
static void check_sums(struct table *t, int level)
{
    static const double SPREADS[] = {1, 1e-25, 1e30};
    double *wanted = new_doubles(TENSORS), *sums = NULL, *first = NULL;
    for (int k = 0; k < TENSORS; k++) {
        const float *g = k == 3 ? NULL : draw_floats(t->sizes[k], 0, SPREADS[k % 3]);
        t->tensors[k].g = g;
        for (int64_t i = 0; g && i < t->sizes[k]; i++)
            wanted[k] += (double)g[i] * g[i];
    }
    for (int threads = 1; threads <= THREADS; threads += THREADS - 1) {
        first = sums, sums = new_doubles(TENSORS);
        ravine_squares(level, t->tensors, TENSORS, t->pieces, t->units, t->unit_count, t->partial,
                       sums, threads);
    }
    for (int k = 0; k < TENSORS; k++)
        expect("a sum of squares", fabs(sums[k] - wanted[k]) <= DIRECT_FLOAT32 * wanted[k]);
    expect_same("sums with other threads", sums, first, TENSORS * sizeof *sums);
}

void check_squares(void)
{
    enum { SHAPES = 20 };
    for (int level = BASE; level <= AMX; level++) {
        if (!has_level(level))
            continue;
        begin_kernel("squares", 1, level, DIRECT_FLOAT32);
        seed(8);
        for (int k = 0; k < SHAPES; k++) {
            begin_shape("number %d", k);
            struct table t = draw_table(&UPDATE_FORMULAS[0]);
            check_sums(&t, level);
            release_all();
        }
        end_kernel();
    }
}
