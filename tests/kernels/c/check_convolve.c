/* ravine_convolve, forward and backward, with all that it does on the way. */

#include <stdio.h>

#include "algorithms.h"
#include "checks.h"
#include "draw.h"
#include "reference.h"

enum { SHAPES = 24 };

/* What is asked of one call, and what it should write. */
struct call {
    struct convolution job;
    struct affine norm;
    int64_t results, sums; /* elements of y, numbers of sums */
    double *y, *wanted_sums;
};

/* Fields of the job that say how large things are. */
static struct convolution forward_job(const struct layer *l)
{
    return (struct convolution){
        .images = l->images, .height = l->height, .width = l->width, .in = l->in,
        .out_height = l->out_height, .out_width = l->out_width, .out = l->out,
        .kernel = l->kernel, .stride = l->stride, .padding = l->padding};
}

static struct convolution backward_job(const struct layer *l)
{
    return (struct convolution){
        .images = l->images, .height = l->out_height, .width = l->out_width, .in = l->out,
        .out_height = l->height, .out_width = l->width, .out = l->in,
        .kernel = l->kernel, .stride = l->stride, .padding = l->padding, .backward = 1};
}

static void set_norm(struct call *c, int64_t channels)
{
    c->norm = draw_affine(channels);
    c->job.mean = c->norm.mean, c->job.rstd = c->norm.rstd;
    c->job.weight = c->norm.weight, c->job.bias = c->norm.bias;
    c->job.relu = draw_chance(70);
}

static void add_residual(struct call *c)
{
    c->job.residual = draw_images(c->results, (int)c->job.is_float32, 0, 1);
    for (int64_t i = 0; i < c->results; i++)
        c->y[i] += element_at(c->job.residual, (int)c->job.is_float32, i);
}

/* Adds one element of y to the sums: Σy and Σy², or of a norm's gradient. */
static void add_to_sums(struct call *c, double *sums, int64_t i)
{
    const struct convolution *o = &c->job;
    int64_t channel = i % o->out;
    double y = c->y[i], other = y;
    if (o->normed) {
        double x = element_at(o->normed, (int)o->is_float32, i);
        if (o->relu && affine_of(&c->norm, channel, x) <= 0)
            y = 0;
        other = x - o->mean[channel];
    }
    sums[channel] += y;
    sums[o->out + channel] += y * other;
}

/* Those of each image, backward of each of its polyphase components. */
static void find_sums(struct call *c)
{
    const struct convolution *o = &c->job;
    int64_t s = o->backward ? o->stride : 1;
    c->sums = o->images * s * s * 2 * o->out;
    c->wanted_sums = new_doubles(c->sums);
    for (int64_t i = 0; i < c->results; i++) {
        int64_t position = i / o->out, image = position / (o->out_height * o->out_width);
        int64_t row = position / o->out_width % o->out_height, column = position % o->out_width;
        int64_t part = image * s * s + row % s * s + column % s;
        add_to_sums(c, c->wanted_sums + part * 2 * o->out, i);
    }
}

static struct call draw_forward(const struct layer *l, int is_float32)
{
    struct call c = {.job = forward_job(l), .results = outputs_of(l)};
    const float *w = draw_floats(weights_of(l), 0, 0.2);
    c.job.is_float32 = is_float32, c.job.w = w;
    c.job.x = draw_images(inputs_of(l), is_float32, 0.2, 1);
    double *x = to_doubles(c.job.x, is_float32, inputs_of(l));
    if (draw_chance(50)) {
        set_norm(&c, l->in);
        apply_affine(&c.norm, l->in, (int)c.job.relu, x, inputs_of(l));
    }
    c.y = new_doubles(c.results);
    add_convolution(l, x, floats_to_doubles(w, weights_of(l)), c.y);
    if (draw_chance(50))
        add_residual(&c);
    if (draw_chance(60))
        find_sums(&c);
    return c;
}

static struct call draw_backward(const struct layer *l, int is_float32)
{
    struct call c = {.job = backward_job(l), .results = inputs_of(l)};
    const float *w = draw_floats(weights_of(l), 0, 0.2);
    c.job.is_float32 = is_float32, c.job.w = w;
    c.job.x = draw_images(outputs_of(l), is_float32, 0.1, 1);
    c.y = new_doubles(c.results);
    const double *dy = to_doubles(c.job.x, is_float32, outputs_of(l));
    add_input_gradient(l, dy, floats_to_doubles(w, weights_of(l)), c.y);
    if (draw_chance(50))
        add_residual(&c);
    if (draw_chance(60)) {
        set_norm(&c, l->in);
        c.job.normed = draw_images(c.results, is_float32, 0.2, 1);
        find_sums(&c);
    }
    return c;
}

/* Runs a call; y and sums are new. Backward, sums of empty components are not written. */
static void run(struct call *c, int level, int threads)
{
    c->job.y = new_images(c->results, (int)c->job.is_float32);
    c->job.sums = NULL;
    size_t bytes = (size_t)c->sums * sizeof(float);
    if (c->sums)
        c->job.sums = c->job.backward ? allocate_zeros(bytes) : allocate(bytes);
    expect("success", ravine_convolve(level, &c->job, threads) == DONE);
}

/* Runs a call twice with kernels that are kept: packed by the first, read by the second. */
static void check_kept_kernels(struct call *c, int level)
{
    const void *y = c->job.y;
    size_t bytes = size_of(c->results, (int)c->job.is_float32);
    c->job.kernels = allocate((size_t)ravine_kernel_bytes(level, &c->job));
    for (int again = 0; again < 2; again++) {
        c->job.packed = again;
        run(c, level, THREADS);
        expect_same(again ? "y of kept kernels" : "y with kernels to keep", c->job.y, y, bytes);
    }
}

static void check_call(struct call *c, int level, const char *way, const struct layer *l)
{
    const struct convolution *o = &c->job;
    begin_shape("%s, %lld images of %lldx%lld, %lld to %lld channels, kernel %lld, stride %lld, "
                "padding %lld, norm %d, relu %lld, residual %d, sums %d", way,
                (long long)l->images, (long long)l->height, (long long)l->width,
                (long long)l->in, (long long)l->out, (long long)l->kernel,
                (long long)l->stride, (long long)l->padding, o->mean != NULL,
                (long long)o->relu, o->residual != NULL, c->sums > 0);
    run(c, level, 1);
    const void *y = o->y, *sums = o->sums;
    run(c, level, THREADS);
    expect_near("y", o->y, (int)o->is_float32, c->y, c->results, 0);
    expect_same("y with other threads", o->y, y, size_of(c->results, (int)o->is_float32));
    if (!o->backward && o->algorithm != TILES)
        check_kept_kernels(c, level);
    if (!c->sums)
        return;
    expect_near("sums", o->sums, 1, c->wanted_sums, c->sums, 0);
    expect_same("sums with other threads", o->sums, sums, (size_t)c->sums * sizeof(float));
}

static void check_algorithm(const struct algorithm *a, int level)
{
    char name[64];
    snprintf(name, sizeof name, "convolve %s", a->name);
    begin_kernel(name, a->is_float32, level, a->limit);
    seed(1);
    for (int k = 0; k < SHAPES; k++) {
        struct layer l = draw_layer(a->algorithm >= WINOGRAD_2);
        struct call forward = draw_forward(&l, a->is_float32);
        forward.job.algorithm = a->algorithm;
        check_call(&forward, level, "forward", &l);
        struct call backward = draw_backward(&l, a->is_float32);
        backward.job.algorithm = a->algorithm;
        check_call(&backward, level, "backward", &l);
        release_all();
    }
    end_kernel();
}

void check_convolve(void)
{
    each_algorithm(check_algorithm);
}
