/* y = act(window·scale + shift + residual), of the largest or the mean of each window. */

#include "activation.h"
#include "window.h"

/* `n` channels of a window [top, bottom) × [left, right) of one image, from channel c on. */
INLINE floats take(const struct window *o, const element *image, const int64_t edges[4], int64_t c,
                   int64_t n)
{
    floats found = {0};
    int is_first = 1;
    for (int64_t row = edges[0]; row < edges[1]; row++)
        for (int64_t column = edges[2]; column < edges[3]; column++) {
            floats x = load(image + (row * o->width + column) * o->channels + c, n);
            if (o->is_mean)
                found += x;
            else
                found = is_first ? x : choose((x > found) | (x != x), x, found);
            is_first = 0;
        }
    return o->is_mean ? found / (float)(o->kernel_height * o->kernel_width) : found;
}

INLINE void write_channels(const struct window *o, const element *image, const int64_t edges[4],
                           int64_t at, int64_t c, int64_t n)
{
    floats z = take(o, image, edges, c, n);
    if (o->scale)
        z = z * load_floats(o->scale + c, n) + load_floats(o->shift + c, n);
    if (o->residual)
        z += load((const element *)o->residual + at + c, n);
    store((element *)o->y + at + c, activate(z, (int)o->activation), n);
}

/* Fills the row of y that is number `row` through all images. */
static void write_row(const struct window *o, int64_t row)
{
    int64_t top = row % o->out_height * o->stride - o->padding;
    const element *image = (const element *)o->x + row / o->out_height * o->height * o->width * o->channels;
    int64_t edges[4] = {top > 0 ? top : 0, top + o->kernel_height};
    if (edges[1] > o->height)
        edges[1] = o->height;
    for (int64_t column = 0; column < o->out_width; column++) {
        int64_t left = column * o->stride - o->padding;
        edges[2] = left > 0 ? left : 0;
        edges[3] = left + o->kernel_width < o->width ? left + o->kernel_width : o->width;
        int64_t at = (row * o->out_width + column) * o->channels, c = 0;
        for (; c + LANES <= o->channels; c += LANES)
            write_channels(o, image, edges, at, c, LANES);
        if (c < o->channels)
            write_channels(o, image, edges, at, c, o->channels - c);
    }
}

void FOR_LEVEL(take_windows)(const struct window *o, int32_t threads)
{
    (void)threads;
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads)
    for (int64_t row = 0; row < o->images * o->out_height; row++)
        write_row(o, row);
}
