/* Activations after a norm, and their derivatives, for a register full of numbers. */

#ifndef RAVINE_ACTIVATION_H
#define RAVINE_ACTIVATION_H

#include "lanes.h"
#include "norm.h"

/* eˣ to 2 units in the last place, for x in [-87, 88]. */
INLINE floats exponential(floats x)
{
    x = choose(x < -87.0f, (floats){0} - 87.0f, x);
    x = choose(x > 88.0f, (floats){0} + 88.0f, x);
    floats shifted = x * 1.44269504f + 12582912.0f; /* 1.5·2²³: rounds to an integer */
    ints n = (ints)shifted - (ints)((floats){0} + 12582912.0f);
    floats r = x - (shifted - 12582912.0f) * 0.693359375f;
    r = r + (shifted - 12582912.0f) * 2.12194440e-4f; /* ln 2 in two parts */
    floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (floats)((ints)p + (n << 23));
}

/* The standard normal's density φ(z) and, in `below`, its distribution Φ(z) to 1e-7: erf as in
   Abramowitz, Stegun 1964, 7.1.26. */
INLINE floats normal(floats z, floats *below)
{
    floats size = (floats)((words)z & 0x7fffffffu);
    floats t = 1.0f / (1.0f + 0.23164188f * size); /* 0.3275911/√2 */
    floats density = exponential(-0.5f * z * z);
    floats p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    floats tail = 0.5f * p * t * density;
    *below = choose(z < 0.0f, tail, 1.0f - tail);
    return density * 0.398942280f;
}

INLINE floats activate(floats z, int kind)
{
    if (kind == RELU) /* NaN stays NaN */
        return choose(z <= 0.0f, (floats){0}, z);
    if (kind == GELU) {
        floats below;
        normal(z, &below);
        return z * below;
    }
    if (kind == SILU)
        return z / (1.0f + exponential(-z));
    return z;
}

/* dy times the derivative of the activation at z. */
INLINE floats activation_gradient(floats dy, floats z, int kind)
{
    if (kind == RELU)
        return choose(z <= 0.0f, (floats){0}, dy);
    if (kind == GELU) {
        floats below, density = normal(z, &below);
        return dy * (below + z * density);
    }
    if (kind == SILU) {
        floats s = 1.0f / (1.0f + exponential(-z));
        return dy * s * (1.0f + z * (1.0f - s));
    }
    return dy;
}

#endif
