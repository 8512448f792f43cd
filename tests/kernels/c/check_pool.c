/* ravine_pool_forward and ravine_pool_backward, which are exact. */

#include <math.h>

#include "checks.h"
#include "compare.h"
#include "draw.h"
#include "exported.h"

enum { SHAPES = 40 };

/* A job, with what it should write. */
struct call {
    struct pool job;
    int is_float32;
    int64_t large, small; /* elements of x, of y */
    double *x, *y, *dx;
    uint8_t *index;
};

/* Where pixel k of the four of element i of y lies in x. */
static int64_t find_pixel(const struct pool *o, int64_t i, int64_t k)
{
    int64_t channel = i % o->channels, position = i / o->channels;
    int64_t column = position % (o->width / 2) * 2 + k % 2;
    int64_t row = position / (o->width / 2) % (o->height / 2) * 2 + k / 2;
    int64_t image = position / (o->width / 2) / (o->height / 2);
    return ((image * o->height + row) * o->width + column) * o->channels + channel;
}

static void find_wanted(struct call *c)
{
    const struct pool *o = &c->job;
    c->y = new_doubles(c->small), c->dx = new_doubles(c->large);
    c->index = allocate((size_t)c->small);
    for (int64_t i = 0; i < c->small; i++) {
        int64_t best = 0;
        for (int64_t k = 1; k < 4; k++) {
            double x = c->x[find_pixel(o, i, k)];
            if (x > c->x[find_pixel(o, i, best)] || isnan(x))
                best = k;
        }
        c->y[i] = c->x[find_pixel(o, i, best)];
        c->index[i] = (uint8_t)best;
        c->dx[find_pixel(o, i, best)] = element_at(o->dy, c->is_float32, i);
    }
}

static struct call draw_call(int is_float32)
{
    struct call c = {.is_float32 = is_float32};
    struct pool *o = &c.job;
    o->is_float32 = is_float32;
    o->images = draw_integer(1, 5), o->height = draw_integer(2, 9), o->width = draw_integer(2, 9);
    o->channels = draw_integer(1, 70);
    c.large = o->images * o->height * o->width * o->channels;
    c.small = o->images * (o->height / 2) * (o->width / 2) * o->channels;
    /* a large mean: few different numbers in bfloat16, many of them equal */
    void *x = draw_images(c.large, is_float32, draw_chance(50) ? 40 : 0, 1);
    if (draw_chance(30)) {
        int64_t at = draw_integer(0, c.large - 1);
        if (is_float32)
            ((float *)x)[at] = NAN;
        else
            ((uint16_t *)x)[at] = 0x7fc0;
    }
    o->x = x, o->dy = draw_images(c.small, is_float32, 0, 1);
    c.x = to_doubles(o->x, is_float32, c.large);
    find_wanted(&c);
    return c;
}

static void expect_equal(const struct call *c, const char *what, const void *found,
                         const double *wanted, int64_t n)
{
    int is_equal = 1;
    for (int64_t i = 0; i < n; i++) {
        double f = element_at(found, c->is_float32, i);
        is_equal &= f == wanted[i] || (isnan(f) && isnan(wanted[i]));
    }
    expect(what, is_equal);
}

static void check_call(struct call *c, int level, int threads)
{
    struct pool *o = &c->job;
    o->y = new_images(c->small, c->is_float32), o->dx = new_images(c->large, c->is_float32);
    o->index = NULL;
    ravine_pool_forward(level, o, threads);
    expect_equal(c, "y without an index", o->y, c->y, c->small);
    o->index = allocate((size_t)c->small);
    ravine_pool_forward(level, o, threads);
    expect_equal(c, "y", o->y, c->y, c->small);
    expect_same("index", o->index, c->index, (size_t)c->small);
    ravine_pool_backward(level, o, threads);
    expect_equal(c, "dx", o->dx, c->dx, c->large);
}

static void check_level(int is_float32, int level)
{
    begin_kernel("pool", is_float32, level, 0);
    seed(4);
    for (int k = 0; k < SHAPES; k++) {
        struct call c = draw_call(is_float32);
        begin_shape("%lld images of %lldx%lld, %lld channels", (long long)c.job.images,
                    (long long)c.job.height, (long long)c.job.width, (long long)c.job.channels);
        check_call(&c, level, 1);
        check_call(&c, level, THREADS);
        release_all();
    }
    end_kernel();
}

void check_pool(void)
{
    for (int is_float32 = 0; is_float32 < 2; is_float32++)
        for (int level = BASE; level <= AMX; level++)
            if (has_level(level))
                check_level(is_float32, level);
}
