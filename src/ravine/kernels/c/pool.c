/* The largest of each 2×2 pixels, forward and backward; of equal ones the first, of NaN the
   last, as in torch. Which of the four it was is kept in a byte, so that the images themselves are not
   needed for the way back. */

#include <stddef.h>

#include "lanes.h"
#include "pool.h"

typedef uint8_t bytes __attribute__((vector_size(16)));

INLINE void take_columns(const struct pool *o, const uint16_t *upper, int64_t to, int64_t c,
                         int64_t n)
{
    const uint16_t *pixels[4] = {upper, upper + o->channels, upper + o->width * o->channels,
                                 upper + (o->width + 1) * o->channels};
    floats best = load(pixels[0] + c, n);
    words place = {0};
    for (uint32_t k = 1; k < 4; k++) {
        floats x = load(pixels[k] + c, n);
        ints larger = (x > best) | (x != x);
        best = pick(larger, x, best);
        place = ((words)larger & k) | (~(words)larger & place);
    }
    store(o->y + to + c, best, n);
    if (o->place) {
        bytes b = __builtin_convertvector(place, bytes);
        memcpy(o->place + to + c, &b, (size_t)n);
    }
}

INLINE void spread_columns(const struct pool *o, uint16_t *upper, int64_t from, int64_t c,
                           int64_t n)
{
    uint16_t *pixels[4] = {upper, upper + o->channels, upper + o->width * o->channels,
                           upper + (o->width + 1) * o->channels};
    halves dy = {0};
    bytes place = {0};
    memcpy(&dy, o->dy + from + c, (size_t)n * 2);
    memcpy(&place, o->place + from + c, (size_t)n);
    halves wide = __builtin_convertvector(place, halves);
    for (uint16_t k = 0; k < 4; k++) {
        halves dx = dy & (halves)(wide == k);
        memcpy(pixels[k] + c, &dx, (size_t)n * 2);
    }
}

/* Both ways over rows of y: row r is row r % (height/2) of image r / (height/2). */
#define EACH_PIXEL(o, DO)                                                                     \
    _Pragma("omp parallel for schedule(static) num_threads(threads)")                         \
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

/* What no y has seen, a last odd row or column, has no gradient. */
static void clear_rest(const struct pool *o, int64_t image)
{
    uint16_t *dx = o->dx + image * o->height * o->width * o->channels;
    if (o->width % 2)
        for (int64_t row = 0; row < o->height; row++)
            memset(dx + ((row + 1) * o->width - 1) * o->channels, 0, (size_t)o->channels * 2);
    if (o->height % 2)
        memset(dx + (o->height - 1) * o->width * o->channels, 0,
               (size_t)(o->width * o->channels) * 2);
}

void FOR_LEVEL(pool_backward)(const struct pool *o, int32_t threads)
{
    (void)threads;
#define SPREAD(n) spread_columns(o, o->dx + large, small, c, n)
    EACH_PIXEL(o, SPREAD)
#undef SPREAD
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t image = 0; image < o->images; image++)
        clear_rest(o, image);
}
