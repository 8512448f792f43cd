"""A surface in the making: nodes computed in the order of their worth, saved as it goes.

A fixed grid computes all nodes. A budget computes a coarse grid first (a picture from 25 nodes
on), then the trajectory's points, then nodes where the surface bends, until the time is up; a
later call with the same weights, batches and settings goes on where it ended.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import SettingError
from ravine.core.progress import Progress
from ravine.landscapes.evaluator import Ground
from ravine.landscapes.node_pool import Alone, Crew
from ravine.landscapes.refine import coarse_nodes, interpolate, next_nodes
from ravine.landscapes.trajectory import Point
from ravine.runs.surface import Surface

LEAST_NODES = 25
_AT_A_TIME = 12
_SAVE_EVERY = 5.0  # seconds
_FOR_TRAJECTORY = 0.3  # share of a budget


@dataclass(slots=True, kw_only=True)
class Deadline:
    """When to stop; never, without a budget."""

    seconds: float | None
    start: float = field(default_factory=lambda: time.monotonic())

    @property
    def used(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self.start

    def allows(self, cost: float, *, share: float = 1.0) -> bool:
        """Returns whether work of `cost` seconds still fits into `share` of the budget."""
        return self.seconds is None or self.used + cost <= share * self.seconds


@dataclass(slots=True, kw_only=True)
class Survey:
    """The arrays of a surface that is being made.

    Args:
        x: (X,) places.
        y: (Y,) places.
        about: what is known beforehand.
        points: of the trajectory, without the last one, which is the centre.
        trajectory: their `step`, `epoch`, `x`, `y`, `off_plane`, the last point's included.
        is_path: the axis leads along the first direction, then from its end along the second.
        crew: who computes the nodes; without one, `ground` does.
        sharpness: what `curvature` found.
    """

    ground: Ground
    x: np.ndarray
    y: np.ndarray
    about: dict[str, Any]
    deadline: Deadline
    progress: Progress
    out: Path | None
    points: Sequence[Point] = ()
    trajectory: dict[str, np.ndarray] = field(default_factory=dict)
    is_path: bool = False
    crew: Crew | None = None
    sharpness: Mapping[str, np.ndarray] = field(default_factory=dict)
    loss: np.ndarray = field(init=False)
    error: np.ndarray = field(init=False)
    evaluated: np.ndarray = field(init=False)
    cost: float = 0.0
    before: float = 0.0
    _saved: float = 0.0

    def __post_init__(self) -> None:
        shape = (len(self.y), len(self.x))
        self.loss, self.error = np.full(shape, np.nan), np.full(shape, np.nan)
        self.evaluated = np.zeros(shape, bool)
        if self.trajectory:
            count = len(self.trajectory["x"])
            for name in ("loss", "plane_loss"):
                self.trajectory.setdefault(name, np.full(count, np.nan))

    def go_on_from(self, surface: Surface) -> None:
        """Takes over the nodes that an earlier call computed."""
        self.loss[:], self.error[:] = surface.loss, surface.standard_error
        self.evaluated[:] = surface.evaluated
        self.trajectory |= {k: np.array(v) for k, v in surface.trajectory.items()}
        self.sharpness = surface.sharpness
        self.before = float(surface.about.get("seconds", 0.0))

    def run(self) -> Surface:
        """Returns the surface when all nodes are computed or the time is up."""
        if self.deadline.seconds is None:
            self._compute(self._missing(len(self.x) + len(self.y)))
            self._compute_trajectory(share=1.0)
        else:
            self._compute(self._missing(5 if len(self.y) > 1 else LEAST_NODES))
            self._compute_trajectory(share=_FOR_TRAJECTORY)
            self._compute(self._missing(9))
            while not self.evaluated.all() and self.deadline.allows(self.cost):
                self._compute(next_nodes(self.loss, self.evaluated, _AT_A_TIME))
            self._compute_trajectory(share=1.0)
        return self.finished()

    def finished(self) -> Surface:
        """Returns the surface, saved."""
        surface = self.surface()
        if self.out:
            surface.save(self.out)
        return surface

    def _missing(self, side: int) -> list[tuple[int, int]]:
        nodes = coarse_nodes(len(self.y), len(self.x), side)
        return [node for node in nodes if not self.evaluated[node]]

    def _compute(self, nodes: Sequence[tuple[int, int]]) -> None:
        crew: Crew = self.crew or Alone(self.ground)
        for start in range(0, len(nodes), crew.places):
            chunk = nodes[start : start + crew.places]
            if not self.deadline.allows(self.cost):
                return
            began = time.monotonic()
            spots = [self.spot(float(self.x[c]), float(self.y[r])) for r, c in chunk]
            for node, found in zip(chunk, crew.losses(spots), strict=True):
                self.loss[node], self.error[node] = found.loss, found.error
                self.evaluated[node] = True
            self.cost = max(0.9 * self.cost, time.monotonic() - began)
            self._tell()

    def spot(self, x: float, y: float) -> tuple[float, ...]:
        """Returns the coordinates in the directions of a place on the axes."""
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
            if not self.deadline.allows(2 * self.cost, share=share):
                return
            place = float(self.trajectory["x"][index]), float(self.trajectory["y"][index])
            on_plane = self.ground.at(*place).loss
            self.trajectory["plane_loss"][index] = on_plane
            true = on_plane if index == last else self.ground.at_point(self.points[index]).loss
            self.trajectory["loss"][index] = true
            self.progress("points of the trajectory", index, last)

    def _tell(self) -> None:
        used, whole = self.deadline.used, self.deadline.seconds
        if whole is None:
            self.progress("nodes of the surface", int(self.evaluated.sum()), self.evaluated.size)
        else:
            self.progress("seconds of the budget", min(int(used), int(whole)), int(whole))
        if self.out and used - self._saved >= _SAVE_EVERY:
            self.surface().save(self.out)
            self._saved = used

    def surface(self) -> Surface:
        """Returns what is known by now."""
        computed = int(self.evaluated.sum())
        about = self.about | {
            "nodes": computed,
            "of_nodes": self.evaluated.size,
            "seconds": round(self.before + self.deadline.used, 2),
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


def check_time(deadline: Deadline, cost: float, nodes: int) -> None:
    """Raises `SettingError` if the rest of the budget is too short for a picture."""
    if deadline.seconds is None or nodes >= LEAST_NODES:
        return
    left = deadline.seconds - deadline.used
    fits = max(0, int(left / max(cost, 1e-9))) + nodes
    if fits < LEAST_NODES:
        needed = math.ceil(deadline.seconds - left + 1.2 * LEAST_NODES * cost)
        raise SettingError(
            f"budget {deadline.seconds:g} s is too short: it leaves {fits} nodes of {cost:.2g} s, "
            f"and a picture needs {LEAST_NODES}; give at least {needed} s, or smaller batches"
        )


def automatic_radius(ground: Ground, centre: float, *, two: bool) -> float:
    """Returns the radius at which the loss has grown tenfold, between 1/16 and 1.

    1 is the radius of the paper's pictures: the direction is as long as the weights.
    """
    ends = [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)] if two else [(1.0,), (-1.0,)]
    radius = 1 / 16
    while radius < 1:
        found = [ground.at(*(radius * c for c in end)).loss for end in ends]
        grown = [v for v in found if not math.isfinite(v) or v >= 10 * abs(centre)]
        if len(grown) == len(ends):
            break
        radius *= 2
    return radius
