"""The directions of a surface: those of each kind, and the ranges that follow from the kind."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from ravine.core.errors import SettingError
from ravine.core.seeds import generator_for
from ravine.landscapes.directions import Direction, difference, moved_parameters, random_direction
from ravine.landscapes.hessian import top_eigenvectors
from ravine.landscapes.node import FixedBatches, LossFunction
from ravine.landscapes.settings import SurfaceSettings
from ravine.landscapes.trajectory import Point, trajectory_plane

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionInputs:
    """Weights that span the directions of some kinds; see `landscape`.

    Attributes:
        points: for `trajectory`, the points before the model, the oldest first.
        steps: the epoch or step of each point and of the model itself.
        models: for `models`, the other ends; each is read once.
    """

    points: Sequence[Point] = ()
    steps: Sequence[float] | None = None
    models: Iterable[nn.Module] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDirections:
    """The directions of a surface.

    Attributes:
        directions: one or two.
        about: plain values that are kept in `Surface.about`.
        ranges: of the axes, for kinds that determine them.
        trajectory: (T,) arrays `epoch`, `x`, `y`, `off_plane`; empty for other kinds.
    """

    directions: list[Direction]
    about: dict[str, Any]
    ranges: tuple[Range, Range | None] | None = None
    trajectory: dict[str, np.ndarray] = field(default_factory=dict)


def choose_directions(
    model: nn.Module,
    loss: LossFunction,
    batches: FixedBatches,
    settings: SurfaceSettings,
    inputs: DirectionInputs,
) -> ChosenDirections:
    """Returns the directions of the kind `settings.along`."""
    if settings.along == "models":
        return _between_models(model, inputs.models)
    if settings.along == "trajectory":
        return _along_trajectory(model, inputs.points, inputs.steps)
    if settings.along == "hessian":
        return _along_eigenvectors(model, loss, batches, settings.seed)
    generator = generator_for("landscape", seed=settings.seed)
    first = random_direction(model, generator)
    about = {"labels": ["first direction", "second direction"]}
    if settings.along == "line":
        return ChosenDirections(directions=[first], about=about)
    second = random_direction(model, generator, orthogonal_to=first)
    return ChosenDirections(directions=[first, second], about=about)


def _along_eigenvectors(
    model: nn.Module, loss: LossFunction, batches: FixedBatches, seed: int
) -> ChosenDirections:
    pairs, own = top_eigenvectors(model, loss, batches, count=2, seed=seed), moved_parameters(model)
    values = [value for value, _ in pairs]
    scale = math.sqrt(sum(float((p.detach().double() ** 2).sum()) for p in own.values()))
    for _, vector in pairs:
        for part in vector:
            part.mul_(scale)
    labels = [f"eigenvector of {value:.4g}" for value in values]
    return ChosenDirections(
        directions=[vector for _, vector in pairs], about={"eigenvalues": values, "labels": labels}
    )


def _between_models(model: nn.Module, models: Iterable[nn.Module]) -> ChosenDirections:
    """Reads each other model once and releases it, so that a caller may load them one by one."""
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
    ends = (-0.5, 1.5) if len(directions) == 1 else (0.0, 2.0)
    about = {"labels": ["share of the way", ""], "stations": list(range(len(directions) + 1))}
    return ChosenDirections(directions=directions, about=about, ranges=(ends, None))


def _along_trajectory(
    model: nn.Module, points: Sequence[Point], steps: Sequence[float] | None
) -> ChosenDirections:
    found = trajectory_plane(model, points)
    marks = np.arange(len(points) + 1.0) if steps is None else np.asarray(steps, float)
    if len(marks) != len(points) + 1:
        raise SettingError(f"steps must name {len(points) + 1} points, got {len(marks)}")
    shares = [f"{100 * share:.1f} %" for share in found.explained]
    return ChosenDirections(
        directions=found.directions,
        about={
            "explained": list(found.explained),
            "labels": [f"component {n}, {s} of length²" for n, s in enumerate(shares, start=1)],
        },
        ranges=_trajectory_ranges(found.coordinates),
        trajectory={
            "epoch": marks,
            "x": found.coordinates[:, 0].copy(),
            "y": found.coordinates[:, 1].copy(),
            "off_plane": found.off_plane,
        },
    )


def _trajectory_ranges(coordinates: np.ndarray) -> tuple[Range, Range]:
    """Returns ranges that hold the (T, 2) points, with a margin."""
    widths = np.ptp(coordinates, axis=0)
    ranges: list[Range] = []
    for axis in range(2):
        low, high = coordinates[:, axis].min(), coordinates[:, axis].max()
        margin = max(0.25 * widths[axis], 0.2 * widths.max())
        ranges.append((float(low - margin), float(high + margin)))
    return ranges[0], ranges[1]
