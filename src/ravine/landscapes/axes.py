"""Where a surface lies: directions of a named kind, and what follows from the kind."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from ravine.core.errors import SettingError
from ravine.core.seeds import generator_for
from ravine.landscapes.directions import Direction, difference, moved_parameters, random_direction
from ravine.landscapes.node import FixedBatches, LossFunction
from ravine.landscapes.sharpness import top_eigenvectors
from ravine.landscapes.trajectory import Point, trajectory_plane

Axis = tuple[float, float, int]
KINDS: Mapping[str, str] = {
    "random": "two random directions, filter-normalised",
    "line": "one random direction, filter-normalised",
    "trajectory": "principal components of the trajectory, about its last point",
    "models": "from model to model",
    "hessian": "eigenvectors of the two largest eigenvalues of the Hessian",
}
PLANES = ("random", "trajectory", "hessian")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Directions, what is said about them, and where they ask for it the axes and trajectory."""

    directions: list[Direction]
    about: dict[str, Any]
    axes: tuple[Axis, Axis | None] | None = None
    trajectory: dict[str, np.ndarray] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller asked for; see `landscape`."""

    along: str
    points: Sequence[Point]
    steps: Sequence[float] | None
    models: Iterable[nn.Module]
    seed: int


def choose(model: nn.Module, loss: LossFunction, batches: FixedBatches, wish: Wish) -> Choice:
    """Returns the directions of the kind `wish.along`."""
    if wish.along == "models":
        return _between(model, wish.models)
    if wish.along == "trajectory":
        return _along_trajectory(model, wish.points, wish.steps)
    if wish.along == "hessian":
        return _along_eigenvectors(model, loss, batches, wish.seed)
    chance = generator_for("landscape", seed=wish.seed)
    first = random_direction(model, chance)
    about = {"labels": ["first direction", "second direction"]}
    if wish.along == "line":
        return Choice(directions=[first], about=about)
    second = random_direction(model, chance, orthogonal_to=first)
    return Choice(directions=[first, second], about=about)


def _along_eigenvectors(
    model: nn.Module, loss: LossFunction, batches: FixedBatches, seed: int
) -> Choice:
    pairs, own = top_eigenvectors(model, loss, batches, count=2, seed=seed), moved_parameters(model)
    values = [value for value, _ in pairs]
    scale = math.sqrt(sum(float((p.detach().double() ** 2).sum()) for p in own.values()))
    for _, vector in pairs:
        for part in vector:
            part.mul_(scale)
    labels = [f"eigenvector of {value:.4g}" for value in values]
    return Choice(
        directions=[vector for _, vector in pairs], about={"eigenvalues": values, "labels": labels}
    )


def _between(model: nn.Module, models: Iterable[nn.Module]) -> Choice:
    """Reads each other model once and lets it go, so that a caller may load them one by one."""
    directions: list[Direction] = []
    for other in models:
        leg = difference(model, other)
        for before in directions:
            for part, done in zip(leg, before, strict=True):
                part.sub_(done)
        directions.append(leg)
        del other, leg
    if len(directions) not in (1, 2):
        raise SettingError(f"along='models' needs one or two other models, got {len(directions)}")
    ends = (-0.5, 1.5, 51) if len(directions) == 1 else (0.0, 2.0, 51)
    about = {"labels": ["share of the way", ""], "stations": list(range(len(directions) + 1))}
    return Choice(directions=directions, about=about, axes=(ends, None))


def _along_trajectory(
    model: nn.Module, points: Sequence[Point], steps: Sequence[float] | None
) -> Choice:
    found = trajectory_plane(model, points)
    axes = []
    widths = np.ptp(found.places, axis=0)
    for axis in range(2):
        low, high = found.places[:, axis].min(), found.places[:, axis].max()
        margin = max(0.25 * widths[axis], 0.2 * widths.max())
        axes.append((float(low - margin), float(high + margin), 51))
    marks = np.arange(len(points) + 1.0) if steps is None else np.asarray(steps, float)
    if len(marks) != len(points) + 1:
        raise SettingError(f"steps must name {len(points) + 1} points, got {len(marks)}")
    shares = [f"{100 * share:.1f} %" for share in found.explained]
    return Choice(
        directions=found.directions,
        about={
            "explained": list(found.explained),
            "labels": [f"component {n}, {s} of length²" for n, s in enumerate(shares, start=1)],
        },
        axes=(axes[0], axes[1]),
        trajectory={
            "epoch": marks,
            "x": found.places[:, 0].copy(),
            "y": found.places[:, 1].copy(),
            "off_plane": found.off_plane,
        },
    )
