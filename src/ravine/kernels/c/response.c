/* y_c = x_c · s_c^−β with s_c = k + (α/n) Σ x_j² over the n channels around c (Krizhevsky,
   Sutskever, Hinton 2012, section 3.3; α divided by n, as is in use); backward:

   dx_c = dy_c · s_c^−β − (2αβ/n) · x_c · Σ dy_j · x_j · s_j^(−β−1) over those j that c is near to.

   Nothing but x is kept. Each pixel is read once, worked on in a line of floats with a border of
   zeros, and written once. */

#include <stddef.h>
#include <stdlib.h>

#include "power.h"
#include "response.h"

/* Lines of one thread, each of `channels` floats, rounded up to LANES, between borders of zeros. */
struct workspace {
    float *x, *scale, *power, *product;
};

static void read(float *to, const element *from, int64_t n)
{
    for (int64_t c = 0; c < n; c += LANES)
        store_floats(to + c, load(from + c, n - c < LANES ? n - c : LANES), LANES); /* zeros beyond n */
}

/* Σ of the numbers from each of LANES on, `size` of them. */
INLINE floats window_from(const float *from, int64_t size)
{
    floats sum = load_floats(from, LANES);
    for (int64_t j = 1; j < size; j++)
        sum += load_floats(from + j, LANES);
    return sum;
}

/* s^−β; of the β in use without a logarithm. */
INLINE floats inverse_power(floats s, struct power exponent)
{
    if (exponent.all != -0.75f)
        return raise(s, exponent);
    floats root = square_root(s);
    return 1.0f / (root * square_root(root));
}

/* Fills scale with s and power with s^−β. */
static void find_powers(const struct response *o, const struct workspace *d)
{
    float k = (float)o->k, share = (float)(o->alpha / (double)o->size);
    struct power exponent = power_of(-o->beta);
    for (int64_t c = 0; c < o->channels; c += LANES) {
        floats x = load_floats(d->x + c, LANES);
        store_floats(d->product + c, x * x, LANES);
    }
    for (int64_t c = 0; c < o->channels; c += LANES) {
        floats s = k + share * window_from(d->product + c - o->size / 2, o->size);
        store_floats(d->scale + c, s, LANES);
        store_floats(d->power + c, inverse_power(s, exponent), LANES);
    }
}

static void forward(const struct response *o, const struct workspace *d, int64_t pixel)
{
    int64_t n = o->channels, at = pixel * n;
    read(d->x, o->x + at, n);
    find_powers(o, d);
    for (int64_t c = 0; c < n; c += LANES)
        store(o->y + at + c, load_floats(d->x + c, LANES) * load_floats(d->power + c, LANES),
              n - c < LANES ? n - c : LANES);
}

static void backward(const struct response *o, const struct workspace *d, int64_t pixel)
{
    int64_t n = o->channels, at = pixel * n;
    float share = (float)(2.0 * o->alpha * o->beta / (double)o->size);
    read(d->x, o->x + at, n);
    find_powers(o, d);
    read(d->product, o->dy + at, n);
    for (int64_t c = 0; c < n; c += LANES) {
        floats direct = load_floats(d->product + c, LANES) * load_floats(d->power + c, LANES);
        floats x = load_floats(d->x + c, LANES), s = load_floats(d->scale + c, LANES);
        floats product = direct * x / s;
        store_floats(d->product + c, product, n - c < LANES ? n - c : LANES); /* zeros beyond n */
        store_floats(d->power + c, direct, LANES);
    }
    for (int64_t c = 0; c < n; c += LANES) {
        floats sum = window_from(d->product + c - (o->size - 1) / 2, o->size);
        floats dx = load_floats(d->power + c, LANES) - share * load_floats(d->x + c, LANES) * sum;
        store(o->dx + at + c, dx, n - c < LANES ? n - c : LANES);
    }
}

/* Returns 0, or 1 where there is not enough memory. */
static int32_t each_pixel(const struct response *o, int32_t threads,
                          void (*work)(const struct response *, const struct workspace *, int64_t))
{
    size_t line = (size_t)((o->channels + LANES - 1) / LANES * LANES + o->size), failed = 0;
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        float *memory = calloc(4 * line + (size_t)o->size, sizeof(float));
        failed += !memory;
        struct workspace d;
        if (memory) {
            d.x = memory + o->size;
            d.scale = d.x + line;
            d.power = d.scale + line;
            d.product = d.power + line;
        }
#pragma omp for schedule(dynamic, 64)
        for (int64_t pixel = 0; pixel < o->pixels; pixel++)
            if (memory)
                work(o, &d, pixel);
        free(memory);
    }
    return failed > 0;
}

/* Fills y. */
int32_t FOR_LEVEL(response_forward)(const struct response *o, int32_t threads)
{
    return each_pixel(o, threads, forward);
}

/* Fills dx from x and dy. */
int32_t FOR_LEVEL(response_backward)(const struct response *o, int32_t threads)
{
    return each_pixel(o, threads, backward);
}
