"""The least value of a smooth function, by L-BFGS.

Liu, Nocedal, "On the limited memory BFGS method for large scale optimization", 1989. The step along
each direction is bisected until the weak Wolfe conditions hold, as in Lewis, Overton, "Nonsmooth
optimization via quasi-Newton methods", 2013; 1 is tried first and nearly always taken.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Evaluate = Callable[[Array], tuple[float, Array]]

_DECREASE, _CURVATURE = 1e-4, 0.9  # of the Wolfe conditions
_HALVINGS = 20  # of one step


@final
@dataclass(frozen=True, slots=True)
class Point:
    """A point with what was computed there.

    Attributes:
        x: (D,).
        value: of the function.
        gradient: (D,).
    """

    x: Array
    value: float
    gradient: Array


def minimise(
    evaluate: Evaluate,
    start: Array,
    *,
    iterations: int,
    history: int = 10,
    evaluations: int | None = None,
    least_gain: float = 2e-9,
    least_gradient: float = 1e-5,
) -> Point:
    """Returns the lowest point that was found.

    Args:
        evaluate: returns value and gradient (D,) at x (D,). What it raises ends the search.
        start: (D,).
        iterations: most steps.
        history: steps whose curvature is kept.
        evaluations: most calls of `evaluate`; without, only `iterations` limit them.
        least_gain: the search ends when a step gains less than this share of the larger of value
            and 1.
        least_gradient: or when no component of the gradient is larger.

    >>> found = minimise(lambda x: (float(x @ x), 2 * x), np.ones(3), iterations=9)
    >>> (found.x.round(9) + 0.0).tolist()
    [0.0, 0.0, 0.0]
    """
    left = [evaluations if evaluations is not None else iterations * _HALVINGS + 1]

    def at(x: Array) -> Point:
        left[0] -= 1
        return Point(x, *evaluate(x))

    here = at(start)
    pairs: deque[tuple[Array, Array]] = deque(maxlen=history)
    for _ in range(iterations):
        if not np.abs(here.gradient).max(initial=0.0) > least_gradient:  # NaN ends it too
            break
        step = _step_to_wolfe(at, here, _direction(here.gradient, pairs), left, bool(pairs))
        if step is None:
            break
        moved, bent = step.x - here.x, step.gradient - here.gradient
        if moved @ bent > 0:
            pairs.append((moved, bent))
        gain = here.value - step.value
        here = step
        if gain <= least_gain * max(abs(here.value), 1.0):
            break
    return here


def _direction(gradient: Array, pairs: deque[tuple[Array, Array]]) -> Array:
    """Returns −H·g, H the approximation of the inverse Hessian: the two-loop recursion."""
    found = -gradient
    shares = []
    for moved, bent in reversed(pairs):
        share = (moved @ found) / (moved @ bent)
        found = found - share * bent
        shares.append(share)
    if pairs:
        moved, bent = pairs[-1]
        found = found * ((moved @ bent) / (bent @ bent))
    for (moved, bent), share in zip(pairs, reversed(shares), strict=True):
        found = found + moved * (share - (bent @ found) / (moved @ bent))
    return found


def _step_to_wolfe(
    at: Callable[[Array], Point], here: Point, direction: Array, left: list[int], is_scaled: bool
) -> Point | None:
    """Returns a lower point along a direction; None where there is none, or no evaluation left."""
    slope = float(here.gradient @ direction)
    if not slope < 0:
        return None
    low, high, lowest = 0.0, math.inf, None
    length = 1.0 if is_scaled else min(1.0, 1 / float(np.linalg.norm(direction)))
    for _ in range(_HALVINGS):
        if left[0] <= 0:
            break
        tried = at(here.x + length * direction)
        if not tried.value <= here.value + _DECREASE * length * slope:
            high = length
        else:
            if lowest is None or tried.value < lowest.value:
                lowest = tried
            if float(tried.gradient @ direction) >= _CURVATURE * slope:
                return tried
            low = length
        length = (low + high) / 2 if high < math.inf else 2 * low
    return lowest
