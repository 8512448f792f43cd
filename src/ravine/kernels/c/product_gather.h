/* The taps that results of a convolution read, gathered into rows of words, and how these are cut into
   parts. */

#ifndef RAVINE_PRODUCT_GATHER_H
#define RAVINE_PRODUCT_GATHER_H

#include "convolve.h"
#include "words.h"

enum {
    VECTORS = 2, /* of channels of a panel; the last panel may have one */
    PANEL = VECTORS * LANES,
    LONGEST_WHOLE = 576, /* words of a row that is not cut into parts */
};

/* Channels of y in whole vectors. */
INLINE int64_t padded_channels(const struct convolution *o)
{
    return (o->out + LANES - 1) / LANES * LANES;
}

/* Vectors of channels of the panel that begins at channel d of y. */
INLINE int64_t vectors_from(const struct convolution *o, int64_t d)
{
    return o->out - d > LANES ? VECTORS : 1;
}

INLINE int is_read_in_place(const struct convolution *o)
{
    return o->kernel == 1 && o->stride == 1 && o->padding == 0 && o->in % IN_WORD == 0;
}

/* Elements and words of whole rows of the kernel; the last word is filled up with a zero. */
INLINE int64_t elements_of(const struct convolution *o, int64_t height)
{
    return height * o->kernel * o->in;
}

INLINE int64_t words_of(const struct convolution *o, int64_t height)
{
    return (elements_of(o, height) + IN_WORD - 1) / IN_WORD;
}

/* Rows of the kernel in a part, of which rows of gathered taps have 1 or o->kernel. */
INLINE int64_t part_height(const struct convolution *o)
{
    return words_of(o, o->kernel) > LONGEST_WHOLE ? 1 : o->kernel;
}

INLINE int64_t part_words(const struct convolution *o)
{
    return words_of(o, part_height(o));
}

/* Words of all parts of a row of gathered taps. */
INLINE int64_t row_words(const struct convolution *o)
{
    return o->kernel / part_height(o) * part_words(o);
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
        copy_few(to + from * o->in, pixels + (y * o->width + left + from) * o->in,
                 bytes * (size_t)(end - from));
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
    int64_t height = part_height(o), each = part_words(o) * IN_WORD, of_image = o->height * o->width * o->in;
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
