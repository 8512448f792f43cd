/* y_c = x_c · s_c^−β with s_c = k + (α/n) Σ x_j² over the n channels around c (Krizhevsky,
   Sutskever, Hinton 2012, section 3.3; α divided by n, as is in use); backward:

   dx_c = dy_c · s_c^−β − (2αβ/n) · x_c · Σ dy_j · x_j · s_j^(−β−1) over those j that c is near to.

   Nothing but x is kept. Each pixel is read once, worked on in a line of floats with a border of
   zeros, and written once. */

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "lanes.h"
#include "response.h"

/* Lines of one thread, each of `channels` floats, rounded up to LANES, between borders of zeros. */
struct workspace {
    float *x, *scale, *power, *product;
};

static void read(float *to, const element *from, int64_t n)
{
    for (int64_t c = 0; c < n; c += LANES) {
        floats f = load(from + c, n - c < LANES ? n - c : LANES);
        memcpy(to + c, &f, sizeof f); /* zeros beyond n */
    }
}

static void write(element *to, const float *from, int64_t n)
{
    for (int64_t c = 0; c < n; c += LANES) {
        floats f;
        memcpy(&f, from + c, sizeof f);
        store(to + c, f, n - c < LANES ? n - c : LANES);
    }
}

/* to_c = Σ of from_{c−before} … from_{c−before+size−1}. */
static void add_window(float *restrict to, const float *restrict from, int64_t before,
                       int64_t size, int64_t n)
{
    for (int64_t c = 0; c < n; c++)
        to[c] = from[c - before];
    for (int64_t j = 1; j < size; j++)
        for (int64_t c = 0; c < n; c++)
            to[c] += from[c - before + j];
}

/* Fills scale with s and power with s^−β. */
static void find_powers(const struct response *o, const struct workspace *d)
{
    int64_t n = o->channels;
    float *restrict squares = d->product, *restrict scale = d->scale, *restrict power = d->power;
    const float *restrict x = d->x;
    float k = (float)o->k, share = (float)(o->alpha / (double)o->size), beta = (float)o->beta;
    for (int64_t c = 0; c < n; c++)
        squares[c] = x[c] * x[c];
    add_window(scale, squares, o->size / 2, o->size, n);
    for (int64_t c = 0; c < n; c++)
        scale[c] = k + share * scale[c];
    if (beta == 0.75f)
        for (int64_t c = 0; c < n; c++) {
            float root = sqrtf(scale[c]);
            power[c] = 1.0f / (root * sqrtf(root));
        }
    else
        for (int64_t c = 0; c < n; c++)
            power[c] = powf(scale[c], -beta);
}

static void forward(const struct response *o, const struct workspace *d, int64_t pixel)
{
    int64_t n = o->channels, at = pixel * n;
    read(d->x, o->x + at, n);
    find_powers(o, d);
    for (int64_t c = 0; c < n; c++)
        d->x[c] *= d->power[c];
    write(o->y + at, d->x, n);
}

static void backward(const struct response *o, const struct workspace *d, int64_t pixel)
{
    int64_t n = o->channels, at = pixel * n;
    float *restrict x = d->x, *restrict scale = d->scale, *restrict power = d->power;
    float *restrict product = d->product;
    float share = (float)(2.0 * o->alpha * o->beta / (double)o->size);
    read(x, o->x + at, n);
    find_powers(o, d);
    read(product, o->dy + at, n);
    for (int64_t c = 0; c < n; c++) {
        float direct = product[c] * power[c];
        product[c] = direct * x[c] / scale[c];
        power[c] = direct;
    }
    add_window(scale, product, (o->size - 1) / 2, o->size, n);
    for (int64_t c = 0; c < n; c++)
        power[c] -= share * x[c] * scale[c];
    write(o->dx + at, power, n);
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
