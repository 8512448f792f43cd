/* Winograd's minimal filtering (Winograd 1980; Lavin, Gray 2016), one dimension of it:
   y = Aᵀ[(G g) ⊙ (Bᵀ d)] gives m results of a kernel of 3 by m + 2 products.

   Interpolation points 0, ±1, ∞ for m = 2, and 0, ±p, ±q, ∞ with p = 1/√2, q = √2 for m = 4: half
   the error of the usual 0, ±1, ±2, ∞. */

#ifndef RAVINE_WINOGRAD_TRANSFORMS_H
#define RAVINE_WINOGRAD_TRANSFORMS_H

#include "winograd_lanes.h"

#define P 0.70710678118654752f
#define Q 1.41421356237309505f

/* Bᵀ d. */
INLINE void transform_input(floats *to, const floats *d)
{
#if WINOGRAD_OUTPUTS == 2
    to[0] = d[0] - d[2];
    to[1] = d[1] + d[2];
    to[2] = d[2] - d[1];
    to[3] = d[1] - d[3];
#else
    floats even = d[4] - 2.0f * d[2], odd = d[3] - 2.0f * d[1];
    floats even_q = d[4] - 0.5f * d[2], odd_q = d[3] - 0.5f * d[1];
    to[0] = d[0] - 2.5f * d[2] + d[4];
    to[1] = even + P * odd;
    to[2] = even - P * odd;
    to[3] = even_q + Q * odd_q;
    to[4] = even_q - Q * odd_q;
    to[5] = d[1] - 2.5f * d[3] + d[5];
#endif
}

/* Aᵀ m. */
INLINE void transform_output(floats *y, const floats *m)
{
#if WINOGRAD_OUTPUTS == 2
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
#else
    floats even = m[1] + m[2], odd = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
    y[0] = m[0] + even + even_q;
    y[1] = P * odd + Q * odd_q;
    y[2] = 0.5f * even + 2.0f * even_q;
    y[3] = (0.5f * P) * odd + (2.0f * Q) * odd_q + m[5];
#endif
}

/* A e, of the gradient of the results. */
INLINE void transform_gradient(floats *to, const floats *e)
{
#if WINOGRAD_OUTPUTS == 2
    to[0] = e[0];
    to[1] = e[0] + e[1];
    to[2] = e[0] - e[1];
    to[3] = -e[1];
#else
    floats even = e[0] + 0.5f * e[2], odd = e[1] + 0.5f * e[3];
    floats even_q = e[0] + 2.0f * e[2], odd_q = e[1] + 2.0f * e[3];
    to[0] = e[0];
    to[1] = even + P * odd;
    to[2] = even - P * odd;
    to[3] = even_q + Q * odd_q;
    to[4] = even_q - Q * odd_q;
    to[5] = e[3];
#endif
}

/* G g. */
INLINE void transform_kernel(floats *to, const floats *g)
{
#if WINOGRAD_OUTPUTS == 2
    floats even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    to[0] = g[0];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = g[2];
#else
    floats even = (-2.0f / 3) * (g[0] + 0.5f * g[2]), odd = (-2.0f / 3 * P) * g[1];
    floats even_q = (1.0f / 6) * (g[0] + 2.0f * g[2]), odd_q = (Q / 6) * g[1];
    to[0] = g[0];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = even_q + odd_q;
    to[4] = even_q - odd_q;
    to[5] = g[2];
#endif
}

/* Gᵀ u, of the products of gradients. */
INLINE void transform_kernel_gradient(floats *g, const floats *u)
{
#if WINOGRAD_OUTPUTS == 2
    floats even = 0.5f * (u[1] + u[2]);
    g[0] = u[0] + even;
    g[1] = 0.5f * (u[1] - u[2]);
    g[2] = even + u[3];
#else
    floats even = (-2.0f / 3) * (u[1] + u[2]), even_q = (1.0f / 6) * (u[3] + u[4]);
    g[0] = u[0] + even + even_q;
    g[1] = (-2.0f / 3 * P) * (u[1] - u[2]) + (Q / 6) * (u[3] - u[4]);
    g[2] = 0.5f * even + 2.0f * even_q + u[5];
#endif
}

#undef P
#undef Q

/* Bᵀ d of a tile's columns from `first` on. */
INLINE void transform_columns(const element *from, int64_t row, int64_t column, const int first,
                              floats half[SIDE][SIDE])
{
    for (int j = first; j < SIDE; j++) {
        floats d[SIDE], t[SIDE];
        for (int i = 0; i < SIDE; i++)
            d[i] = load(from + i * row + j * column, LANES);
        transform_input(t, d);
        for (int i = 0; i < SIDE; i++)
            half[i][j] = t[i];
    }
}

INLINE void transform_tile(const element *from, int64_t row, int64_t column, floats to[AREA])
{
    floats half[SIDE][SIDE];
    transform_columns(from, row, column, 0, half);
    for (int i = 0; i < SIDE; i++)
        transform_input(to + i * SIDE, half[i]);
}

#endif
