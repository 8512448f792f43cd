/* ravine_norm_forward and ravine_norm_backward: ragged channels, each activation, residual,
   statistics of the batch, known from a convolution, or frozen. */

#include <math.h>

#include "checks.h"
#include "compare.h"
#include "draw.h"
#include "exported.h"
#include "reference_norm.h"

enum { SHAPES = 40, MOST_ELEMENTS = 30000 };

static const double MOMENTUM = 0.3;

/* A job, and what it should write. */
struct call {
    struct norm job;
    struct norm_values v;
    int is_float32, has_known_sums, is_in_place;
    int64_t n;
    const float *running_mean, *running_var; /* before */
    double *wanted_mean, *wanted_var;        /* of the running statistics */
};

static size_t statistics_bytes(const struct call *c)
{
    return (size_t)c->job.channels * sizeof(float);
}

static double *draw_tensor(struct call *c, const void **tensor, double mean)
{
    *tensor = draw_images(c->n, c->is_float32, mean, 1);
    return to_doubles(*tensor, c->is_float32, c->n);
}

static void draw_sizes(struct call *c)
{
    struct norm *o = &c->job;
    o->channels = draw_chance(50) ? draw_integer(1, 70) : 16 * draw_integer(1, 9);
    o->images = draw_integer(1, 5);
    int64_t most = MOST_ELEMENTS / o->channels / o->images;
    o->rows = o->images * draw_integer(3, draw_chance(50) ? 40 : most);
    if (draw_chance(10))
        o->rows = o->images = 1;
    c->n = o->rows * o->channels;
}

static void draw_inputs(struct call *c)
{
    struct norm *o = &c->job;
    const void *tensor;
    c->v.x = draw_tensor(c, &tensor, 0.5), o->x = tensor;
    c->v.dy = draw_tensor(c, &tensor, 0.1), o->dy = tensor;
    if (draw_chance(50))
        c->v.residual = draw_tensor(c, &tensor, 0), o->residual = tensor;
    if (draw_chance(40))
        c->v.dx_more = draw_tensor(c, &tensor, 0), o->dx_more = tensor;
    o->weight = draw_floats(o->channels, 1, 0.3);
    o->bias = draw_floats(o->channels, 0, 0.4);
    c->v.weight = floats_to_doubles(o->weight, o->channels);
    c->v.bias = floats_to_doubles(o->bias, o->channels);
}

static void find_statistics_wanted(struct call *c)
{
    struct norm *o = &c->job;
    int64_t channels = o->channels;
    c->running_mean = draw_floats(channels, 0, 1), c->running_var = draw_floats(channels, 2, 0.1);
    c->wanted_mean = floats_to_doubles(c->running_mean, channels);
    c->wanted_var = floats_to_doubles(c->running_var, channels);
    double unbiased = o->rows > 1 ? (double)o->rows / (double)(o->rows - 1) : 1;
    for (int64_t k = 0; k < channels; k++) {
        c->wanted_mean[k] += MOMENTUM * (c->v.mean[k] - c->wanted_mean[k]);
        c->wanted_var[k] += MOMENTUM * (c->v.var[k] * unbiased - c->wanted_var[k]);
    }
}

static struct call draw_call(int is_float32)
{
    struct call c = {.is_float32 = is_float32};
    struct norm *o = &c.job;
    draw_sizes(&c);
    o->is_float32 = is_float32, o->eps = 1e-5, o->momentum = MOMENTUM;
    o->activation = (int32_t)draw_integer(IDENTITY, SILU), o->frozen = draw_chance(25);
    c.has_known_sums = o->rows > 1 && draw_chance(40), c.is_in_place = draw_chance(30);
    draw_inputs(&c);
    c.v.rows = o->rows, c.v.channels = o->channels;
    c.v.kind = o->activation, c.v.is_frozen = o->frozen, c.v.eps = o->eps;
    double **statistics[] = {&c.v.mean, &c.v.var, &c.v.rstd, &c.v.dweight, &c.v.dbias};
    for (int k = 0; k < 5; k++)
        *statistics[k] = new_doubles(o->channels);
    double **tensors[] = {&c.v.y, &c.v.dz, &c.v.dx};
    for (int k = 0; k < 3; k++)
        *tensors[k] = new_doubles(c.n);
    find_statistics(&c.v);
    find_norm(&c.v);
    find_norm_gradients(&c.v);
    find_statistics_wanted(&c);
    return c;
}

/* Σa and Σa·b of each of `images` equal parts of the rows, as a convolution leaves them. */
static const float *sums_of_parts(const struct call *c, const double *a, const double *b,
                                  const double *mean)
{
    int64_t channels = c->job.channels, part = c->n / c->job.images;
    double *sums = new_doubles(c->job.images * 2 * channels);
    for (int64_t i = 0; i < c->n; i++) {
        double *to = sums + i / part * 2 * channels + i % channels;
        to[0] += a[i];
        to[channels] += a[i] * (b[i] - (mean ? mean[i % channels] : 0));
    }
    return to_floats(sums, c->job.images * 2 * channels);
}

static void expect_forward(const struct call *c)
{
    const struct norm *o = &c->job;
    expect_near("y", o->y, c->is_float32, c->v.y, c->n, 0);
    if (o->frozen)
        return;
    expect_near("mean", o->mean, 1, c->v.mean, o->channels, 0);
    expect_near("rstd", o->rstd, 1, c->v.rstd, o->channels, 0);
    expect_near("running mean", o->running_mean, 1, c->wanted_mean, o->channels, 0);
    expect_near("running var", o->running_var, 1, c->wanted_var, o->channels, 0);
}

static void run_forward(struct call *c, int level, int threads)
{
    struct norm *o = &c->job;
    o->y = new_images(c->n, c->is_float32);
    o->sums = allocate((size_t)(2 * o->channels * SHARES) * sizeof(double));
    o->mean = o->frozen ? to_floats(c->v.mean, o->channels) : allocate(statistics_bytes(c));
    o->rstd = o->frozen ? to_floats(c->v.rstd, o->channels) : allocate(statistics_bytes(c));
    o->running_mean = copy_of(c->running_mean, statistics_bytes(c));
    o->running_var = copy_of(c->running_var, statistics_bytes(c));
    ravine_norm_forward(level, o, threads);
}

static void check_forward(struct call *c, int level)
{
    struct norm *o = &c->job;
    if (c->has_known_sums && !o->frozen)
        o->known_sums = sums_of_parts(c, c->v.x, c->v.x, NULL);
    run_forward(c, level, 1);
    const struct norm one = *o;
    run_forward(c, level, THREADS);
    expect_forward(c);
    expect_same("y with other threads", o->y, one.y, size_of(c->n, c->is_float32));
    expect_same("mean with other threads", o->mean, one.mean, statistics_bytes(c));
    expect_same("rstd with other threads", o->rstd, one.rstd, statistics_bytes(c));
}

static void run_backward(struct call *c, int level, int threads)
{
    struct norm *o = &c->job;
    size_t bytes = size_of(c->n, c->is_float32);
    void *dx = c->is_in_place ? copy_of(o->dy, bytes) : allocate(bytes);
    struct norm job = *o;
    job.dx = dx, job.dy = c->is_in_place ? dx : o->dy;
    job.dresidual = o->residual ? allocate(bytes) : NULL;
    job.dweight = allocate(statistics_bytes(c)), job.dbias = allocate(statistics_bytes(c));
    job.mean = to_floats(c->v.mean, o->channels), job.rstd = to_floats(c->v.rstd, o->channels);
    job.sums = allocate((size_t)(2 * o->channels * SHARES) * sizeof(double));
    ravine_norm_backward(level, &job, threads);
    o->dx = job.dx, o->dresidual = job.dresidual, o->dweight = job.dweight, o->dbias = job.dbias;
}

/* Sums may cancel to nothing: errors count against the size of what is added up. */
static void expect_backward(const struct call *c)
{
    const struct norm *o = &c->job;
    double dz = root_mean_square(c->v.dz, c->n), sum = dz * sqrt((double)o->rows);
    double scale = root_mean_square(c->v.rstd, o->channels);
    expect_near("dx", o->dx, c->is_float32, c->v.dx, c->n, dz * scale);
    if (o->dresidual)
        expect_near("dresidual", o->dresidual, c->is_float32, c->v.dz, c->n, 0);
    expect_near("dweight", o->dweight, 1, c->v.dweight, o->channels, sum);
    expect_near("dbias", o->dbias, 1, c->v.dbias, o->channels, sum);
}

static void check_backward(struct call *c, int level)
{
    struct norm *o = &c->job;
    o->known_sums = c->has_known_sums ? sums_of_parts(c, c->v.dz, c->v.x, c->v.mean) : NULL;
    run_backward(c, level, 1);
    const struct norm one = *o;
    run_backward(c, level, THREADS);
    expect_backward(c);
    size_t bytes = size_of(c->n, c->is_float32);
    expect_same("dx with other threads", o->dx, one.dx, bytes);
    if (o->dresidual)
        expect_same("dresidual with other threads", o->dresidual, one.dresidual, bytes);
    expect_same("dweight with other threads", o->dweight, one.dweight, statistics_bytes(c));
    expect_same("dbias with other threads", o->dbias, one.dbias, statistics_bytes(c));
}

static void check_level(int is_float32, int level)
{
    begin_kernel("norm", is_float32, level, direct_limit(is_float32));
    seed(3);
    for (int k = 0; k < SHAPES; k++) {
        struct call c = draw_call(is_float32);
        const struct norm *o = &c.job;
        begin_shape("%lld rows, %lld channels, %lld images, activation %d, frozen %d, known sums "
                    "%d, residual %d, in place %d", (long long)o->rows, (long long)o->channels,
                    (long long)o->images, o->activation, o->frozen, c.has_known_sums,
                    o->residual != NULL, c.is_in_place);
        check_forward(&c, level);
        check_backward(&c, level);
        release_all();
    }
    end_kernel();
}

void check_norm(void)
{
    for (int is_float32 = 0; is_float32 < 2; is_float32++)
        for (int level = BASE; level <= AMX; level++)
            if (has_level(level))
                check_level(is_float32, level);
}
