/* What is done with the sums of a panel of channels of y as they go from the registers to memory. */

#ifndef RAVINE_PRODUCT_WRITING_H
#define RAVINE_PRODUCT_WRITING_H

#include "epilogue.h"
#include "product_gather.h"

/* The constants of a panel. */
struct ending {
    const element *residual; /* all three at the first channel of the panel */
    element *y, *second;
    int64_t pitch, channels; /* of a position of y in memory, and of the panel */
    floats shift[VECTORS], second_scale[VECTORS], second_shift[VECTORS];
    floats floor, second_floor;
    int activation, second_activation;
    int is_usual; /* all channels, and rectifiers: of two results y has none */
};

INLINE void load_constants(const float *from, int64_t channels, floats to[VECTORS])
{
    for (int64_t j = 0; j * LANES < channels; j++, from += LANES) {
        int64_t left = channels - j * LANES; /* whole vectors without a call */
        to[j] = left >= LANES ? load_floats(from, LANES) : load_floats(from, left);
    }
}

/* The panel from channel d of y on. */
static struct ending begin_ending(const struct convolution *o, int64_t d)
{
    const struct after *a = o->after;
    struct ending e = {.y = o->y ? (element *)o->y + d : NULL, .pitch = y_channels(o),
                       .channels = least(PANEL, o->out - d),
                       .residual = o->residual ? (const element *)o->residual + d : NULL,
                       .second = a->second ? (element *)a->second + d : NULL,
                       .activation = (int)a->activation, .floor = floor_of(a->activation),
                       .second_activation = (int)a->second_activation,
                       .second_floor = floor_of(a->second_activation)};
    load_constants(a->shift + d, e.channels, e.shift);
    if (e.second) {
        load_constants(a->second_scale + d, e.channels, e.second_scale);
        load_constants(a->second_shift + d, e.channels, e.second_shift);
    }
    e.is_usual = e.channels % LANES == 0 && is_rectifier(a->activation);
    if (e.second)
        e.is_usual = e.is_usual && a->activation == IDENTITY && is_rectifier(a->second_activation);
    return e;
}

INLINE void load_panel(const element *from, int64_t channels, floats to[VECTORS])
{
    if (channels == PANEL)
        load_both(from, to);
    else
        for (int64_t j = 0; j * LANES < channels; j++)
            to[j] = load(from + j * LANES, least(LANES, channels - j * LANES));
}

INLINE void store_panel(element *to, int64_t channels, const floats from[VECTORS])
{
    if (channels == PANEL)
        store_both(to, from[0], from[1]);
    else
        for (int64_t j = 0; j * LANES < channels; j++)
            store(to + j * LANES, from[j], least(LANES, channels - j * LANES));
}

/* Writes a row of sums at element `at`, with rectifiers. */
INLINE void write_usual(const struct ending *e, int64_t at, const floats *sums, const int vectors,
                        const int has_residual, const int has_second)
{
    floats y[VECTORS], more[VECTORS];
    if (has_residual)
        load_panel(e->residual + at, vectors * LANES, more);
    for (int j = 0; j < vectors; j++) {
        y[j] = has_residual ? sums[j] + more[j] : sums[j];
        if (!has_second)
            y[j] = larger(e->floor, y[j]);
    }
    if (!has_second || e->y)
        store_panel(e->y + at, vectors * LANES, y);
    if (!has_second)
        return;
    for (int j = 0; j < vectors; j++)
        more[j] = larger(e->second_floor, y[j] * e->second_scale[j] + e->second_shift[j]);
    store_panel(e->second + at, vectors * LANES, more);
}

/* The same of other activations or fewer channels, and from memory: inlined, this would take registers
   of the sums. */
static __attribute__((noinline)) void write_others(const struct ending *e, int64_t at,
                                                   const floats *sums, int64_t rows, int vectors)
{
    for (int64_t i = 0; i < rows; i++, at += e->pitch, sums += vectors) {
        floats y[VECTORS] = {{0}}, more[VECTORS] = {{0}};
        if (e->residual)
            load_panel(e->residual + at, e->channels, more);
        for (int j = 0; j < vectors; j++)
            y[j] = activate(sums[j] + more[j], e->activation);
        if (e->y)
            store_panel(e->y + at, e->channels, y);
        if (!e->second)
            continue;
        for (int j = 0; j < vectors; j++)
            more[j] = activate(y[j] * e->second_scale[j] + e->second_shift[j], e->second_activation);
        store_panel(e->second + at, e->channels, more);
    }
}

INLINE void write_rows(const struct ending *e, int64_t at, const floats *sums, const int rows,
                       const int vectors, const int has_residual, const int has_second)
{
#pragma GCC unroll 24
    for (int i = 0; i < rows; i++)
        write_usual(e, at + i * e->pitch, sums + i * vectors, vectors, has_residual, has_second);
}

/* Writes rows that are one vector each and lie one behind the other, two at a time. */
INLINE void write_twos(const struct ending *e, int64_t at, const floats *sums, const int rows)
{
#pragma GCC unroll 24
    for (int i = 0; i < rows; i += 2)
        store_both(e->y + at + i * LANES, larger(e->floor, sums[i]), larger(e->floor, sums[i + 1]));
}

/* Writes `rows` rows of sums, the first at element `at` of the panel. */
INLINE void write_sums(const struct ending *e, int64_t at, const floats *sums, const int rows,
                       const int vectors)
{
    if (!e->is_usual) {
        floats others[24];
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++)
            others[i] = sums[i];
        write_others(e, at, others, rows, vectors);
    } else if (e->second) {
        if (e->residual)
            write_rows(e, at, sums, rows, vectors, 1, 1);
        else
            write_rows(e, at, sums, rows, vectors, 0, 1);
    } else if (e->residual) {
        write_rows(e, at, sums, rows, vectors, 1, 0);
    } else if (vectors == 1 && rows % 2 == 0 && e->pitch == LANES) {
        write_twos(e, at, sums, rows);
    } else {
        write_rows(e, at, sums, rows, vectors, 0, 0);
    }
}

#endif
