"""Measured rates beside the theory, on a quadratic, by the optimizers' own steps."""

import math
from dataclasses import dataclass
from typing import final

import torch

from ravine.optim.momentum import Momentum
from ravine.test_functions import theory
from ravine.test_functions.candidates import Racer
from ravine.test_functions.problem import Point, Scene
from ravine.test_functions.rollout import walk

_STEPS = 300


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One setting of gradient descent or momentum: its rate in theory and as measured."""

    name: str
    lr: float
    momentum: float
    predicted: float
    measured: float
    critical: bool
    """k·ρᵏ was fitted, not ρᵏ."""

    @property
    def error(self) -> float:
        """Returns the measured rate's relative error."""
        return self.measured / self.predicted - 1


def rate_rows(
    scene: Scene, start: Point, raced: list[tuple[Racer, float]], *, seed: int
) -> tuple[RateRow, ...]:
    """Returns the best settings of the theory and those that raced, each run and measured."""
    if scene.curvatures is None or 0.0 in start:
        return ()
    low, high = scene.curvatures
    η, γ = theory.best_momentum(low, high)
    slow = 0.5 * η
    rows = [
        ("gradient descent at its best η", theory.best_descent(low, high), 0.0, False),
        ("momentum at its best η, γ", η, γ, False),
        ("critical damping at half that η", slow, theory.critical_momentum(low, η=slow), False),
    ]
    for racer, lr in raced:
        if racer.kind is Momentum:
            settings = racer.settings
            own_γ = float(settings.get("momentum", 0.9))
            rows.append((racer.label, lr, own_γ, bool(settings.get("nesterov", False))))
    return tuple(_row(scene, start, *row, seed=seed) for row in rows if row[1] > 0)


def _row(
    scene: Scene, start: Point, name: str, lr: float, γ: float, nesterov: bool, *, seed: int
) -> RateRow:
    racer = Racer(name, Momentum, {"momentum": γ, "nesterov": nesterov})
    places = torch.tensor([start], dtype=torch.float64)
    path = walk(scene, racer, [{"lr": lr}], places, steps=_STEPS, seed=seed)[:, 0, 0]
    measured = theory.measured_rate(path.numpy())
    curvatures = scene.curvatures or (math.nan,)
    return RateRow(
        name=name,
        lr=lr,
        momentum=γ,
        predicted=theory.predicted_rate(curvatures, η=lr, γ=γ, nesterov=nesterov),
        measured=measured.rate,
        critical=measured.critical,
    )
