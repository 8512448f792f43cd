"""Student's t: its distribution function and quantiles.

With n degrees of freedom the lower tail is P(T < −t) = I(n/(n+t²); n/2, 1/2)/2. The regularised
incomplete beta function I is the continued fraction of Didonato, Morris, "Algorithm 708", 1992
(DLMF 8.17.22), evaluated by Lentz's method; no term of it cancels, so that a small tail keeps its
digits.
"""

import math
from functools import lru_cache

from ravine.core.validation import check_range

_ROUNDING, _TINY, _TERMS = 4e-16, 1e-300, 10_000


def student_t_cdf(freedom: float, t: float) -> float:
    """Returns P(T < t).

    Args:
        freedom: degrees of freedom, in [1, 1e5).
        t: any number, infinite ones included.

    >>> round(student_t_cdf(1, 1.0), 12), round(student_t_cdf(10, -2.0), 6)
    (0.75, 0.036694)
    """
    check_range("freedom", freedom, low=1, high=1e5)
    if math.isnan(t):
        return math.nan
    tail = _tail(freedom, abs(t))
    return tail if t < 0 else 1 - tail


@lru_cache(maxsize=4096)
def student_t_quantile(freedom: float, probability: float) -> float:
    """Returns the t with P(T < t) = `probability`.

    Args:
        freedom: degrees of freedom, in [1, 1e5).
        probability: in (0, 1); below 1e-12 and above 1 − 1e-12 the digits become fewer.

    >>> round(student_t_quantile(2, 0.975), 9)
    4.30265273
    """
    check_range("freedom", freedom, low=1, high=1e5)
    check_range("probability", probability, low=5e-324, high=1)
    if probability > 0.5:
        return -student_t_quantile(freedom, 1 - probability)
    low, high = 0.0, 1.0
    while _tail(freedom, high) > probability:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _tail(freedom, middle) > probability else (low, middle)
    return -middle


def _tail(freedom: float, t: float) -> float:
    """Returns P(T > t) for t ≥ 0."""
    if t == math.inf:
        return 0.0
    whole = freedom + t * t
    return _beta(freedom / whole, t * t / whole, freedom / 2, 0.5) / 2


def _beta(x: float, rest: float, a: float, b: float) -> float:
    """Returns I(x; a, b), where `rest` is 1 − x with all its digits."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _by_fraction(rest, x, b, a)
    return _by_fraction(x, rest, a, b)


def _by_fraction(x: float, rest: float, a: float, b: float) -> float:
    """Returns the same; the fraction converges fast where x ≤ (a+1)/(a+b+2)."""
    if x == 0:
        return 0.0
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(logarithm + a * math.log(x) + b * math.log(rest)) / a
    fraction, c, d = 1.0, 1.0, 0.0
    for k in range(1, _TERMS):
        m = k // 2
        if k % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        fraction *= c * d
        if abs(1 - c * d) < _ROUNDING:
            break
    return front / fraction
