/* The largest of each 2×2 pixels, forward and backward; of equal ones the first, of NaN the
   last, as in torch. The index among the four is kept in a byte, so that the backward
   pass does not need the images. */

#include <stddef.h>

#include "lanes.h"
#include "pool.h"

INLINE void take_columns(const struct pool *o, const element *upper, int64_t to, int64_t c,
                         int64_t n)
{
    const element *pixels[4] = {upper, upper + o->channels, upper + o->width * o->channels,
                                 upper + (o->width + 1) * o->channels};
    floats best = load(pixels[0] + c, n);
    words index = {0};
    for (uint32_t k = 1; k < 4; k++) {
        floats x = load(pixels[k] + c, n);
        ints larger = (x > best) | (x != x);
        best = choose(larger, x, best);
        index = ((words)larger & k) | (~(words)larger & index);
    }
    store(o->y + to + c, best, n);
    if (o->index) {
        bytes b = __builtin_convertvector(index, bytes);
        memcpy(o->index + to + c, &b, (size_t)n);
    }
}

INLINE void spread_columns(const struct pool *o, element *upper, int64_t from, int64_t c,
                           int64_t n)
{
    element *pixels[4] = {upper, upper + o->channels, upper + o->width * o->channels,
                           upper + (o->width + 1) * o->channels};
    patterns dy = {0};
    bytes index = {0};
    memcpy(&dy, o->dy + from + c, (size_t)n * sizeof(element));
    memcpy(&index, o->index + from + c, (size_t)n);
    patterns wide = __builtin_convertvector(index, patterns);
    for (pattern k = 0; k < 4; k++) {
        patterns dx = dy & (patterns)(wide == k);
        memcpy(pixels[k] + c, &dx, (size_t)n * sizeof(element));
    }
}

/* Both ways over rows of y: row r is row r % (height/2) of image r / (height/2). */
#define EACH_PIXEL(o, DO)                                                                     \
    _Pragma("omp parallel for schedule(dynamic, 8) num_threads(threads)")                     \
    for (int64_t r = 0; r < (o)->images * ((o)->height / 2); r++) {                           \
        int64_t image = r / ((o)->height / 2), row = r % ((o)->height / 2) * 2;               \
        int64_t start = (image * (o)->height + row) * (o)->width * (o)->channels;             \
        for (int64_t column = 0; column < (o)->width / 2; column++) {                         \
            int64_t large = start + 2 * column * (o)->channels;                               \
            int64_t small = (r * ((o)->width / 2) + column) * (o)->channels;                  \
            int64_t c = 0;                                                                    \
            for (; c + LANES <= (o)->channels; c += LANES)                                    \
                DO(LANES);                                                                    \
            if (c < (o)->channels)                                                            \
                DO((o)->channels - c);                                                        \
        }                                                                                     \
    }

void FOR_LEVEL(pool_forward)(const struct pool *o, int32_t threads)
{
    (void)threads;
#define TAKE(n) take_columns(o, o->x + large, small, c, n)
    EACH_PIXEL(o, TAKE)
#undef TAKE
}

/* A last odd row or column, which y leaves out, has no gradient. */
static void clear_rest(const struct pool *o, int64_t image)
{
    element *dx = o->dx + image * o->height * o->width * o->channels;
    if (o->width % 2)
        for (int64_t row = 0; row < o->height; row++)
            memset(dx + ((row + 1) * o->width - 1) * o->channels, 0, (size_t)o->channels * sizeof(element));
    if (o->height % 2)
        memset(dx + (o->height - 1) * o->width * o->channels, 0,
               (size_t)(o->width * o->channels) * sizeof(element));
}

void FOR_LEVEL(pool_backward)(const struct pool *o, int32_t threads)
{
    (void)threads;
#define SPREAD(n) spread_columns(o, o->dx + large, small, c, n)
    EACH_PIXEL(o, SPREAD)
#undef SPREAD
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t image = 0; image < o->images; image++)
        clear_rest(o, image);
}
