"""The roughness of a surface: the share where it is not convex, and the range of its loss.

The two figures separate networks whose pictures Li et al. 2018 (arXiv 1712.09913) compare by eye.
They describe the loss itself, not its logarithm, on the images that it was computed on: these are
the same at every node, so that neighbours share their sampling error and it cancels in a
difference. Only rounding remains.

Shape letters: X nodes along the first direction, Y along the second; a line has Y = 1.
"""

from collections.abc import Mapping

import numpy as np

# Relative rounding error of a mean loss, by the precision of activations.
ROUNDING: Mapping[str, float] = {"float64": 1e-14, "float32": 1e-6, "bfloat16": 1e-3}
_RADIUS = 1.0  # of the paper's pictures: the direction is as long as the weights


def least_curvature(
    x: np.ndarray, y: np.ndarray, loss: np.ndarray, *, rounding: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest eigenvalue of the 2 × 2 Hessian at the inner nodes, and its rounding.

    Second differences of next neighbours, exact for a quadratic; of a line, its one second
    difference. NaN where a neighbour is a hole.

    Args:
        x: (X,) evenly spaced coordinates, X ≥ 3.
        y: (Y,) the same, Y ≥ 3 or 1.
        loss: (Y, X), NaN for holes.
        rounding: relative error of a loss.

    Returns:
        (Y - 2, X - 2), for a line (1, X - 2): the eigenvalue, and a bound of its rounding error.
    """
    rows = slice(1, -1) if len(y) > 1 else slice(None)
    here, wide = loss[rows, 1:-1], float(x[1] - x[0])
    xx = (loss[rows, 2:] - 2 * here + loss[rows, :-2]) / wide**2
    if len(y) == 1:
        return xx, 4 * rounding * np.abs(here) / wide**2
    high = float(y[1] - y[0])
    yy = (loss[2:, 1:-1] - 2 * here + loss[:-2, 1:-1]) / high**2
    crossed = loss[2:, 2:] - loss[2:, :-2] - loss[:-2, 2:] + loss[:-2, :-2]
    xy = crossed / (4 * wide * high)
    least = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    return least, 4 * rounding * np.abs(here) * (1 / wide**2 + 1 / high**2)


def roughness_of(
    x: np.ndarray, y: np.ndarray, loss: np.ndarray, *, precision: str = "float32"
) -> dict[str, float]:
    """Returns `non_convex` and `log_range` of a surface; NaN where it is too small for them.

    `non_convex` is the share of the area, boundary nodes left out, where the least curvature
    in the plane is negative beyond rounding; `log_range` is the largest less the smallest
    log₁₀ loss within radius 1 of the centre, or within the axes where these are shorter.

    Args:
        x: (X,) evenly spaced coordinates.
        y: (Y,) the same; one value for a line.
        loss: (Y, X), NaN for holes.
        precision: of the computed loss, one of `ROUNDING`.
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
