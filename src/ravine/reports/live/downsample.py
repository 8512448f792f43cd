"""Curves of any length for a picture of some pixels: the least and the most of each pixel.

Nothing that a line through all points would show is lost: a spike of one step stays.
"""

from collections.abc import Sequence

import numpy as np


def visible(x: np.ndarray, low: float, high: float) -> slice:
    """Returns the part of a curve in [low, high], with the point before it and the one after it.

    Args:
        x: (N,) not falling.
        low: left edge of the picture.
        high: its right edge.
    """
    start = max(0, int(np.searchsorted(x, low, "left")) - 1)
    return slice(start, int(np.searchsorted(x, high, "right")) + 1)


def downsampled(x: np.ndarray, y: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a curve with two points for each bucket: its least value and its largest.

    Args:
        x: (N,) not falling.
        y: (N,) NaN where a value is not known; a bucket without any is NaN.
        buckets: of equal width in x.

    >>> x, y = downsampled(np.arange(6.0), np.array([0.0, 5.0, 1.0, 2.0, 2.0, 9.0]), 2)
    >>> x.tolist(), y.tolist()
    ([0.0, 2.0, 3.0, 5.0], [0.0, 5.0, 2.0, 9.0])
    """
    if len(x) <= 2 * buckets or buckets < 1:
        return x, y
    edges = np.linspace(x[0], x[-1], buckets + 1)[1:-1]
    starts = np.unique(np.concatenate([[0], np.searchsorted(x, edges, "left")]))
    starts = starts[starts < len(x)]
    ends = np.append(starts[1:], len(x)) - 1
    low, high = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    rises = ~(y[starts] > y[ends])
    values = np.where(rises, [low, high], [high, low])
    return np.stack([x[starts], x[ends]], 1).ravel(), values.T.ravel()


def evenly(count: int, most: int) -> Sequence[int]:
    """Returns at most `most` of the numbers 0..count-1, the first and the last among them.

    >>> list(evenly(10, 4)), list(evenly(3, 4))
    ([0, 3, 6, 9], [0, 1, 2])
    """
    if count <= most:
        return range(count)
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]
