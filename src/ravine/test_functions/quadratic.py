"""Convergence rates on a quadratic: measured by the optimizers' own steps, and predicted."""

import math
from dataclasses import dataclass
from typing import final

import torch

from ravine.optim.momentum import Momentum
from ravine.test_functions import theory
from ravine.test_functions.candidates import Candidate
from ravine.test_functions.problem import Point, Problem
from ravine.test_functions.rollout import rollout

_STEPS = 300


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceRow:
    """The convergence rate ρ of one setting of gradient descent or momentum."""

    name: str
    lr: float
    momentum: float
    predicted: float
    measured: float
    critical: bool
    """Whether k·ρᵏ was fitted instead of ρᵏ."""

    @property
    def error(self) -> float:
        """The relative error of the measured rate."""
        return self.measured / self.predicted - 1


def convergence_rows(
    problem: Problem, start: Point, raced: list[tuple[Candidate, float]], *, seed: int
) -> tuple[ConvergenceRow, ...]:
    """Returns the best settings of the theory and those of the race, each measured.

    Args:
        problem: the function; only a quadratic has rows.
        start: (x, y), both non-zero, or there are no rows.
        raced: candidates with their learning rates; those of momentum get a row.
        seed: of batches.
    """
    if problem.curvatures is None or 0.0 in start:
        return ()
    low, high = problem.curvatures
    η, γ = theory.best_momentum(low, high)
    slow = 0.5 * η
    rows = [
        ("gradient descent at its best η", theory.best_descent(low, high), 0.0, False),
        ("momentum at its best η, γ", η, γ, False),
        ("critical damping at half that η", slow, theory.critical_momentum(low, η=slow), False),
    ]
    for candidate, lr in raced:
        if candidate.kind is Momentum:
            settings = candidate.settings
            own_γ = float(settings.get("momentum", 0.9))
            rows.append((candidate.label, lr, own_γ, bool(settings.get("nesterov", False))))
    return tuple(_row(problem, start, *row, seed=seed) for row in rows if row[1] > 0)


def _row(
    problem: Problem, start: Point, name: str, lr: float, γ: float, nesterov: bool, *, seed: int
) -> ConvergenceRow:
    candidate = Candidate(name, Momentum, {"momentum": γ, "nesterov": nesterov})
    starts = torch.tensor([start], dtype=torch.float64)
    path = rollout(problem, candidate, [{"lr": lr}], starts, steps=_STEPS, seed=seed)[:, 0, 0]
    measured = theory.measured_rate(path.numpy())
    curvatures = problem.curvatures or (math.nan,)
    return ConvergenceRow(
        name=name,
        lr=lr,
        momentum=γ,
        predicted=theory.predicted_rate(curvatures, η=lr, γ=γ, nesterov=nesterov),
        measured=measured.rate,
        critical=measured.critical,
    )
