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
import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.progress import Progress
from ravine.landscapes.node import FixedBatches, LossFunction, NodeLoss, node_loss
from ravine.landscapes.plane import Plane
from ravine.landscapes.refine import coarse_nodes, interpolate, next_nodes
from ravine.landscapes.trajectory import Point, load_point
from ravine.runs.surface import Surface

LEAST_NODES = 25
_AT_A_TIME = 12
_SAVE_EVERY = 5.0  # seconds
_FOR_TRAJECTORY = 0.3  # share of a budget


@dataclass(slots=True, kw_only=True)
class Ground:
    """What a node's loss depends on; all of it is fixed while a surface is made."""

    model: nn.Module
    plane: Plane
    loss: LossFunction
    batches: FixedBatches
    policy: str
    precision: torch.dtype
    buffers: Mapping[str, Tensor]

    def at(self, *coordinates: float) -> NodeLoss:
        """Returns the loss at a node, with the buffers of the centre."""
        for name, buffer in self.model.named_buffers():
            buffer.data.copy_(self.buffers[name])
        self.plane.go(*coordinates)
        return self._now()

    def at_point(self, point: Point) -> NodeLoss:
        """Returns the true loss of a saved point, with the buffers that were saved with it."""
        self.plane.put(load_point(point), self.model)
        return self._now()

    def _now(self) -> NodeLoss:
        return node_loss(
            self.model, self.loss, self.batches, policy=self.policy, precision=self.precision
        )


@dataclass(slots=True, kw_only=True)
class Deadline:
    """When to stop; never, without a budget."""

    seconds: float | None
    start: float = field(default_factory=time.monotonic)

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
        path_of: from (x, y) to plane coordinates, where they are not the same.
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
    loss: np.ndarray = field(init=False)
    error: np.ndarray = field(init=False)
    evaluated: np.ndarray = field(init=False)
    cost: float = 0.0
    before: float = 0.0
    _saved: float = 0.0
    _fresh: int = 0

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
        surface = self.surface()
        if self.out:
            surface.save(self.out)
        return surface

    def _missing(self, side: int) -> list[tuple[int, int]]:
        nodes = coarse_nodes(len(self.y), len(self.x), side)
        return [node for node in nodes if not self.evaluated[node]]

    def _compute(self, nodes: Sequence[tuple[int, int]]) -> None:
        for row, column in nodes:
            if not self.deadline.allows(self.cost):
                return
            began = time.monotonic()
            found = self.ground.at(*self._coordinates(float(self.x[column]), float(self.y[row])))
            self.loss[row, column], self.error[row, column] = found.loss, found.error
            self.evaluated[row, column] = True
            self._fresh += 1
            self.cost = max(0.9 * self.cost, time.monotonic() - began)
            self._tell()

    def _coordinates(self, x: float, y: float) -> tuple[float, ...]:
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
