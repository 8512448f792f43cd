"""Which images' features stand for all, where a budget does not let each pass the backbone.

The training images are dealt into at most 32 slices of evenly spaced ones, and features are made
slice by slice. An image without features is replaced by one close to it in the order of the images,
which mostly is one of its class.

Shape letters: N training images, R rows of features.
"""

import math

import numpy as np

_MOST, _LEAST = 32, 100  # slices; images in a slice


def slices_for(count: int) -> int:
    """Returns how many slices so many images are dealt into.

    >>> slices_for(50), slices_for(1000), slices_for(10**6)
    (1, 10, 32)
    """
    return min(_MOST, max(1, count // _LEAST))


def slice_of(index: np.ndarray, number: int) -> np.ndarray:
    """Returns the images of a slice, of the training images (N,)."""
    return index[number :: slices_for(len(index))]


def slices_of_share(share: float, count: int) -> int:
    """Returns how many slices make a share of N images, rounded up.

    >>> slices_of_share(0.31, 1000), slices_of_share(1, 1000)
    (4, 10)
    """
    return min(slices_for(count), max(1, math.ceil(share * slices_for(count))))


def rows_in_order(count: int, slices: int) -> np.ndarray:
    """Returns the positions (R,) int64 among N training images of rows that lie slice by slice.

    Args:
        count: N.
        slices: that there are, from the first on.

    >>> rows_in_order(300, 2)[[0, 1, 99, 100, 101]]
    array([  0,   3, 297,   1,   4])
    """
    every = slices_for(count)
    return np.concatenate([np.arange(number, count, every) for number in range(slices)])


def stand_ins(count: int, slices: int) -> np.ndarray:
    """Returns for each training image the position (N,) int64 of the one whose features it takes.

    >>> stand_ins(400, 3)[:8]
    array([0, 1, 2, 0, 4, 5, 6, 4])
    """
    own = np.arange(count)
    inside = own % slices_for(count)
    return own - inside + inside % slices
