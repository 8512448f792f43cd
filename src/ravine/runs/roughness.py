"""Roughness of a loss surface: the share that is not convex, and the range of the loss.

The two figures separate networks whose pictures Li et al. 2018 (arXiv 1712.09913) compare by eye.
They are computed from the loss itself, not its logarithm. All nodes use the same images, so that
their sampling error is common to neighbours and cancels in a difference; rounding does not.

Shape letters: X nodes along the first direction, Y along the second; a line has Y = 1.
"""

from collections.abc import Mapping

import numpy as np

# Relative rounding error of a mean loss, by the precision of the activations.
ROUNDING: Mapping[str, float] = {"float64": 1e-14, "float32": 1e-6, "bfloat16": 1e-3}
_RADIUS = 1.0  # of the paper's pictures, in units of the norm of the weights


def least_curvature(
    x: np.ndarray, y: np.ndarray, loss: np.ndarray, *, rounding: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest eigenvalue of the 2 × 2 Hessian at the inner nodes, and its rounding.

    Second differences of next neighbours, exact for a quadratic; on a line, its one second
    difference. NaN where a neighbour is a hole.

    Args:
        x: (X,) evenly spaced coordinates, X ≥ 3.
        y: (Y,) likewise, Y ≥ 3 or 1.
        loss: (Y, X), NaN for holes.
        rounding: relative error of a loss.

    Returns:
        (Y - 2, X - 2), for a line (1, X - 2): the eigenvalue, and a bound of its rounding
        error.
    """
    rows = slice(1, -1) if len(y) > 1 else slice(None)
    centre, dx = loss[rows, 1:-1], float(x[1] - x[0])
    xx = (loss[rows, 2:] - 2 * centre + loss[rows, :-2]) / dx**2
    if len(y) == 1:
        return xx, 4 * rounding * np.abs(centre) / dx**2
    dy = float(y[1] - y[0])
    yy = (loss[2:, 1:-1] - 2 * centre + loss[:-2, 1:-1]) / dy**2
    mixed = loss[2:, 2:] - loss[2:, :-2] - loss[:-2, 2:] + loss[:-2, :-2]
    xy = mixed / (4 * dx * dy)
    least = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    return least, 4 * rounding * np.abs(centre) * (1 / dx**2 + 1 / dy**2)


def roughness_of(
    x: np.ndarray, y: np.ndarray, loss: np.ndarray, *, precision: str = "float32"
) -> dict[str, float]:
    """Returns `non_convex` and `log_range` of a surface; NaN where the grid is too small.

    `non_convex` is the share of the inner nodes where the least curvature in the plane is negative
    beyond rounding; `log_range` is the largest minus the smallest log₁₀ loss within radius 1 of
    the centre, or within the axes where these are shorter.

    Args:
        x: (X,) evenly spaced coordinates.
        y: (Y,) likewise; one for a line.
        loss: (Y, X), NaN for holes.
        precision: in which the loss was computed, one of `ROUNDING`.
    """
    share = reach = float("nan")
    if len(x) >= 3 and (len(y) >= 3 or len(y) == 1):
        least, tolerance = least_curvature(x, y, loss, rounding=ROUNDING.get(precision, 1e-6))
        known = np.isfinite(least)
        if known.any():
            share = float((least[known] < -tolerance[known]).mean())
    near = np.hypot(*np.meshgrid(x, y)) <= _RADIUS * (1 + 1e-9)
    within = loss[near & np.isfinite(loss)]
    if within.size and (within > 0).all():
        reach = float(np.log10(within.max() / within.min()))
    return {"non_convex": share, "log_range": reach}
