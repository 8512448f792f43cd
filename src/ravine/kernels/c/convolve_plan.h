/* How a convolution is laid out: its taps, its padded buffer, and offsets into x and y. */

#ifndef RAVINE_CONVOLVE_PLAN_H
#define RAVINE_CONVOLVE_PLAN_H

#include "convolve.h"
#include "tiles.h"

enum {
    SIDE = 32,               /* positions, and at most channels, of one result */
    BLOCK_BYTES = 128 << 10, /* of a padded buffer; two, and the weights, share the second cache */
    LINE = 64,
    MOST_TAPS = MOST_KERNEL * MOST_KERNEL,
    MOST_PHASES = MOST_STRIDE * MOST_STRIDE,
};

/* What a position of y is multiplied with, seen from it. */
struct tap {
    int64_t component, down, right; /* of x, and so many rows and columns away */
    int64_t at;                     /* the same in numbers of the padded buffer */
    int64_t in_kernel;              /* its index in w */
};

/* The positions of y that have the same taps: all, or backward with a stride one of its s²
   polyphase components. */
struct phase {
    int64_t top, left, height, width;
    int64_t first, taps;
};

/* The padded buffer, in positions, and what is done on it. */
struct plan {
    int64_t row, image; /* from row to row, from image to image */
    int64_t lead;       /* zeros before the first position */
    int64_t images;     /* in a block */
    int64_t length;     /* of a block, a multiple of SIDE */
    int64_t components, component; /* polyphase components that taps need, and numbers of each */
    int64_t component_of[MOST_PHASES]; /* of a remainder by the stride, or −1 */
    size_t bytes;
    int64_t deep, wide;    /* channels of x in a tile, of y in a result */
    int64_t unit;          /* bytes that are copied at a time */
    int64_t units_per_step; /* between two tile operations */
    int64_t taps, phases;
    struct tap tap[MOST_TAPS];
    struct phase phase[MOST_PHASES];
};

static int64_t stride_of_x(const struct convolution *o)
{
    return o->backward ? 1 : o->stride;
}

static int64_t component_of(struct plan *p, int64_t remainder)
{
    if (p->component_of[remainder] < 0)
        p->component_of[remainder] = p->components++;
    return p->component_of[remainder];
}

static void find_taps(const struct convolution *o, struct plan *p)
{
    int64_t s = o->stride;
    p->phases = 1;
    p->phase[0] = (struct phase){0, 0, o->out_height, o->out_width, 0, o->kernel * o->kernel};
    for (int64_t i = 0; i < o->kernel; i++)
        for (int64_t j = 0; j < o->kernel; j++) {
            int64_t down = floor_divide(i - o->padding, s), right = floor_divide(j - o->padding, s);
            int64_t remainder = (i - o->padding - down * s) * s + j - o->padding - right * s;
            p->tap[p->taps++] =
                (struct tap){component_of(p, remainder), down, right, 0, i * o->kernel + j};
        }
}

static void find_taps_backward(const struct convolution *o, struct plan *p)
{
    int64_t s = o->stride;
    p->components = 1;
    for (int64_t top = 0; top < s; top++)
        for (int64_t left = 0; left < s; left++) {
            struct phase *phase = &p->phase[p->phases++];
            *phase = (struct phase){top, left, (o->out_height - top + s - 1) / s,
                                    (o->out_width - left + s - 1) / s, p->taps, 0};
            for (int64_t i = 0; i < o->kernel; i++)
                for (int64_t j = 0; j < o->kernel; j++) {
                    int64_t down = top + o->padding - i, right = left + o->padding - j;
                    if (down % s == 0 && right % s == 0)
                        p->tap[p->taps++] =
                            (struct tap){0, down / s, right / s, 0, i * o->kernel + j};
                }
            phase->taps = p->taps - phase->first;
        }
}

/* How many rows or columns taps reach back and ahead. */
static void find_reach(const struct plan *p, int64_t *back, int64_t *ahead)
{
    *back = *ahead = 0;
    for (int64_t t = 0; t < p->taps; t++) {
        *back = largest(*back, largest(-p->tap[t].down, -p->tap[t].right));
        *ahead = largest(*ahead, largest(p->tap[t].down, p->tap[t].right));
    }
}

static int64_t count_units(const struct convolution *o, const struct plan *p)
{
    return p->images * o->height * o->width * (o->in * 2 / p->unit);
}

static int64_t count_steps(const struct convolution *o, const struct plan *p)
{
    return p->taps * (o->in / p->deep) * (p->length / SIDE) * (o->out / p->wide);
}

static struct plan lay_out(const struct convolution *o, int threads)
{
    struct plan p = {0};
    for (int k = 0; k < MOST_PHASES; k++)
        p.component_of[k] = o->backward ? 0 : -1;
    (o->backward ? find_taps_backward : find_taps)(o, &p);
    int64_t back, ahead, s = stride_of_x(o);
    find_reach(&p, &back, &ahead);
    p.row = largest((o->width + s - 1) / s + back, p.phase[0].width + ahead);
    p.image = largest((o->height + s - 1) / s + back, p.phase[0].height + ahead) * p.row;
    p.lead = back * (p.row + 1);
    int64_t share = (o->images + threads - 1) / threads;
    p.images = largest(1, BLOCK_BYTES / (p.image * o->in * 2 * p.components));
    int64_t blocks = (share + p.images - 1) / p.images;
    p.images = (share + blocks - 1) / blocks; /* equal blocks */
    p.length = (p.images * p.image + SIDE - 1) / SIDE * SIDE;
    p.component = (p.lead + p.length + ahead * (p.row + 1)) * o->in;
    p.component = (p.component * 2 + LINE - 1) / LINE * LINE / 2;
    p.bytes = (size_t)(p.component * p.components * 2);
    p.deep = o->in % DEEP ? TILE : DEEP;
    p.wide = o->out % SIDE ? TILE : SIDE;
    p.unit = p.deep * 2;
    p.units_per_step = (count_units(o, &p) + count_steps(o, &p) - 1) / count_steps(o, &p);
    for (int64_t t = 0; t < p.taps; t++)
        p.tap[t].at = p.tap[t].component * p.component +
                      (p.lead + p.tap[t].down * p.row + p.tap[t].right) * o->in;
    return p;
}

/* Offsets of the positions of a block of x in the padded buffer, in bytes; −1 where no tap needs
   them. */
static void find_offsets_in_padded(int32_t *offsets, const struct convolution *o,
                                const struct plan *p)
{
    int64_t s = stride_of_x(o);
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t y = 0; y < o->height; y++)
            for (int64_t x = 0; x < o->width; x++) {
                int64_t component = p->component_of[y % s * s + x % s];
                int64_t position = p->lead + n * p->image + y / s * p->row + x / s;
                *offsets++ = component < 0 ? -1 : (int32_t)((component * p->component + position * o->in) * 2);
            }
}

/* Offsets of the padded buffer's positions in y, relative to the block's first; −1 between the
   images, and after the last for as many positions as one result has. */
static void find_offsets_in_y(int32_t *offsets, const struct convolution *o, const struct plan *p,
                             const struct phase *phase)
{
    int64_t s = o->backward ? o->stride : 1;
    for (int64_t q = 0; q < p->length + SIDE; q++) {
        int64_t n = q / p->image, y = q % p->image / p->row, x = q % p->row;
        int is_inside = n < p->images && y < phase->height && x < phase->width;
        int64_t row = n * o->out_height + y * s + phase->top;
        offsets[q] = is_inside ? (int32_t)((row * o->out_width + x * s + phase->left) * o->out) : -1;
    }
}

#endif
