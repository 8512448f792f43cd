/* ravine_response_forward and ravine_response_backward. */

#include <math.h>

#include "checks.h"
#include "compare.h"
#include "draw.h"
#include "exported.h"

enum { SHAPES = 30 };

/* A job, with what it should write. */
struct call {
    struct response job;
    int is_float32;
    int64_t n;
    double *x, *y, *dx;
};

/* s of channel c of a pixel: the window has size/2 channels before c. */
static double scale_at(const struct response *o, const double *x, int64_t c)
{
    double sum = 0;
    for (int64_t j = c - o->size / 2; j < c - o->size / 2 + o->size; j++)
        if (j >= 0 && j < o->channels)
            sum += x[j] * x[j];
    return o->k + o->alpha / (double)o->size * sum;
}

/* dx = Jᵀ dy, with the Jacobian written out: of y_c by x_j. */
static void add_gradients(const struct response *o, const double *x, int64_t c, double dy,
                          double *dx)
{
    double s = scale_at(o, x, c);
    dx[c] += dy * pow(s, -o->beta);
    for (int64_t j = c - o->size / 2; j < c - o->size / 2 + o->size; j++)
        if (j >= 0 && j < o->channels)
            dx[j] -= dy * x[c] * o->beta * pow(s, -o->beta - 1) * 2 * o->alpha /
                     (double)o->size * x[j];
}

static struct call draw_call(int is_float32)
{
    struct call c = {.is_float32 = is_float32};
    struct response *o = &c.job;
    o->is_float32 = is_float32;
    o->pixels = draw_integer(1, 40), o->channels = draw_integer(1, 70);
    o->size = draw_integer(1, 9);
    o->alpha = 0.5, o->beta = draw_chance(50) ? 0.75 : draw_chance(50) ? 0.6 : 2.7, o->k = 1.5;
    c.n = o->pixels * o->channels;
    o->x = draw_images(c.n, is_float32, 0, 2), o->dy = draw_images(c.n, is_float32, 0.3, 1);
    c.x = to_doubles(o->x, is_float32, c.n);
    c.y = new_doubles(c.n), c.dx = new_doubles(c.n);
    for (int64_t i = 0; i < c.n; i++) {
        int64_t channel = i % o->channels, pixel = i - channel;
        c.y[i] = c.x[i] * pow(scale_at(o, c.x + pixel, channel), -o->beta);
        add_gradients(o, c.x + pixel, channel, element_at(o->dy, is_float32, i), c.dx + pixel);
    }
    return c;
}

static void run(struct call *c, int level, int threads)
{
    c->job.y = new_images(c->n, c->is_float32);
    c->job.dx = new_images(c->n, c->is_float32);
    expect("success", ravine_response_forward(level, &c->job, threads) == DONE);
    expect("success", ravine_response_backward(level, &c->job, threads) == DONE);
}

static void check_call(struct call *c, int level)
{
    run(c, level, 1);
    const void *y = c->job.y, *dx = c->job.dx;
    run(c, level, THREADS);
    expect_near("y", c->job.y, c->is_float32, c->y, c->n, 0);
    expect_near("dx", c->job.dx, c->is_float32, c->dx, c->n, 0);
    expect_same("y with other threads", c->job.y, y, size_of(c->n, c->is_float32));
    expect_same("dx with other threads", c->job.dx, dx, size_of(c->n, c->is_float32));
}

static void check_level(int is_float32, int level)
{
    begin_kernel("response", is_float32, level, direct_limit(is_float32));
    seed(5);
    for (int k = 0; k < SHAPES; k++) {
        struct call c = draw_call(is_float32);
        begin_shape("%lld pixels, %lld channels, size %lld, beta %g", (long long)c.job.pixels,
                    (long long)c.job.channels, (long long)c.job.size, c.job.beta);
        check_call(&c, level);
        release_all();
    }
    end_kernel();
}

void check_response(void)
{
    for (int is_float32 = 0; is_float32 < 2; is_float32++)
        for (int level = BASE; level <= AMX; level++)
            if (has_level(level))
                check_level(is_float32, level);
}
