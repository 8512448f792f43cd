/* Products of matrices, in registers: c (+)= Σ over k of a·b, for words a (rows, k) and b (k, columns),
   as words.h multiplies them. */

#ifndef RAVINE_PRODUCTS_H
#define RAVINE_PRODUCTS_H

#include "fetching.h"

enum {
    MOST_VECTORS = REGISTERS == 32 ? 4 : 2,  /* of columns */
    PANEL = MOST_VECTORS * LANES,
    /* Rows that leave registers for a row of b and one of a. */
    ROWS_WIDE = 6,
    ROWS_NARROW = REGISTERS == 32 ? 12 : 6,
    LONGEST = 128, /* words */
    FETCHES_NEXT = REGISTERS == 16, /* not measured with more */
};

/* Where the words of a product lie. */
struct operands {
    const float *a, *b;
    float *c;
    int64_t a_row, a_k, b_k, c_row; /* words from one to the next */
    int64_t k;
    int is_first; /* c is written, else added to */
    const float *next; /* what is b after this product, laid out like it, or null */
    struct fetching *ahead;
};

INLINE void multiply_block(const struct operands *o, int64_t row, const int rows, const int vectors,
                           const int is_fetching)
{
    floats sums[12][4];
    const float *a = o->a + row * o->a_row, *b = o->b, *next = o->next;
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sums[i][j] = (floats){0};
    for (int64_t k = 0; k < o->k; k++, a += o->a_k, b += o->b_k) {
        floats columns[4];
        if (is_fetching) {
            fetch_vectors(next, vectors);
            next += o->b_k;
        }
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            columns[j] = load_floats(b + j * LANES, LANES);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                sums[i][j] = multiply_add(sums[i][j], a + i * o->a_row, columns[j]);
    }
    float *c = o->c + row * o->c_row;
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            float *to = c + i * o->c_row + j * LANES;
            store_floats(to, o->is_first ? sums[i][j] : load_floats(to, LANES) + sums[i][j], LANES);
        }
    fetch(o->ahead);
}

INLINE void multiply_rows(const struct operands *o, int64_t rows, const int at_once, const int vectors)
{
    int64_t row = 0;
    if (FETCHES_NEXT && o->next && rows >= at_once) {
        multiply_block(o, 0, at_once, vectors, 1);
        row = at_once;
    } else if (FETCHES_NEXT && o->next && rows >= 4) {
        multiply_block(o, 0, 4, vectors, 1);
        row = 4;
    }
    for (; row + at_once <= rows; row += at_once)
        multiply_block(o, row, at_once, vectors, 0);
    if (at_once > 8 && row + 8 <= rows) {
        multiply_block(o, row, 8, vectors, 0);
        row += 8;
    }
    if (row + 4 <= rows) {
        multiply_block(o, row, 4, vectors, 0);
        row += 4;
    }
    if (row + 2 <= rows) {
        multiply_block(o, row, 2, vectors, 0);
        row += 2;
    }
    if (row < rows)
        multiply_block(o, row, 1, vectors, 0);
}

/* Columns of the panel that begins at `at`. */
INLINE int64_t panel_width(int64_t at, int64_t columns)
{
    int64_t vectors = (columns - at) / LANES;
    return (vectors >= 4 && MOST_VECTORS == 4 ? 4 : vectors >= 2 ? 2 : 1) * LANES;
}

/* Columns of each of so many parts, about: half panels. */
INLINE int64_t part_of_channels(int64_t columns, int64_t parts)
{
    int64_t each = (columns + parts - 1) / parts, half = PANEL / 2;
    return (each + half - 1) / half * half;
}

/* All rows, and `columns` ≤ PANEL of c: a power of two of vectors. */
static void multiply(const struct operands *o, int64_t rows, int64_t columns)
{
    switch (columns / LANES) {
    case 4: multiply_rows(o, rows, ROWS_WIDE, MOST_VECTORS); break;
    case 2: multiply_rows(o, rows, MOST_VECTORS == 4 ? ROWS_NARROW : ROWS_WIDE, 2); break;
    default: multiply_rows(o, rows, ROWS_NARROW, 1); break;
    }
}

/* The same with so few words at a time that those of b stay in the first cache. */
static void multiply_long(const struct operands *o, int64_t rows, int64_t columns)
{
    for (int64_t k = 0; k < o->k || k == 0; k += LONGEST) {
        struct operands part = *o;
        part.a += k * o->a_k, part.b += k * o->b_k;
        part.k = least(LONGEST, o->k - k), part.is_first = o->is_first && k == 0;
        multiply(&part, rows, columns);
    }
}

/* How often products of so many rows and columns [from, to) of `columns` ask for memory, about. */
INLINE int64_t calls_of(int64_t rows, int64_t from, int64_t to, int64_t columns)
{
    int64_t calls = 0;
    for (int64_t at = from, width; at < to; at += width) {
        width = panel_width(at, columns);
        calls += rows / (width == PANEL ? ROWS_WIDE : ROWS_NARROW);
    }
    return most(1, calls);
}

#endif
