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
    floats floor, second_floor; /* of a ReLU 0, of no activation −∞ */
    int activation, second_activation;
    int is_rectified; /* both activations are a ReLU or none */
};

INLINE floats floor_of(int64_t activation)
{
    return activation == RELU ? (floats){0} : (floats){0} - __builtin_inff();
}

INLINE int is_rectifier(int64_t activation)
{
    return activation == RELU || activation == IDENTITY;
}

INLINE struct finish begin_finish(const struct convolution *o, int64_t d, int64_t n)
{
    const struct after *a = o->after;
    struct finish f = {.residual = o->residual, .y = o->y, .second = a->second,
                       .activation = (int)a->activation,
                       .second_activation = (int)a->second_activation};
    f.is_rectified = is_rectifier(a->activation) && (!f.second || is_rectifier(a->second_activation));
    f.shift = load_floats(a->shift + d, n), f.floor = floor_of(a->activation);
    if (f.second) {
        f.second_scale = load_floats(a->second_scale + d, n);
        f.second_shift = load_floats(a->second_shift + d, n);
        f.second_floor = floor_of(a->second_activation);
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

/* The same of LANES channels and rectifiers, without a branch but for y. */
INLINE void write_rectified(const struct finish *f, int64_t at, floats y, const int has_residual,
                            const int has_second)
{
    y += f->shift;
    if (has_residual)
        y += load(f->residual + at, LANES);
    y = larger(f->floor, y);
    if (!has_second || f->y)
        store(f->y + at, y, LANES);
    if (has_second)
        store(f->second + at, larger(f->second_floor, y * f->second_scale + f->second_shift), LANES);
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
        const struct finish *f = &e->finish;
        if (f->is_rectified && f->residual)
            f->second ? write_rectified(f, at, y, 1, 1) : write_rectified(f, at, y, 1, 0);
        else if (f->is_rectified)
            f->second ? write_rectified(f, at, y, 0, 1) : write_rectified(f, at, y, 0, 0);
        else
            write_finished(f, at, y, LANES);
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
