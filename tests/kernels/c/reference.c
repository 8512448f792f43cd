#include "reference.h"

#include "draw.h"

enum { MOST_PRODUCTS = 8000000 }; /* of a layer that is drawn */

static int64_t products_of(const struct layer *l)
{
    return outputs_of(l) * l->kernel * l->kernel * l->in;
}

static struct layer draw_any_layer(int is_winograd)
{
    int is_large = draw_chance(20), is_wide = draw_chance(15);
    struct layer l = {
        .images = is_large ? draw_integer(5, 17) : draw_integer(1, 6),
        .height = draw_integer(1, is_large ? 30 : 13), .width = draw_integer(1, is_large ? 30 : 13),
        .in = 16 * (is_large ? draw_integer(1, 2) : draw_integer(1, is_wide ? 10 : 5)),
        .out = 16 * (is_large ? 1 : draw_integer(1, is_wide ? 10 : 7)),
        .kernel = is_winograd ? 3 : draw_integer(1, 5),
        .stride = is_winograd ? 1 : draw_integer(1, 3),
        .padding = draw_chance(80) ? draw_integer(0, 2) : draw_integer(3, 6),
    };
    if (draw_chance(15))
        l.height = 1;
    if (draw_chance(15))
        l.width = 1;
    return l;
}

struct layer draw_layer(int is_winograd)
{
    for (;;) {
        struct layer l = draw_any_layer(is_winograd);
        int64_t down = l.height + 2 * l.padding - l.kernel;
        int64_t right = l.width + 2 * l.padding - l.kernel;
        if (down < 0 || right < 0)
            continue;
        l.out_height = down / l.stride + 1;
        l.out_width = right / l.stride + 1;
        if (products_of(&l) <= MOST_PRODUCTS)
            return l;
    }
}

int64_t inputs_of(const struct layer *l)
{
    return l->images * l->height * l->width * l->in;
}

int64_t outputs_of(const struct layer *l)
{
    return l->images * l->out_height * l->out_width * l->out;
}

int64_t weights_of(const struct layer *l)
{
    return l->out * l->kernel * l->kernel * l->in;
}

/* Calls DO for all positions y and taps that meet within x: `at_x`, `at_y` and `at_w` are where
   their first channels lie, those of w with the first of y. */
#define EACH_TAP(l, DO)                                                                      \
    for (int64_t n = 0; n < (l)->images; n++)                                                \
        for (int64_t v = 0; v < (l)->out_height; v++)                                        \
            for (int64_t u = 0; u < (l)->out_width; u++)                                     \
                for (int64_t i = 0; i < (l)->kernel; i++)                                    \
                    for (int64_t j = 0; j < (l)->kernel; j++) {                              \
                        int64_t row = (l)->stride * v + i - (l)->padding;                    \
                        int64_t column = (l)->stride * u + j - (l)->padding;                 \
                        if (row < 0 || row >= (l)->height || column < 0 ||                   \
                            column >= (l)->width)                                            \
                            continue;                                                        \
                        int64_t at_x = (n * (l)->height + row) * (l)->width + column;        \
                        int64_t at_y = (n * (l)->out_height + v) * (l)->out_width + u;       \
                        int64_t at_w = (i * (l)->kernel + j) * (l)->in;                      \
                        at_x *= (l)->in, at_y *= (l)->out;                                   \
                        DO;                                                                  \
                    }

/* Each channel d of y with its weights, `from` on. */
#define EACH_CHANNEL(l, DO)                                                                  \
    for (int64_t d = 0, from = at_w, filter = weights_of(l) / (l)->out; d < (l)->out;        \
         d++, from += filter)                                                                \
        for (int64_t c = 0; c < (l)->in; c++)                                                \
            DO

void add_convolution(const struct layer *l, const double *x, const double *w, double *y)
{
    EACH_TAP(l, EACH_CHANNEL(l, y[at_y + d] += x[at_x + c] * w[from + c]))
}

void add_input_gradient(const struct layer *l, const double *dy, const double *w, double *dx)
{
    EACH_TAP(l, EACH_CHANNEL(l, dx[at_x + c] += dy[at_y + d] * w[from + c]))
}

void add_weight_gradient(const struct layer *l, const double *dy, const double *x, double *dw)
{
    EACH_TAP(l, EACH_CHANNEL(l, dw[from + c] += dy[at_y + d] * x[at_x + c]))
}

struct affine draw_affine(int64_t channels)
{
    return (struct affine){
        draw_floats(channels, 0.3, 0.5), draw_floats(channels, 1, 0.2),
        draw_floats(channels, 1, 0.3), draw_floats(channels, 0.1, 0.5)};
}

double affine_of(const struct affine *a, int64_t c, double x)
{
    return (x - a->mean[c]) * a->rstd[c] * a->weight[c] + a->bias[c];
}

void apply_affine(const struct affine *a, int64_t channels, int relu, double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double z = affine_of(a, i % channels, x[i]);
        x[i] = relu && z < 0 ? 0 : z;
    }
}
