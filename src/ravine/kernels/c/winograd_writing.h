/* Products of Winograd's transforms, transformed back and written. */

#ifndef RAVINE_WINOGRAD_WRITING_H
#define RAVINE_WINOGRAD_WRITING_H

#include "epilogue.h"
#include "winograd_parts.h"

/* What all threads read. */
struct task {
    const struct convolution *o;
    struct blocks b;
    int64_t rows, all;    /* rows of tiles that a thread takes at a time, and of all images */
    int64_t channels;     /* of y that a thread takes at a time */
    int64_t group;        /* channels of y whose products wait, at most */
    const float *kernels; /* panels of (AREA, in, columns) words, transformed */
    int64_t transformed;  /* elements from component to component of a block's transform */
    int64_t products;     /* floats from component to component of a block's products */
    const float *scale;   /* rstd·weight of the norm, or null */
};

INLINE void transform_back(const float *from, int64_t apart, floats y[OUTPUTS][OUTPUTS])
{
    floats half[OUTPUTS][SIDE];
    for (int j = 0; j < SIDE; j++) {
        floats m[SIDE], results[OUTPUTS];
        for (int i = 0; i < SIDE; i++)
            m[i] = load_floats(from + (i * SIDE + j) * apart, LANES);
        transform_output(results, m);
        for (int i = 0; i < OUTPUTS; i++)
            half[i][j] = results[i];
    }
    for (int i = 0; i < OUTPUTS; i++)
        transform_output(y[i], half[i]);
}

/* A segment's products for LANES channels of y from d on. */
struct columns {
    const struct task *k;
    const struct segment *s;
    const float *products;
    int64_t d;
};

INLINE const float *products_of(const struct columns *c, int64_t row, int64_t column)
{
    return c->products + tile_number(&c->k->b, c->s, row, column) * c->k->group;
}

/* The element of y that a tile begins with. */
INLINE int64_t first_of_tile(const struct columns *c, int64_t row, int64_t column)
{
    const struct convolution *o = c->k->o;
    int64_t y = c->s->image * o->out_height + (c->s->top + row) * OUTPUTS;
    return (y * o->out_width + column * OUTPUTS) * y_channels(o) + c->d;
}

INLINE void write_tile(const struct columns *c, struct epilogue *e, int64_t row, int64_t column)
{
    const struct convolution *o = c->k->o;
    floats y[OUTPUTS][OUTPUTS];
    transform_back(products_of(c, row, column), c->k->products, y);
    int64_t below = least(OUTPUTS, o->out_height - (c->s->top + row) * OUTPUTS);
    int64_t right = least(OUTPUTS, o->out_width - column * OUTPUTS);
    int64_t at = first_of_tile(c, row, column);
    for (int64_t v = 0; v < below; v++)
        for (int64_t u = 0; u < right; u++)
            write_position(e, at + (v * o->out_width + u) * y_channels(o), y[v][u]);
}

/* Writes a row of tiles of an inference, all of them whole, with rectifiers. */
INLINE void write_whole_tiles(const struct columns *c, const struct finish *given, int64_t row,
                              int64_t count, const int has_residual, const int has_second)
{
    const struct finish f = *given;
    int64_t out = y_channels(c->k->o), pitch = c->k->o->out_width * out, apart = c->k->products;
    const float *from = products_of(c, row, 0);
    int64_t at = first_of_tile(c, row, 0);
    for (int64_t column = 0; column < count; column++, from += c->k->group, at += OUTPUTS * out) {
        floats y[OUTPUTS][OUTPUTS];
        transform_back(from, apart, y);
#pragma GCC unroll 4
        for (int v = 0; v < OUTPUTS; v++)
#pragma GCC unroll 4
            for (int u = 0; u < OUTPUTS; u++)
                write_rectified(&f, at + v * pitch + u * out, y[v][u], has_residual, has_second);
    }
}

/* Returns how many of the first tiles of a row it wrote. */
INLINE int64_t write_usual_tiles(const struct columns *c, const struct epilogue *e, int64_t row)
{
    const struct blocks *b = &c->k->b;
    const struct finish *f = &e->finish;
    int is_cut = b->is_bottom_cut && c->s->top + row == b->rows_of_image - 1;
    int64_t whole = b->columns - b->is_right_cut;
    if (!e->o->after || !f->is_rectified || is_cut)
        return 0;
    if (f->residual && f->second)
        write_whole_tiles(c, f, row, whole, 1, 1);
    else if (f->second)
        write_whole_tiles(c, f, row, whole, 0, 1);
    else if (f->residual)
        write_whole_tiles(c, f, row, whole, 1, 0);
    else
        write_whole_tiles(c, f, row, whole, 0, 0);
    return whole;
}

/* Transforms a segment's products for LANES channels of y from d on back, and writes them. */
static void write_segment(const struct task *k, const struct segment *s, const float *products,
                          int64_t d)
{
    const struct convolution *o = k->o;
    struct columns c = {k, s, products, d};
    float *sums = o->sums ? o->sums + s->image * 2 * o->out : NULL;
    struct epilogue e = begin_epilogue(o, k->scale, sums, s->top > 0, d);
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t column = write_usual_tiles(&c, &e, i); column < k->b.columns; column++)
            write_tile(&c, &e, i, column);
    end_epilogue(&e);
}

#endif
