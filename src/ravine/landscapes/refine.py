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
    from scipy import interpolate as curves
    from scipy import spatial
else:
    curves = lazy_module("scipy.interpolate")
    spatial = lazy_module("scipy.spatial")

_NEIGHBOURS = 60  # of the interpolation; more change nothing visible


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
        to_hole, to_known = (spatial.cKDTree(nodes).query(wanted)[0] for nodes in (holes, known))
        height[tuple(wanted[to_hole <= to_known].T)] = np.nan
    return height


def _smooth(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns (W,) values at the `wanted` (W, 2) nodes, from (N,) values at `known` (N, 2) ones."""
    flat = np.unique(known, axis=0).min(0) == known.max(0)
    if flat.any():  # all on a line
        axis = int(np.flatnonzero(~flat)[0]) if not flat.all() else 0
        return np.interp(wanted[:, axis], known[:, axis], values)
    count = len(values) if len(values) <= 400 else _NEIGHBOURS
    return curves.RBFInterpolator(known, values, kernel="cubic", degree=1, neighbors=count)(wanted)


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
    gap = spatial.cKDTree(computed).query(wanted)[0] if len(computed) else np.ones(len(wanted))
    priority = gap.astype(float)
    if finite.sum() >= 4 and min(loss.shape) > 1:
        known = np.argwhere(finite)
        positive = bool((loss[finite] > 0).all())
        values = np.log(loss[finite]) if positive else loss[finite]
        bend = np.abs(
            _smooth(known, values, wanted) - curves.LinearNDInterpolator(known, values)(wanted)
        )
        spread = float(np.ptp(values)) or 1.0
        # The gap breaks ties, and reaches where the computed nodes say nothing.
        priority = np.nan_to_num(bend / spread) + 1e-3 * gap**2
    return _spread_out(wanted, priority, most)


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
