"""Halton's sequence: points that fill the unit cube evenly, however many of them are taken.

Halton, "On the efficiency of certain quasi-random sequences of points in evaluating
multi-dimensional integrals", 1960. Coordinate j of point k has the digits of k in the j-th prime
base, mirrored at the point.
"""

import numpy as np
from numpy.typing import NDArray

_PRIMES = (2, 3, 5, 7, 11, 13)


def halton(count: int, axes: int) -> NDArray[np.float64]:
    """Returns the first `count` points (count, axes) in [0, 1); the first is 0.

    Args:
        count: at least 0.
        axes: 1 to 6.

    >>> halton(4, 2).round(3).tolist()
    [[0.0, 0.0], [0.5, 0.333], [0.25, 0.667], [0.75, 0.111]]
    """
    columns = [[_mirrored(k, base) for k in range(count)] for base in _PRIMES[:axes]]
    return np.array(columns, np.float64).T.reshape(count, axes)


def _mirrored(number: int, base: int) -> float:
    value, unit = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        unit /= base
        value += unit * digit
    return value
