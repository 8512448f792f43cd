/* What is done with a convolution's results as they are written: the skip is added, and the sums for
   a norm are taken. */

#ifndef RAVINE_EPILOGUE_H
#define RAVINE_EPILOGUE_H

#include "activation.h"
#include "convolve.h"
#include "words.h"

/* What an inference does with `n` channels of y from d on: addresses and constants that stay in
   registers from one position to the next. */
struct finish {
    const element *residual;
    element *y, *second;
    floats shift, second_scale, second_shift;
    int activation, second_activation;
};

INLINE struct finish begin_finish(const struct convolution *o, int64_t d, int64_t n)
{
    const struct after *a = o->after;
    struct finish f = {.residual = o->residual, .y = o->y, .second = a->second,
                       .activation = (int)a->activation,
                       .second_activation = (int)a->second_activation};
    f.shift = load_floats(a->shift + d, n);
    if (f.second) {
        f.second_scale = load_floats(a->second_scale + d, n);
        f.second_shift = load_floats(a->second_shift + d, n);
    }
    return f;
}

/* Writes `n` channels at element `at`. */
INLINE void write_finished(const struct finish *f, int64_t at, floats y, int64_t n)
{
    y += f->shift;
    if (f->residual)
        y += load(f->residual + at, n);
    y = activate(y, f->activation);
    if (f->y)
        store(f->y + at, y, n);
    if (f->second)
        store(f->second + at, activate(y * f->second_scale + f->second_shift, f->second_activation), n);
}

/* LANES channels of y from d on, at the positions of one image or phase in order. */
struct epilogue {
    const struct convolution *o;
    int64_t d;
    float *sums;              /* of the image or phase, (2, out), or null */
    floats mean, scale, bias; /* of the norm that made the convolution's input, backward */
    floats first, second;     /* sums so far */
    struct finish finish;     /* of an inference, which takes no sums */
};

/* `scale` is rstd·weight of the norm; `goes_on` says that sums of earlier positions are there. */
INLINE struct epilogue begin_epilogue(const struct convolution *o, const float *scale, float *sums,
                                      int goes_on, int64_t d)
{
    struct epilogue e = {.o = o, .d = d, .sums = sums};
    if (o->after)
        e.finish = begin_finish(o, d, LANES);
    if (sums && goes_on) {
        e.first = load_floats(sums + d, LANES);
        e.second = load_floats(sums + o->out + d, LANES);
    }
    if (o->normed) {
        e.mean = load_floats(o->mean + d, LANES);
        e.scale = load_floats(scale + d, LANES);
        e.bias = load_floats(o->bias + d, LANES);
    }
    return e;
}

INLINE void end_epilogue(const struct epilogue *e)
{
    if (!e->sums)
        return;
    store_floats(e->sums + e->d, e->first, LANES);
    store_floats(e->sums + e->o->out + e->d, e->second, LANES);
}

/* Writes y at element `at`. */
INLINE void write_position(struct epilogue *e, int64_t at, floats y)
{
    const struct convolution *o = e->o;
    if (o->after) {
        write_finished(&e->finish, at, y, LANES);
        return;
    }
    if (o->residual)
        y += load((const element *)o->residual + at, LANES);
    store((element *)o->y + at, y, LANES);
    if (!e->sums)
        return;
    y = rounded(y);
    if (!o->normed) {
        e->first += y;
        e->second += y * y;
        return;
    }
    floats away = load((const element *)o->normed + at, LANES) - e->mean, z = away * e->scale + e->bias;
    if (o->relu)
        y = choose(z <= 0.0f, (floats){0}, y); /* where the ReLU gave 0 nothing passes */
    e->first += y;
    e->second += y * away;
}

#endif
