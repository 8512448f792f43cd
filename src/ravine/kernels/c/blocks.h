/* How results are cut into tiles and blocks of rows of tiles, and images copied to padded strips. */

#ifndef RAVINE_BLOCKS_H
#define RAVINE_BLOCKS_H

#include <unistd.h>

#include "words.h"

enum {
    USUAL_CACHE = 512 << 10, /* bytes of a second cache whose size the system does not report */
    FEWEST_TILES = 96,
    MOST_SEGMENTS = 512,
};

/* Rows of tiles are numbered through all images. */
struct blocks {
    int64_t outputs;                /* results of a tile along a side */
    int64_t rows_of_image, columns; /* tiles of an image, down and across */
    int64_t rows, tiles;            /* of a block, at most */
    int64_t unit, units;            /* images that a thread takes at a time, and how often */
    int64_t is_right_cut, is_bottom_cut; /* the last tiles reach over the edge */
};

/* Tiles of a block are numbered in four parts: cut on the right, whole, cut below, cut on both
   sides. A cut tile's last results do not exist, and with them the last components (at infinity)
   are not needed: those of a row or column of components are then consecutive tiles' alone. */
struct parts {
    int64_t right, whole, below, corner; /* number of the first tile */
    int64_t end;
};

/* Rows of tiles of one image in a block. */
struct segment {
    int64_t image, top, rows;
    struct parts first; /* number of its first tile of each part */
};

static int64_t second_cache(void)
{
#if defined(_SC_LEVEL2_CACHE_SIZE)
    long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? bytes : USUAL_CACHE;
#else
    return USUAL_CACHE;
#endif
}

/* `a_tile` is bytes of workspace that one tile takes. */
static struct blocks lay_out_blocks(int64_t images, int64_t height, int64_t width, int64_t outputs,
                                    size_t a_tile)
{
    struct blocks b = {.outputs = outputs};
    b.rows_of_image = (height + outputs - 1) / outputs;
    b.columns = (width + outputs - 1) / outputs;
    int64_t tiles = most(FEWEST_TILES, second_cache() * 1 / 2 / (int64_t)a_tile);
    b.rows = least(MOST_SEGMENTS, most(1, tiles / b.columns));
    b.unit = most(1, b.rows / b.rows_of_image);
    b.units = (images + b.unit - 1) / b.unit;
    b.rows = least(b.rows, b.unit * b.rows_of_image);
    int64_t blocks = (b.unit * b.rows_of_image + b.rows - 1) / b.rows;
    b.rows = (b.unit * b.rows_of_image + blocks - 1) / blocks; /* equal blocks */
    b.tiles = b.rows * b.columns;
    b.is_right_cut = width % outputs > 0, b.is_bottom_cut = height % outputs > 0;
    return b;
}

/* Rows of tiles that a thread takes at a time: those of whole images, whose sums are then one
   thread's; without sums, of few images so many that each thread has some. */
INLINE int64_t rows_of_unit(const struct blocks *b, int64_t images, int64_t threads, int has_sums)
{
    if (has_sums || b->units >= threads)
        return b->unit * b->rows_of_image;
    return (images * b->rows_of_image + threads - 1) / threads;
}

/* Adds to the parts how many tiles a segment has in each. */
static void count_tiles(const struct blocks *b, const struct segment *s, struct parts *p)
{
    int64_t cut = b->is_bottom_cut && s->top + s->rows == b->rows_of_image;
    p->right += b->is_right_cut * (s->rows - cut);
    p->whole += (b->columns - b->is_right_cut) * (s->rows - cut);
    p->below += (b->columns - b->is_right_cut) * cut;
    p->corner += b->is_right_cut * cut;
}

/* Cuts rows of tiles [from, to) at the images' ends; returns how many segments there are, and
   where the parts of the block begin. */
static int64_t find_segments(const struct blocks *b, int64_t from, int64_t to, struct segment *s,
                             struct parts *parts)
{
    int64_t count = 0;
    struct parts all = {0};
    while (from < to) {
        int64_t top = from % b->rows_of_image;
        int64_t rows = least(to - from, b->rows_of_image - top);
        s[count] = (struct segment){from / b->rows_of_image, top, rows, all};
        count_tiles(b, &s[count++], &all);
        from += rows;
    }
    *parts = (struct parts){0, all.right, all.right + all.whole, 0, 0};
    parts->corner = parts->below + all.below;
    parts->end = parts->corner + all.corner;
    for (int64_t i = 0; i < count; i++) {
        s[i].first.whole += parts->whole;
        s[i].first.below += parts->below;
        s[i].first.corner += parts->corner;
    }
    return count;
}

/* The number of a segment's tile in the block. */
INLINE int64_t tile_number(const struct blocks *b, const struct segment *s, int64_t row, int64_t column)
{
    int64_t is_right = b->is_right_cut && column == b->columns - 1;
    if (b->is_bottom_cut && s->top + row == b->rows_of_image - 1)
        return is_right ? s->first.corner : s->first.below + column;
    return is_right ? s->first.right + row
                    : s->first.whole + row * (b->columns - b->is_right_cut) + column;
}

/* Images in memory, (n, height, width, channels), and a norm that is applied to them, or none. */
struct source {
    const element *images;
    int64_t height, width, channels;
    int64_t pitch;       /* channels of a position in memory, of which some are read; 0 is all */
    int64_t above, left; /* zeros before the first row and column; may be negative */
    const float *mean, *scale, *bias;
    int64_t relu;
};

INLINE void normalise_position(const struct source *x, const element *from, element *to)
{
    for (int64_t c = 0; c < x->channels; c += LANES) {
        floats z = (load(from + c, LANES) - load_floats(x->mean + c, LANES)) * load_floats(x->scale + c, LANES) +
                load_floats(x->bias + c, LANES);
        store(to + c, x->relu ? choose(z <= 0.0f, (floats){0}, z) : z, LANES); /* NaN stays NaN */
    }
}

/* What tiles read of an image: from tile to tile `step` positions, and some more (or fewer, if
   negative) down and across at the end. */
struct reach {
    int64_t step, down, across;
};

INLINE int64_t strip_columns(const struct blocks *b, struct reach r)
{
    return b->columns * r.step + r.across;
}

/* Positions of a strip of so many rows of tiles. */
INLINE int64_t strip_positions(const struct blocks *b, int64_t rows, struct reach r)
{
    return (rows * r.step + r.down) * strip_columns(b, r);
}

/* Copies so many positions in a row, or normalises them. */
INLINE void copy_row(const struct source *x, const element *from, int64_t pitch, int64_t count, element *to)
{
    size_t bytes = (size_t)x->channels * sizeof *to;
    if (!x->mean && pitch == x->channels) {
        memcpy(to, from, bytes * (size_t)count);
        return;
    }
    for (int64_t j = 0; j < count; j++, from += pitch, to += x->channels) {
        if (x->mean)
            normalise_position(x, from, to);
        else
            memcpy(to, from, bytes);
    }
}

/* Copies what a segment's tiles read, with zeros around the image. */
static void copy_strip(const struct source *x, const struct blocks *b, const struct segment *s,
                       struct reach r, element *strip)
{
    size_t bytes = (size_t)x->channels * sizeof *strip;
    int64_t columns = strip_columns(b, r), pitch = x->pitch ? x->pitch : x->channels;
    int64_t left = least(columns, most(0, x->left));
    int64_t right = least(columns, most(left, x->width + x->left));
    for (int64_t i = 0; i < s->rows * r.step + r.down; i++) {
        element *row = strip + i * columns * x->channels;
        int64_t y = s->top * r.step + i - x->above;
        if (y < 0 || y >= x->height) {
            memset(row, 0, bytes * (size_t)columns);
            continue;
        }
        const element *from = x->images + (s->image * x->height + y) * x->width * pitch;
        memset(row, 0, bytes * (size_t)left);
        copy_row(x, from + (left - x->left) * pitch, pitch, right - left, row + left * x->channels);
        memset(row + right * x->channels, 0, bytes * (size_t)(columns - right));
    }
}

/* Positions of images (n, height, width) that rows of tiles [from, to) cover, `step` rows each, and
   `around` rows of positions before and after them: the first, and their end. */
INLINE int64_t first_position(const struct blocks *b, int64_t from, int64_t height, int64_t width,
                              int64_t step, int64_t around)
{
    int64_t row = from % b->rows_of_image * step - around;
    return (from / b->rows_of_image * height + least(height, most(0, row))) * width;
}

INLINE int64_t end_position(const struct blocks *b, int64_t to, int64_t height, int64_t width,
                            int64_t step, int64_t around)
{
    int64_t last = to - 1, row = (last % b->rows_of_image + 1) * step + around;
    return (last / b->rows_of_image * height + least(height, most(0, row))) * width;
}

#endif
