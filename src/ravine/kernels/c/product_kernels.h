/* The kernels of an inference's products as they are read: panels of channels of y, each of all words
   of a row of gathered taps, part by part. */

#ifndef RAVINE_PRODUCT_KERNELS_H
#define RAVINE_PRODUCT_KERNELS_H

#include "convolve.h"
#include "words.h"

enum {
    VECTORS = 2, /* of channels of a panel; the last panel may have one */
    PANEL = VECTORS * LANES,
    LONGEST_WHOLE = 576, /* words of a row that is not cut into parts */
    PACKED = 64,         /* elements of a kernel that are packed at a time: of few lines of memory */
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

/* Writes elements [at, at + count) of the kernels of LANES channels of y from d on, (count, LANES); zeros
   for channels that y does not have, and behind the last element. */
static void gather_kernels(const struct convolution *o, int64_t d, int64_t at, int64_t count,
                           float to[PACKED][LANES])
{
    memset(to, 0, sizeof(float[PACKED][LANES]));
    for (int64_t lane = 0; lane < least(LANES, o->out - d); lane++) {
        const float *from = o->w + (d + lane) * elements_of(o, o->kernel) + at;
        for (int64_t i = 0; i < count; i++)
            to[i][lane] = from[i];
    }
}

/* Stores the word that begins with an element. */
INLINE void pack_word(float *to, const float from[][LANES])
{
#if defined(IMAGES_FLOAT32)
    store_floats(to, load_floats(from[0], LANES), LANES);
#else
    store_two((element *)to, load_floats(from[0], LANES), load_floats(from[1], LANES), LANES);
#endif
}

/* Writes the kernels of the panel from channel d of y on, (row_words, its channels). */
static void pack_panel(const struct convolution *o, int64_t d, float *to)
{
    int64_t elements = elements_of(o, part_height(o)), all = elements_of(o, o->kernel);
    int64_t vectors = vectors_from(o, d);
    float gathered[VECTORS][PACKED][LANES];
    for (int64_t part = 0; part < all; part += elements)
        for (int64_t at = 0; at < elements; at += PACKED) {
            int64_t count = least(PACKED, elements - at);
            for (int64_t j = 0; j < vectors; j++)
                gather_kernels(o, d + j * LANES, part + at, count, gathered[j]);
            for (int64_t i = 0; i < count; i += IN_WORD)
                for (int64_t j = 0; j < vectors; j++, to += LANES)
                    pack_word(to, (const float(*)[LANES])gathered[j] + i);
        }
}

#endif
