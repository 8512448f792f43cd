/* ravine_convolve with what an inference does after it, ravine_inference and ravine_digest. */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algorithms.h"
#include "checks.h"
#include "draw.h"
#include "reference.h"

enum { SHAPES = 24, WINDOWS = 40 };

/* A convolution with its second result, or a window, and what it should write. */
struct call {
    struct step step;
    int64_t inputs, results;
    const void *x, *residual;
    double *y, *second;
    int is_float32;
};

static double activated(double z, int64_t activation)
{
    return activation == RELU && z <= 0 ? 0 : z;
}

/* Adds shift and residual to y, activates it, and finds the second result. */
static void finish_wanted(struct call *c)
{
    const struct after *a = &c->step.after;
    int64_t out = c->step.convolution.out;
    c->second = new_doubles(c->results);
    for (int64_t i = 0; i < c->results; i++) {
        double z = c->y[i] + a->shift[i % out];
        if (c->residual)
            z += element_at(c->residual, c->is_float32, i);
        c->y[i] = activated(z, a->activation);
        z = c->y[i] * a->second_scale[i % out] + a->second_shift[i % out];
        c->second[i] = activated(z, a->second_activation);
    }
}

static struct call draw_convolution(const struct layer *l, const struct algorithm *a)
{
    struct call c = {.inputs = inputs_of(l), .results = outputs_of(l), .is_float32 = a->is_float32};
    const float *w = draw_floats(weights_of(l), 0, 0.2);
    c.step.convolution = (struct convolution){
        .w = w, .images = l->images, .height = l->height, .width = l->width, .in = l->in,
        .out_height = l->out_height, .out_width = l->out_width, .out = l->out, .kernel = l->kernel,
        .stride = l->stride, .padding = l->padding, .algorithm = a->algorithm,
        .is_float32 = a->is_float32};
    c.step.after = (struct after){
        .shift = draw_floats(l->out, 0, 1), .second_scale = draw_floats(l->out, 0, 1),
        .second_shift = draw_floats(l->out, 0, 1), .activation = draw_chance(50) ? RELU : IDENTITY,
        .second_activation = draw_chance(50) ? RELU : IDENTITY};
    c.x = draw_images(c.inputs, a->is_float32, 0.2, 1);
    c.residual = draw_chance(50) ? draw_images(c.results, a->is_float32, 0, 1) : NULL;
    c.y = new_doubles(c.results);
    add_convolution(l, to_doubles(c.x, a->is_float32, c.inputs), floats_to_doubles(w, weights_of(l)), c.y);
    finish_wanted(&c);
    return c;
}

/* Packs the kernels, then convolves into new memory; y is left out where it is null. */
static void run_convolution(struct call *c, int level, int threads, void *y, void *second)
{
    struct convolution o = c->step.convolution;
    struct after after = c->step.after;
    o.x = c->x, o.residual = c->residual, o.y = new_images(c->results, c->is_float32);
    o.kernels = allocate((size_t)ravine_kernel_bytes(level, &o));
    expect("kernels", ravine_convolve(level, &o, 1) == DONE);
    after.second = second;
    o.packed = 1, o.y = y, o.after = &after;
    expect("success", ravine_convolve(level, &o, threads) == DONE);
}

static void check_convolution(struct call *c, int level)
{
    size_t bytes = size_of(c->results, c->is_float32);
    void *y = new_images(c->results, c->is_float32), *again = new_images(c->results, c->is_float32);
    void *second = new_images(c->results, c->is_float32), *alone = new_images(c->results, c->is_float32);
    run_convolution(c, level, 1, y, second);
    expect_near("y", y, c->is_float32, c->y, c->results, 0);
    expect_near("the second result", second, c->is_float32, c->second, c->results, 0);
    run_convolution(c, level, THREADS, again, NULL);
    expect_same("y alone, with other threads", again, y, bytes);
    run_convolution(c, level, THREADS, NULL, alone);
    expect_same("the second result alone", alone, second, bytes);
}

static void check_algorithm(const struct algorithm *a, int level)
{
    char name[64];
    if (a->algorithm == TILES)
        return;
    snprintf(name, sizeof name, "inference %s", a->name);
    begin_kernel(name, a->is_float32, level, a->is_float32 ? a->limit : 2 * a->limit);
    seed(11);
    for (int k = 0; k < SHAPES; k++) {
        struct layer l = draw_layer(a->algorithm == WINOGRAD_2 || a->algorithm == WINOGRAD_4);
        if (a->algorithm == PRODUCT)
            l.in = draw_integer(1, 40), l.out = draw_integer(1, 70);
        begin_shape("%lld images of %lldx%lld, %lld to %lld channels, kernel %lld, stride %lld, padding %lld",
                    (long long)l.images, (long long)l.height, (long long)l.width, (long long)l.in,
                    (long long)l.out, (long long)l.kernel, (long long)l.stride, (long long)l.padding);
        struct call c = draw_convolution(&l, a);
        check_convolution(&c, level);
        release_all();
    }
    end_kernel();
}

/* The window of result i: its first element, and the sum or the largest of all. */
static double window_at(const struct window *o, const double *x, int64_t i)
{
    int64_t c = i % o->channels, column = i / o->channels % o->out_width;
    int64_t row = i / o->channels / o->out_width % o->out_height;
    int64_t image = i / o->channels / o->out_width / o->out_height;
    double found = o->is_mean ? 0 : -INFINITY;
    for (int64_t v = 0; v < o->kernel_height; v++)
        for (int64_t u = 0; u < o->kernel_width; u++) {
            int64_t y = row * o->stride - o->padding + v, z = column * o->stride - o->padding + u;
            if (y < 0 || y >= o->height || z < 0 || z >= o->width)
                continue;
            double value = x[((image * o->height + y) * o->width + z) * o->channels + c];
            found = o->is_mean ? found + value : fmax(found, value);
        }
    return o->is_mean ? found / (double)(o->kernel_height * o->kernel_width) : found;
}

/* One window after another, of `groups` groups of images, through ravine_inference. */
static void check_windows(int level, int is_float32)
{
    begin_kernel("inference windows", is_float32, level, direct_limit(is_float32));
    seed(12);
    for (int k = 0; k < WINDOWS; k++) {
        int is_mean = draw_chance(30);
        struct window o = {
            .images = draw_integer(1, 3), .height = draw_integer(3, 9), .width = draw_integer(3, 9),
            .channels = draw_integer(1, 40), .kernel_height = draw_integer(1, 3),
            .kernel_width = draw_integer(1, 3), .stride = draw_integer(1, 3), .is_mean = is_mean,
            .activation = draw_chance(50) ? RELU : IDENTITY, .is_float32 = is_float32};
        o.padding = is_mean ? 0 : draw_integer(0, 1);
        if (o.padding)
            o.kernel_height = o.kernel_width = 3;
        o.out_height = (o.height + 2 * o.padding - o.kernel_height) / o.stride + 1;
        o.out_width = (o.width + 2 * o.padding - o.kernel_width) / o.stride + 1;
        o.scale = draw_floats(o.channels, 0, 1), o.shift = draw_floats(o.channels, 0, 1);
        begin_shape("window %d", k);
        int64_t groups = draw_integer(1, 4);
        int64_t large = o.images * o.height * o.width * o.channels;
        int64_t small = o.images * o.out_height * o.out_width * o.channels;
        const void *x = draw_images(groups * large, is_float32, 0, 1);
        const struct window one = o;
        o.images *= groups;
        double *wanted = new_doubles(groups * small), *wide = to_doubles(x, is_float32, groups * large);
        for (int64_t i = 0; i < groups * small; i++)
            wanted[i] = activated(window_at(&o, wide, i) * o.scale[i % o.channels] + o.shift[i % o.channels],
                                  o.activation);
        /* into the workspace, then from there as it is */
        struct window copy = {.images = one.images, .height = one.out_height, .width = one.out_width,
                              .channels = one.channels, .out_height = one.out_height,
                              .out_width = one.out_width, .kernel_height = 1, .kernel_width = 1, .stride = 1,
                              .is_float32 = is_float32};
        const struct step steps[] = {
            {.kind = WINDOW, .x = IMAGES, .residual = NOWHERE, .y = 0, .second = NOWHERE, .window = one},
            {.kind = WINDOW, .x = 0, .residual = NOWHERE, .y = RESULT, .second = NOWHERE, .window = copy}};
        void *result = new_images(groups * small, is_float32);
        int64_t bytes = (int64_t)size_of(small, is_float32);
        int64_t workspaces = groups < THREADS ? groups : THREADS;
        const struct inference job = {
            .steps = steps, .count = 2, .images = x, .result = result,
            .workspace = allocate((size_t)(workspaces * bytes)), .workspace_bytes = bytes, .groups = groups,
            .image_bytes = (int64_t)size_of(large, is_float32), .result_bytes = bytes};
        expect("success", ravine_inference(level, &job, THREADS) == DONE);
        expect_near("result", result, is_float32, wanted, groups * small, 1e-3);
        release_all();
    }
    end_kernel();
}

static void check_digests(int level)
{
    begin_kernel("digest", 1, level, 0);
    seed(13);
    for (int k = 0; k < SHAPES; k++) {
        int64_t n = draw_integer(1, 700);
        begin_shape("%lld numbers", (long long)n);
        float *one = draw_floats(n, 0, 1), *other = copy_of(one, (size_t)n * sizeof *one);
        const void *memory[] = {one, other};
        const int64_t bytes[] = {n * (int64_t)sizeof *one, n * (int64_t)sizeof *one};
        uint64_t found[2];
        const struct digest job = {memory, bytes, found, 2};
        ravine_digest(level, &job, THREADS);
        expect("the same of the same numbers", found[0] == found[1]);
        int64_t at = draw_integer(0, n - 1);
        other[at] = -other[at];
        ravine_digest(level, &job, 1);
        expect("another of another number", found[0] != found[1]);
        release_all();
    }
    end_kernel();
}

void check_inference(void)
{
    each_algorithm_of_inference(check_algorithm);
    for (int level = BASE; level <= AMX; level++) {
        if (!has_level(level))
            continue;
        for (int is_float32 = 0; is_float32 < 2; is_float32++)
            check_windows(level, is_float32);
        check_digests(level);
    }
}
