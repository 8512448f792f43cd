"""Which nodes to compute next, and the interpolation between them: a coarse grid first, then where
the surface bends.

The logarithm of the loss is interpolated by cubic radial functions (Duchon 1977), the surface
of least bending of its kind. The priority of a node is the difference from linear interpolation,
which is the bend times the square of the gap.
"""

from typing import TYPE_CHECKING

import numpy as np

from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from matplotlib import tri
else:
    tri = lazy_module("matplotlib.tri")

_ALL = 400  # nodes, up to which each takes part everywhere
_NEIGHBOURS = 60  # of the interpolation beyond; more change nothing visible


def coarse_nodes(rows: int, columns: int, side: int) -> list[tuple[int, int]]:
    """Returns an even sub-grid of about `side` × `side` nodes, corners included.

    >>> coarse_nodes(5, 3, 2)
    [(0, 0), (0, 2), (4, 0), (4, 2)]
    """

    def even(count: int) -> list[int]:
        return sorted({round(v) for v in np.linspace(0, count - 1, min(side, count)).tolist()})

    return [(row, column) for row in even(rows) for column in even(columns)]


def interpolate(loss: np.ndarray, evaluated: np.ndarray) -> np.ndarray:
    """Returns the loss at all nodes (Y, X), those not computed interpolated in its logarithm.

    A node next to a hole, a computed node whose loss is not finite, is a hole too (NaN), unless it
    was computed itself. Where a loss is not positive, the loss itself is interpolated.

    Args:
        loss: (Y, X) float64, read where computed.
        evaluated: (Y, X) bool.
    """
    finite = evaluated & np.isfinite(loss)
    height = np.where(finite, loss, np.nan)
    missing = ~evaluated
    if not missing.any() or finite.sum() < 3:
        return height
    known, wanted = np.argwhere(finite), np.argwhere(missing)
    logarithmic = bool((loss[finite] > 0).all())
    values = np.log(loss[finite]) if logarithmic else loss[finite]
    found = _smooth(known, values, wanted)
    height[missing] = np.exp(found) if logarithmic else found
    holes = np.argwhere(evaluated & ~np.isfinite(loss))
    if len(holes):
        to_hole, to_known = (_distances(wanted, nodes).min(1) for nodes in (holes, known))
        height[tuple(wanted[to_hole <= to_known].T)] = np.nan
    return height


def _smooth(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns (W,) values at the `wanted` (W, 2) nodes, from (N,) values at `known` (N, 2) ones."""
    flat = np.unique(known, axis=0).min(0) == known.max(0)
    if flat.any():  # all on a line
        axis = int(np.flatnonzero(~flat)[0]) if not flat.all() else 0
        return np.interp(wanted[:, axis], known[:, axis], values)
    if len(values) <= _ALL:
        return _cubic(known[None], values[None], wanted[None])[0]
    nearest = np.argsort(_distances(wanted, known), axis=1, kind="stable")[:, :_NEIGHBOURS]
    return _cubic(known[nearest], values[nearest], wanted[:, None])[:, 0]


def _cubic(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns (B, W) values at `wanted` (B, W, 2), from (B, N) values at `known` (B, N, 2).

    The interpolant is a plane plus a cubic function |x − xₙ|³ at each known node; their weights
    are orthogonal to every plane.
    """
    batch, count = values.shape
    centre = known.mean(1, keepdims=True)
    size = np.maximum(np.abs(known - centre).max((1, 2), keepdims=True), 1.0)
    at, to = (known - centre) / size, (wanted - centre) / size
    system = np.zeros((batch, count + 3, count + 3))
    system[:, :count, :count] = _distances(at, at) ** 3
    system[:, :count, count:] = _planes(at)
    system[:, count:, :count] = _planes(at).transpose(0, 2, 1)
    right = np.concatenate([values, np.zeros((batch, 3))], 1)[:, :, None]
    weights = np.linalg.solve(system, right)
    terms = np.concatenate([_distances(to, at) ** 3, _planes(to)], 2)
    return (terms @ weights)[:, :, 0]


def _planes(points: np.ndarray) -> np.ndarray:
    """Returns 1, x, y (B, N, 3) of points (B, N, 2)."""
    return np.concatenate([np.ones_like(points[..., :1]), points], -1)


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the distances (…, N, M) of points (…, N, 2) from others (…, M, 2)."""
    squares = [(one[..., :, None, k] - other[..., None, :, k]) ** 2.0 for k in range(2)]
    return np.sqrt(squares[0] + squares[1])


def next_nodes(loss: np.ndarray, evaluated: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Returns up to `most` nodes (row, column) of the highest priority, spread out.

    Args:
        loss: (Y, X), NaN where not computed.
        evaluated: (Y, X) bool.
        most: nodes to return.
    """
    finite = evaluated & np.isfinite(loss)
    wanted = np.argwhere(~evaluated)
    if not len(wanted):
        return []
    computed = np.argwhere(evaluated)
    gap = _distances(wanted, computed).min(1) if len(computed) else np.ones(len(wanted))
    priority = gap
    if finite.sum() >= 4 and min(loss.shape) > 1:
        known = np.argwhere(finite)
        positive = bool((loss[finite] > 0).all())
        values = np.log(loss[finite]) if positive else loss[finite]
        bend = np.abs(_smooth(known, values, wanted) - _flat(known, values, wanted))
        spread = float(np.ptp(values)) or 1.0
        # The gap breaks ties, and reaches where the computed nodes say nothing.
        priority = np.nan_to_num(bend / spread) + 1e-3 * gap**2
    return _spread_out(wanted, priority, most)


def _flat(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns (W,) values, linear in each of Delaunay's triangles; NaN outside of them all."""
    try:
        triangles = tri.Triangulation(*known.T)
    except (RuntimeError, ValueError):  # all on a line
        return np.full(len(wanted), np.nan)
    return tri.LinearTriInterpolator(triangles, values)(*wanted.T).filled(np.nan)


def _spread_out(wanted: np.ndarray, priority: np.ndarray, most: int) -> list[tuple[int, int]]:
    chosen: list[tuple[int, int]] = []
    taken = np.zeros((wanted[:, 0].max() + 3, wanted[:, 1].max() + 3), bool)
    for index in np.argsort(-priority, kind="stable"):
        row, column = (int(v) for v in wanted[index])
        if taken[row + 1, column + 1]:
            continue
        chosen.append((row, column))
        taken[row : row + 3, column : column + 3] = True
        if len(chosen) == most:
            break
    return chosen
