/* ravine_weight_gradient. */

#include <stdio.h>

#include "algorithms.h"
#include "checks.h"
#include "draw.h"
#include "reference.h"

enum { SHAPES = 24 };

static struct weights job_of(const struct layer *l, const struct algorithm *a)
{
    return (struct weights){
        .images = l->images, .height = l->height, .width = l->width, .in = l->in,
        .out_height = l->out_height, .out_width = l->out_width, .out = l->out,
        .kernel = l->kernel, .stride = l->stride, .padding = l->padding,
        .algorithm = a->algorithm, .is_float32 = a->is_float32};
}

/* Draws what a job reads, and returns what it should write. */
static double *draw_inputs(struct weights *o, const struct layer *l)
{
    int is_float32 = (int)o->is_float32;
    o->x = draw_images(inputs_of(l), is_float32, 0.2, 1);
    o->dy = draw_images(outputs_of(l), is_float32, 0.1, 1);
    double *x = to_doubles(o->x, is_float32, inputs_of(l));
    if (draw_chance(50)) {
        struct affine norm = draw_affine(l->in);
        o->mean = norm.mean, o->rstd = norm.rstd, o->weight = norm.weight, o->bias = norm.bias;
        o->relu = draw_chance(70);
        apply_affine(&norm, l->in, (int)o->relu, x, inputs_of(l));
    }
    double *dw = new_doubles(weights_of(l));
    add_weight_gradient(l, to_doubles(o->dy, is_float32, outputs_of(l)), x, dw);
    return dw;
}

static const float *run(struct weights *o, const struct layer *l, int level, int threads)
{
    o->dw = allocate((size_t)weights_of(l) * sizeof(float));
    expect("success", ravine_weight_gradient(level, o, threads) == DONE);
    return o->dw;
}

static void check_layer(const struct algorithm *a, int level, const struct layer *l)
{
    struct weights o = job_of(l, a);
    begin_shape("%lld images of %lldx%lld, %lld to %lld channels, kernel %lld, stride %lld, "
                "padding %lld", (long long)l->images, (long long)l->height, (long long)l->width,
                (long long)l->in, (long long)l->out, (long long)l->kernel,
                (long long)l->stride, (long long)l->padding);
    const double *wanted = draw_inputs(&o, l);
    const float *one = run(&o, l, level, 1), *more = run(&o, l, level, THREADS);
    expect_near("dw", one, 1, wanted, weights_of(l), 0);
    expect_near("dw of more threads", more, 1, wanted, weights_of(l), 0);
    size_t bytes = (size_t)weights_of(l) * sizeof(float);
    if (a->algorithm != TILES)
        expect_same("dw with other threads", more, one, bytes);
    else /* each thread has sums of its own: the bits are those of this number of threads */
        expect_same("dw once more", run(&o, l, level, THREADS), more, bytes);
}

static void check_algorithm(const struct algorithm *a, int level)
{
    char name[64];
    snprintf(name, sizeof name, "weight gradient %s", a->name);
    begin_kernel(name, a->is_float32, level, a->limit);
    seed(2);
    for (int k = 0; k < SHAPES; k++) {
        struct layer l = draw_layer(a->algorithm >= WINOGRAD_2);
        check_layer(a, level, &l);
        release_all();
    }
    end_kernel();
}

void check_weight_gradient(void)
{
    each_algorithm(check_algorithm);
}
