/* The taps that results of a convolution read, gathered into rows of words. */

#ifndef RAVINE_PRODUCT_GATHER_H
#define RAVINE_PRODUCT_GATHER_H

#include "product_kernels.h"

INLINE int is_read_in_place(const struct convolution *o)
{
    return o->kernel == 1 && o->stride == 1 && o->padding == 0 && o->groups <= 1 && o->in % IN_WORD == 0;
}

/* Copies so many bytes, few at most, without a call. */
INLINE void copy_few(void *to, const void *from, size_t bytes)
{
    enum { STEP = 8, FEW = 64 };
    if (bytes < STEP || bytes > FEW) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t at = 0; at + STEP <= bytes; at += STEP)
        memcpy((char *)to + at, (const char *)from + at, STEP);
    memcpy((char *)to + bytes - STEP, (const char *)from + bytes - STEP, STEP);
}

/* Copies the channels of so many positions in a row. */
INLINE void copy_positions(const struct convolution *o, element *to, const element *from, int64_t count)
{
    size_t bytes = (size_t)o->in * sizeof *to;
    if (o->groups <= 1) {
        copy_few(to, from, bytes * (size_t)count);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        copy_few(to + i * o->in, from + i * x_channels(o), bytes);
}

/* Copies what a result reads of its image with `height` rows of the kernel, the first one's first tap
   at (top, left). */
INLINE void gather_row(const struct convolution *o, const element *pixels, int64_t top, int64_t left,
                       int64_t height, element *to)
{
    int64_t from = least(o->kernel, most(0, -left)), end = most(from, least(o->kernel, o->width - left));
    size_t bytes = (size_t)o->in * sizeof *to;
    for (int64_t y = top; y < top + height; y++, to += o->kernel * o->in) {
        if (y < 0 || y >= o->height) {
            memset(to, 0, bytes * (size_t)o->kernel);
            continue;
        }
        if (from > 0)
            memset(to, 0, bytes * (size_t)from);
        copy_positions(o, to + from * o->in, pixels + (y * o->width + left + from) * x_channels(o),
                       end - from);
        if (end < o->kernel)
            memset(to + end * o->in, 0, bytes * (size_t)(o->kernel - end));
    }
    if (height * o->kernel * o->in % IN_WORD)
        *to = 0;
}

/* Copies what results [from, to) of all images read with a part of the kernel, from its row `first` on. */
static void gather_rows(const struct convolution *o, int64_t from, int64_t to, int64_t first,
                        element *gathered)
{
    int64_t height = part_height(o), each = part_words(o) * IN_WORD;
    int64_t of_image = o->height * o->width * x_channels(o);
    int64_t column = from % o->out_width, row = from / o->out_width % o->out_height;
    const element *pixels = (const element *)o->x + from / (o->out_width * o->out_height) * of_image;
    for (int64_t i = from; i < to; i++, gathered += each) {
        gather_row(o, pixels, row * o->stride - o->padding + first, column * o->stride - o->padding,
                   height, gathered);
        if (++column < o->out_width)
            continue;
        column = 0;
        if (++row == o->out_height)
            row = 0, pixels += of_image;
    }
}

#endif
