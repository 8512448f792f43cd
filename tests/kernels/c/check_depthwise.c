/* ravine_depthwise_gradient. */

#include "checks.h"
#include "compare.h"
#include "draw.h"
#include "exported.h"

enum { SHAPES = 40 };

/* A job, with what it should write. */
struct call {
    struct depthwise job;
    int64_t large, small; /* elements of x, of dy */
    double *dw, *dbias;
};

static int64_t filter_size(const struct depthwise *o)
{
    return o->channels * o->kernel * o->kernel;
}

/* Adds what one element of dy gives to its channel's filter. */
static void add_element(struct call *c, const double *x, int64_t i, double dy)
{
    const struct depthwise *o = &c->job;
    int64_t channel = i % o->channels, position = i / o->channels;
    int64_t column = position % o->out_width * o->stride - o->padding;
    int64_t row = position / o->out_width % o->out_height * o->stride - o->padding;
    int64_t image = position / o->out_width / o->out_height;
    c->dbias[channel] += dy;
    for (int64_t down = 0; down < o->kernel; down++)
        for (int64_t across = 0; across < o->kernel; across++) {
            int64_t y = row + down, at = column + across;
            if (y < 0 || y >= o->height || at < 0 || at >= o->width)
                continue;
            c->dw[(channel * o->kernel + down) * o->kernel + across] +=
                dy * x[((image * o->height + y) * o->width + at) * o->channels + channel];
        }
}

static int64_t size_after(const struct depthwise *o, int64_t size)
{
    return (size + 2 * o->padding - o->kernel) / o->stride + 1;
}

static struct call draw_call(int is_float32)
{
    struct call c = {0};
    struct depthwise *o = &c.job;
    o->is_float32 = is_float32;
    o->kernel = draw_chance(50) ? 5 : 7, o->stride = draw_integer(1, 2);
    o->padding = draw_integer(0, o->kernel / 2 + 1);
    int64_t fewest = o->kernel > 2 * o->padding ? o->kernel - 2 * o->padding : 1;
    o->height = draw_integer(fewest, fewest + 12), o->width = draw_integer(fewest, fewest + 12);
    o->images = draw_integer(1, 11), o->channels = draw_integer(1, 40);
    o->out_height = size_after(o, o->height), o->out_width = size_after(o, o->width);
    c.large = o->images * o->height * o->width * o->channels;
    c.small = o->images * o->out_height * o->out_width * o->channels;
    o->x = draw_images(c.large, is_float32, 0.2, 1), o->dy = draw_images(c.small, is_float32, 0.1, 1);
    c.dw = new_doubles(filter_size(o)), c.dbias = new_doubles(o->channels);
    double *x = to_doubles(o->x, is_float32, c.large);
    for (int64_t i = 0; i < c.small; i++)
        add_element(&c, x, i, element_at(o->dy, is_float32, i));
    return c;
}

static void run(struct call *c, int level, int threads)
{
    c->job.dw = allocate((size_t)filter_size(&c->job) * sizeof(float));
    c->job.dbias = allocate((size_t)c->job.channels * sizeof(float));
    expect("success", ravine_depthwise_gradient(level, &c->job, threads) == DONE);
}

static void check_call(struct call *c, int level)
{
    int64_t taps = filter_size(&c->job), channels = c->job.channels;
    run(c, level, 1);
    const float *dw = c->job.dw, *dbias = c->job.dbias;
    run(c, level, THREADS);
    expect_near("dw", dw, 1, c->dw, taps, 1);
    expect_near("dbias", dbias, 1, c->dbias, channels, 1);
    expect_same("dw with other threads", c->job.dw, dw, (size_t)taps * sizeof(float));
    expect_same("dbias with other threads", c->job.dbias, dbias, (size_t)channels * sizeof(float));
    c->job.dbias = 0;
    expect("success without biases", ravine_depthwise_gradient(level, &c->job, 1) == DONE);
    expect_same("dw without biases", c->job.dw, dw, (size_t)taps * sizeof(float));
}

static void check_level(int is_float32, int level)
{
    /* Products of two bfloat16 are exact in float32, in which they are added up. */
    begin_kernel("depthwise", is_float32, level, DIRECT_FLOAT32);
    seed(6);
    for (int k = 0; k < SHAPES; k++) {
        struct call c = draw_call(is_float32);
        const struct depthwise *o = &c.job;
        begin_shape("%lld images of %lldx%lld, %lld channels, kernel %lld, stride %lld, padding %lld",
                    (long long)o->images, (long long)o->height, (long long)o->width,
                    (long long)o->channels, (long long)o->kernel, (long long)o->stride,
                    (long long)o->padding);
        check_call(&c, level);
        release_all();
    }
    end_kernel();
}

void check_depthwise(void)
{
    for (int is_float32 = 0; is_float32 < 2; is_float32++)
        for (int level = BASE; level <= AMX; level++)
            if (has_level(level))
                check_level(is_float32, level);
}
