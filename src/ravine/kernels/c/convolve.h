/* Convolutions and their input gradients, square in kernel, stride and padding. */

#ifndef RAVINE_CONVOLVE_H
#define RAVINE_CONVOLVE_H

#include <stdint.h>

/* The most that a kernel and a stride may measure. */
enum { MOST_KERNEL = 5, MOST_STRIDE = 3 };

/* Products of AMX tiles; products of vectors; Winograd's F(m×m, 3×3); products of vectors forward, of
   any number of channels, for an inference. ops/algorithm.py has the same numbers. */
enum { TILES = 0, DIRECT = 1, WINOGRAD_2 = 2, WINOGRAD_4 = 4, PRODUCT = 5 };

/* What an inference does with a convolution's results z as they are written, not by tiles:
   y = act(z + shift + residual), and second = act'(y·second_scale + second_shift). */
struct after {
    const float *shift; /* (out) */
    void *second;       /* like y, or null */
    const float *second_scale, *second_shift;      /* (out) */
    int64_t activation, second_activation;         /* of norm.h */
};

/* ravine/kernels/convolve.py has the same layout. Channels are multiples of 16; images lie in
   channels_last, without gaps. Backward x is the gradient of the convolution's result
   and y that of its input, plus `residual`. */
struct convolution {
    const void *x;         /* (images, height, width, in) bfloat16; but by tiles float32 too */
    const float *w;        /* (out, kernel, kernel, in), or (in, kernel, kernel, out) backward */
    const void *residual;  /* (images, out_height, out_width, out) bfloat16, or null */
    void *y;               /* likewise; with `after` it may be null */
    float *sums;           /* (images · phases, 2, out) Σy and Σy² of each image, or null */
    /* A norm, z = act((· − mean)·rstd·weight + bias), or null. Forward it is applied to x as
       x is copied. Backward it made the convolution's input from `normed`, and sums are Σdz and
       Σdz·(normed − mean). */
    const void *normed;    /* backward: like y */
    const float *mean, *rstd, *weight, *bias; /* (in), or (out) backward */
    int64_t images, height, width, in;
    int64_t out_height, out_width, out;
    int64_t kernel, stride, padding;
    int64_t backward;
    int64_t relu;       /* act is a ReLU, else nothing */
    int64_t algorithm;  /* one of the above */
    int64_t is_float32; /* images are, else bfloat16; not by tiles */
    /* Forward and not by tiles, w as the products read it, `kernel_bytes` at a line's beginning:
       written here, or with `packed` read from here. Null: for this call alone. */
    float *kernels;
    int64_t packed;
    const struct after *after; /* or null; then without sums */
    /* Of channels: `in` and `out` are those of one of them, and so is all that is read and written,
       from the first of its channels on. 0 is 1; more by products and forward by Winograd alone. */
    int64_t groups;
};

/* Channels of a position of x, and of y, in memory. */
static inline int64_t x_channels(const struct convolution *o)
{
    return o->groups > 1 ? o->groups * o->in : o->in;
}

static inline int64_t y_channels(const struct convolution *o)
{
    return o->groups > 1 ? o->groups * o->out : o->out;
}

#endif
