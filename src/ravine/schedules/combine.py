"""Schedules of schedules: constants, floors, reversal, concatenation.

Each takes functions of progress and returns one, so that they nest in any order.
"""

import math
from bisect import bisect_right
from itertools import accumulate

from ravine.core.errors import SettingError
from ravine.core.validation import check_range
from ravine.schedules.curves import Schedule

_ROUNDING = 1e-9  # allowed distance of the sum of a chain's shares from 1


def level(factor: float) -> Schedule:
    """Returns the schedule that is `factor` throughout.

    >>> level(0.1)(0.7)
    0.1
    """
    check_range("factor", factor, low=0.0, high_open=True)
    return lambda progress: factor  # noqa: ARG005


def with_floor(inner: Schedule, *, floor: float) -> Schedule:
    """Returns `inner` mapped to [floor, 1]: floor + (1 − floor)·inner.

    >>> with_floor(lambda p: 1 - p, floor=0.2)(1.0)
    0.2
    """
    check_range("floor", floor, low=0.0, high=1.0)
    # In this form 0 gives the floor and 1 gives 1, without a rounding error.
    return lambda progress: floor * (1 - (f := inner(progress))) + f


def reverse(inner: Schedule) -> Schedule:
    """Returns `inner` run from its end to its start.

    >>> reverse(lambda p: 1 - p)(0.25)
    0.25
    """
    return lambda progress: inner(1 - progress)


def chain(*parts: tuple[float, Schedule]) -> Schedule:
    """Returns the concatenation of the parts, each over its share of progress.

    A boundary belongs to the later part. A chain is continuous if each part begins at
    the value at which the part before it ends.

    Args:
        *parts: (share of progress, schedule); the shares sum to 1.

    Raises:
        SettingError: a share is not positive, or their sum is not 1.

    >>> from ravine.schedules.curves import cosine, linear
    >>> rise_hold_fall = chain((0.1, reverse(linear)), (0.4, level(1.0)), (0.5, cosine))
    >>> rise_hold_fall(0.05), rise_hold_fall(0.3), rise_hold_fall(1.0)
    (0.5, 1.0, 0.0)
    """
    for share, _ in parts:
        check_range("share", share, low=0.0, high=1.0, low_open=True)
    total = math.fsum(share for share, _ in parts)
    if abs(total - 1) > _ROUNDING:
        raise SettingError(f"the shares of a chain must sum to 1, got {total:g}")
    starts = [0.0, *accumulate(share for share, _ in parts)][:-1]

    def factor(progress: float) -> float:
        index = max(0, bisect_right(starts, progress) - 1)
        share, inner = parts[index]
        return inner(min(1.0, max(0.0, (progress - starts[index]) / share)))

    return factor
