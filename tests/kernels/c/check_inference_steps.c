/* ravine_inference with convolutions of groups of channels, and with response norms. */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algorithms.h"
#include "checks.h"
#include "draw.h"
#include "reference.h"

enum { SHAPES = 16 };

/* A convolution of `groups` groups of channels, each of the layer `l`. */
struct call {
    struct layer l;
    struct step step;
    int64_t groups, inputs, results;
    int is_float32;
    const void *x, *residual;
    const float *w;
    double *y, *second;
};

/* Adds the convolution of one group to y. */
static void add_group(struct call *c, int64_t group, const double *x)
{
    const struct layer *l = &c->l;
    double *own = new_doubles(inputs_of(l)), *found = new_doubles(outputs_of(l));
    for (int64_t i = 0; i < inputs_of(l); i++)
        own[i] = x[(i / l->in * c->groups + group) * l->in + i % l->in];
    add_convolution(l, own, floats_to_doubles(c->w + group * weights_of(l), weights_of(l)), found);
    for (int64_t i = 0; i < outputs_of(l); i++)
        c->y[(i / l->out * c->groups + group) * l->out + i % l->out] = found[i];
}

static double rectified(double z, int64_t activation)
{
    return activation == RELU && z <= 0 ? 0 : z;
}

/* Finds what the step should write. */
static void find_wanted(struct call *c)
{
    const struct after *a = &c->step.after;
    int64_t out = c->groups * c->l.out;
    double *x = to_doubles(c->x, c->is_float32, c->inputs);
    c->y = new_doubles(c->results), c->second = new_doubles(c->results);
    for (int64_t group = 0; group < c->groups; group++)
        add_group(c, group, x);
    for (int64_t i = 0; i < c->results; i++) {
        double z = c->y[i] + a->shift[i % out] + element_at(c->residual, c->is_float32, i);
        c->y[i] = rectified(z, a->activation);
        c->second[i] = rectified(c->y[i] * a->second_scale[i % out] + a->second_shift[i % out],
                                 a->second_activation);
    }
}

static struct call draw_call(const struct algorithm *a, int64_t groups)
{
    struct call c = {.l = draw_layer(a->algorithm != PRODUCT), .groups = groups, .is_float32 = a->is_float32};
    if (a->algorithm == PRODUCT)
        c.l.in = draw_integer(1, 40), c.l.out = draw_integer(1, 70);
    const struct layer *l = &c.l;
    int64_t out = groups * l->out;
    c.inputs = groups * inputs_of(l), c.results = groups * outputs_of(l);
    c.x = draw_images(c.inputs, a->is_float32, 0.2, 1);
    c.residual = draw_images(c.results, a->is_float32, 0, 1);
    c.w = draw_floats(groups * weights_of(l), 0, 0.2);
    c.step.convolution = (struct convolution){
        .images = l->images, .height = l->height, .width = l->width, .in = l->in, .groups = groups,
        .out_height = l->out_height, .out_width = l->out_width, .out = l->out, .kernel = l->kernel,
        .stride = l->stride, .padding = l->padding, .algorithm = a->algorithm,
        .is_float32 = a->is_float32};
    c.step.after = (struct after){
        .shift = draw_floats(out, 0, 1), .second_scale = draw_floats(out, 0, 1),
        .second_shift = draw_floats(out, 0, 1), .activation = draw_chance(50) ? RELU : IDENTITY,
        .second_activation = draw_chance(50) ? RELU : IDENTITY};
    find_wanted(&c);
    return c;
}

/* Packs the kernels of each group behind those of the one before. */
static void pack_kernels(struct call *c, int level)
{
    struct convolution o = c->step.convolution;
    int64_t bytes = c->step.kernel_bytes = ravine_kernel_bytes(level, &o);
    char *kernels = allocate((size_t)(c->groups * bytes));
    c->step.convolution.kernels = (float *)kernels;
    o.x = c->x, o.y = new_images(c->results, c->is_float32);
    for (int64_t group = 0; group < c->groups; group++) {
        o.w = c->w + group * weights_of(&c->l), o.kernels = (float *)(kernels + group * bytes);
        expect("kernels", ravine_convolve(level, &o, 1) == DONE);
    }
    c->step.convolution.packed = 1;
}

/* The workspace holds the second result, then the residual. */
static void run_call(struct call *c, int level, int threads, void *y, void *second)
{
    size_t bytes = size_of(c->results, c->is_float32);
    char *workspace = allocate(2 * bytes);
    memcpy(workspace + bytes, c->residual, bytes);
    c->step.kind = CONVOLUTION;
    c->step.x = IMAGES, c->step.y = RESULT, c->step.second = 0, c->step.residual = (int64_t)bytes;
    const struct inference job = {.steps = &c->step, .count = 1, .images = c->x, .result = y,
                                  .workspace = workspace, .workspace_bytes = 2 * (int64_t)bytes, .groups = 1};
    expect("success", ravine_inference(level, &job, threads) == DONE);
    memcpy(second, workspace, bytes);
}

static void check_groups(const struct algorithm *a, int level)
{
    if (a->algorithm == TILES || a->algorithm == DIRECT)
        return;
    char name[64];
    snprintf(name, sizeof name, "groups %s", a->name);
    begin_kernel(name, a->is_float32, level, a->is_float32 ? a->limit : 2 * a->limit);
    seed(14);
    for (int k = 0; k < SHAPES; k++) {
        struct call c = draw_call(a, draw_integer(2, 3));
        begin_shape("%lld groups, %lld to %lld channels, kernel %lld, stride %lld", (long long)c.groups,
                    (long long)c.l.in, (long long)c.l.out, (long long)c.l.kernel,
                    (long long)c.l.stride);
        void *y = new_images(c.results, c.is_float32), *second = new_images(c.results, c.is_float32);
        void *again = new_images(c.results, c.is_float32), *beside = new_images(c.results, c.is_float32);
        pack_kernels(&c, level);
        run_call(&c, level, 1, y, second);
        run_call(&c, level, THREADS, again, beside);
        expect_near("y", y, c.is_float32, c.y, c.results, 0);
        expect_near("the second result", second, c.is_float32, c.second, c.results, 0);
        expect_same("y with other threads", again, y, size_of(c.results, c.is_float32));
        expect_same("the second result, likewise", beside, second, size_of(c.results, c.is_float32));
        release_all();
    }
    end_kernel();
}

/* A response norm of `n` elements of x. */
static double *normed(const struct response *o, const double *x, int64_t n)
{
    double *y = new_doubles(n);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = -(o->size / 2); j < o->size - o->size / 2; j++) {
            int64_t channel = i % o->channels + j;
            sum += channel >= 0 && channel < o->channels ? x[i + j] * x[i + j] : 0;
        }
        y[i] = x[i] * pow(o->k + o->alpha / (double)o->size * sum, -o->beta);
    }
    return y;
}

static void check_responses(int level, int is_float32)
{
    begin_kernel("inference response", is_float32, level, direct_limit(is_float32));
    seed(15);
    for (int k = 0; k < SHAPES; k++) {
        struct step step = {.kind = RESPONSE, .x = IMAGES, .y = RESULT, .residual = NOWHERE, .second = NOWHERE};
        step.response = (struct response){
            .pixels = draw_integer(1, 30), .channels = draw_integer(1, 70), .size = draw_integer(1, 9),
            .alpha = 0.5, .beta = draw_chance(50) ? 0.75 : 1.3, .k = 1.5, .is_float32 = is_float32};
        int64_t groups = draw_integer(1, 4), each = step.response.pixels * step.response.channels;
        int64_t n = groups * each, bytes = (int64_t)size_of(each, is_float32);
        begin_shape("%lld groups of %lld pixels, %lld channels, size %lld", (long long)groups,
                    (long long)step.response.pixels, (long long)step.response.channels,
                    (long long)step.response.size);
        const void *x = draw_images(n, is_float32, 0, 2);
        void *y = new_images(n, is_float32);
        const struct inference job = {.steps = &step, .count = 1, .images = x, .result = y,
                                      .workspace = allocate(1), .groups = groups,
                                      .image_bytes = bytes, .result_bytes = bytes};
        expect("success", ravine_inference(level, &job, THREADS) == DONE);
        expect_near("y", y, is_float32, normed(&step.response, to_doubles(x, is_float32, n), n), n, 0);
        release_all();
    }
    end_kernel();
}

void check_inference_steps(void)
{
    each_algorithm_of_inference(check_groups);
    for (int level = BASE; level <= AMX; level++)
        for (int is_float32 = 0; is_float32 < 2 && has_level(level); is_float32++)
            check_responses(level, is_float32);
}
