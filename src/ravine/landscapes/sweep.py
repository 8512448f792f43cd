"""The sweep: computes the nodes of a surface in the order of their value, and saves on the way.

A fixed grid computes all nodes. A budget computes a coarse grid first (a picture from 25 nodes
on), then the trajectory's points, then nodes where the surface bends, until the time is up; a
later call with the same weights, batches and settings continues there.

Shape letters: X nodes along the first direction, Y along the second, T points of a trajectory.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.progress import Progress
from ravine.landscapes.deadline import LEAST_NODES, Deadline
from ravine.landscapes.evaluator import GridEvaluator
from ravine.landscapes.node_pool import NodePool, SequentialPool
from ravine.landscapes.refine import coarse_nodes, interpolate, next_nodes
from ravine.landscapes.trajectory import Point
from ravine.runs.surface import Surface

_CHUNK = 12  # nodes that are chosen at a time
_SAVE_EVERY = 5.0  # seconds
_FOR_TRAJECTORY = 0.3  # share of a budget


@dataclass(slots=True, kw_only=True)
class Sweep:
    """The arrays of a surface while it is computed.

    Args:
        evaluator: of the model itself.
        x: (X,) coordinates along the first direction.
        y: (Y,) coordinates along the second.
        about: what is known beforehand.
        deadline: of the budget.
        progress: is called after each chunk of nodes.
        out: an .npz to save to, or None.
        points: of the trajectory, without the last one, which is the centre.
        trajectory: (T,) `epoch`, `x`, `y`, `off_plane`, the last point's included.
        is_path: the axis runs along the first direction, then from its end along the second.
        pool: computes the nodes; without one, `evaluator` does.
        sharpness: what `curvature` returned.
        node_seconds: of a node, a running estimate.
    """

    evaluator: GridEvaluator
    x: np.ndarray
    y: np.ndarray
    about: dict[str, Any]
    deadline: Deadline
    progress: Progress
    out: Path | None
    points: Sequence[Point] = ()
    trajectory: dict[str, np.ndarray] = field(default_factory=dict)
    is_path: bool = False
    pool: NodePool | None = None
    sharpness: Mapping[str, np.ndarray] = field(default_factory=dict)
    node_seconds: float = 0.0
    loss: np.ndarray = field(init=False)
    error: np.ndarray = field(init=False)
    evaluated: np.ndarray = field(init=False)
    _earlier_seconds: float = 0.0
    _saved_at: float = 0.0

    def __post_init__(self) -> None:
        shape = (len(self.y), len(self.x))
        self.loss, self.error = np.full(shape, np.nan), np.full(shape, np.nan)
        self.evaluated = np.zeros(shape, bool)
        if self.trajectory:
            count = len(self.trajectory["x"])
            for name in ("loss", "plane_loss"):
                self.trajectory.setdefault(name, np.full(count, np.nan))

    def continue_from(self, surface: Surface) -> None:
        """Takes over the nodes that an earlier call computed."""
        self.loss[:], self.error[:] = surface.loss, surface.standard_error
        self.evaluated[:] = surface.evaluated
        self.trajectory |= {k: np.array(v) for k, v in surface.trajectory.items()}
        self.sharpness = surface.sharpness
        self.about["radius"] = surface.about.get("radius")
        self._earlier_seconds = float(surface.about.get("seconds", 0.0))

    def run(self) -> Surface:
        """Returns the surface when all nodes are computed or the time is up."""
        if self.deadline.seconds is None:
            self._compute(self._missing(len(self.x) + len(self.y)))
            self._compute_trajectory(share=1.0)
        else:
            self._compute(self._missing(5 if len(self.y) > 1 else LEAST_NODES))
            self._compute_trajectory(share=_FOR_TRAJECTORY)
            self._compute(self._missing(9))
            while not self.evaluated.all() and self.deadline.allows(self.node_seconds):
                self._compute(next_nodes(self.loss, self.evaluated, _CHUNK))
            self._compute_trajectory(share=1.0)
        return self.save()

    def save(self) -> Surface:
        """Returns the surface, written to `out` where there is one."""
        surface = self.surface()
        if self.out:
            surface.save(self.out)
        return surface

    def _missing(self, side: int) -> list[tuple[int, int]]:
        nodes = coarse_nodes(len(self.y), len(self.x), side)
        return [node for node in nodes if not self.evaluated[node]]

    def _compute(self, nodes: Sequence[tuple[int, int]]) -> None:
        pool: NodePool = self.pool or SequentialPool(self.evaluator)
        for start in range(0, len(nodes), pool.size):
            chunk = nodes[start : start + pool.size]
            if not self.deadline.allows(self.node_seconds):
                return
            began = time.monotonic()
            targets = [self.coordinates(float(self.x[c]), float(self.y[r])) for r, c in chunk]
            for node, found in zip(chunk, pool.losses(targets), strict=True):
                self.loss[node], self.error[node] = found.loss, found.error
                self.evaluated[node] = True
            self.node_seconds = max(0.9 * self.node_seconds, time.monotonic() - began)
            self._report_progress()

    def coordinates(self, x: float, y: float) -> tuple[float, ...]:
        """Returns the coordinates along the directions of a point of the axes."""
        if self.is_path:  # the first leg, then the second from its end
            return min(x, 1.0), max(x - 1.0, 0.0)
        return (x, y) if len(self.y) > 1 else (x,)

    def _compute_trajectory(self, *, share: float) -> None:
        """Computes true and projected losses, the ends first, then ever finer between them."""
        if not self.trajectory:
            return
        last = len(self.points)
        order = dict.fromkeys(
            round(v) for side in range(2, last + 2) for v in np.linspace(0, last, side).tolist()
        )
        for index in order:
            if math.isfinite(self.trajectory["loss"][index]):
                continue
            if not self.deadline.allows(2 * self.node_seconds, share=share):
                return
            self._compute_point(index, is_centre=index == last)
            self.progress("points of the trajectory", index, last)

    def _compute_point(self, index: int, *, is_centre: bool) -> None:
        projection = float(self.trajectory["x"][index]), float(self.trajectory["y"][index])
        on_plane = self.evaluator.loss_at(*projection).loss
        self.trajectory["plane_loss"][index] = on_plane
        true = on_plane if is_centre else self.evaluator.loss_of(self.points[index]).loss
        self.trajectory["loss"][index] = true

    def _report_progress(self) -> None:
        used, whole = self.deadline.used, self.deadline.seconds
        if whole is None:
            self.progress("nodes of the surface", int(self.evaluated.sum()), self.evaluated.size)
        else:
            self.progress("seconds of the budget", min(int(used), int(whole)), int(whole))
        if self.out and used - self._saved_at >= _SAVE_EVERY:
            self.surface().save(self.out)
            self._saved_at = used

    def surface(self) -> Surface:
        """Returns the surface with the nodes that are computed by now."""
        computed = int(self.evaluated.sum())
        about = self.about | {
            "nodes": computed,
            "of_nodes": self.evaluated.size,
            "seconds": round(self._earlier_seconds + self.deadline.used, 2),
        }
        return Surface(
            x=self.x,
            y=self.y,
            loss=self.loss.copy(),
            standard_error=self.error.copy(),
            evaluated=self.evaluated.copy(),
            height=interpolate(self.loss, self.evaluated),
            about=about,
            trajectory=dict(self.trajectory),
            sharpness=dict(self.sharpness),
        )
