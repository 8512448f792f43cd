/* Powers of a register full of numbers. */

#ifndef RAVINE_POWER_H
#define RAVINE_POWER_H

#include <float.h>
#include <math.h>

#include "lanes.h"

/* sᵉ of one exponent e, also in two parts, of which the first has 12 bits: times the exponent of s, of
   8, it is exact. */
struct power {
    double exact;
    float all, first, rest;
};

INLINE struct power power_of(double exponent)
{
    struct power p = {.exact = exponent, .all = (float)exponent};
    uint32_t bits;
    memcpy(&bits, &p.all, sizeof bits);
    bits &= 0xfffff000u;
    memcpy(&p.first, &bits, sizeof bits);
    p.rest = (float)(exponent - (double)p.first);
    return p;
}

INLINE int is_any(ints mask)
{
    uint64_t parts[LANES / 2], all = 0;
    memcpy(parts, &mask, sizeof mask);
    for (int i = 0; i < LANES / 2; i++)
        all |= parts[i];
    return all != 0;
}

/* log₂ of m in [√½, √2], by the series of the inverse hyperbolic tangent. */
INLINE floats logarithm_near_one(floats m)
{
    floats z = (m - 1.0f) / (m + 1.0f), square = z * z;
    floats p = square * 0.3205988979f + 0.4121985830f; /* 2/(9·ln 2), 2/(7·ln 2) and so on */
    p = p * square + 0.5770780163f;
    p = p * square + 0.9617966939f;
    return z * (p * square) + z * 2.8853900818f;
}

/* 2ʳ for r in [-½, ½]: exp2f of Moshier's Cephes library. */
INLINE floats small_power_of_two(floats r)
{
    floats p = r * 1.535336188319500e-4f + 1.339887440266574e-3f;
    p = p * r + 9.618437357674640e-3f;
    p = p * r + 5.550332471162809e-2f;
    p = p * r + 2.402264791363012e-1f;
    p = p * r + 6.931472028550421e-1f;
    return p * r + 1.0f;
}

static __attribute__((noinline)) floats raise_one_by_one(floats s, double exponent)
{
    float lanes[LANES];
    store_floats(lanes, s, LANES);
    for (int i = 0; i < LANES; i++)
        lanes[i] = (float)pow((double)lanes[i], exponent);
    return load_floats(lanes, LANES);
}

/* sᵉ to 4 units in the last place; where s or that is not normal and positive, the C library's. */
INLINE floats raise(floats s, struct power e)
{
    words shifted_bits = (words)s - 0x3f3504f3u; /* of √½: from there on the exponent is one more */
    ints whole = (ints)shifted_bits >> 23;
    floats m = (floats)((words)s - ((words)whole << 23));
    floats exponent = __builtin_convertvector(whole, floats);
    floats first = exponent * e.first, rest = exponent * e.rest + logarithm_near_one(m) * e.all;
    floats shifted = first + rest + 12582912.0f; /* 1.5·2²³: rounds to an integer */
    floats nearest = shifted - 12582912.0f;
    ints n = (ints)shifted - (ints)((floats){0} + 12582912.0f);
    floats power = (floats)((ints)small_power_of_two(first - nearest + rest) + (n << 23));
    ints is_plain = (s >= FLT_MIN) & (s <= FLT_MAX) & (nearest > -125.0f) & (nearest < 125.0f);
    return is_any(~is_plain) ? raise_one_by_one(s, e.exact) : power;
}

#endif
