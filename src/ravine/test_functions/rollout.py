"""Optimizers on a function: many trials from many starts at once, by the optimizers' own steps.

Shape letters in this file: K steps, T trials, S starts. Points are (K+1, T, S, 2), float64: the
first are the starts, the last the points after step K. Nothing is clipped.
"""

from collections.abc import Sequence
from typing import Protocol, final

import torch
from torch import Tensor, nn

from ravine.core.errors import RavineError, SettingError
from ravine.test_functions.candidates import Candidate, Trial
from ravine.test_functions.problem import Problem


def rollout(
    problem: Problem,
    candidate: Candidate,
    trials: Sequence[Trial],
    starts: Tensor,
    *,
    steps: int,
    seed: int,
) -> Tensor:
    """Returns the points of `candidate` for each trial and start, (K+1, T, S, 2) float64.

    Steps of a noisy function see the batches of `seed`, the same for every candidate.

    Args:
        problem: the function.
        candidate: the optimizer.
        trials: T learning rates, with other settings where they are searched.
        starts: (S, 2) float64.
        steps: K.
        seed: of the batches.

    Raises:
        SettingError: the optimizer cannot step here.
    """
    batches = problem.examples.batches(steps, seed=seed) if problem.examples else None
    points = starts.repeat(len(trials), 1, 1)
    path = [points.clone()]
    stepper = _stepper(problem, candidate, trials, points)
    for k in range(steps):
        try:
            stepper.step(None if batches is None else batches[k])
        except RavineError:
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise SettingError(f"optimizer {candidate.label} cannot race here: {reason}") from error
        path.append(points.clone())
    return torch.stack(path)


class _Stepper(Protocol):
    """Moves points (T, S, 2) in place."""

    def step(self, batch: Tensor | None) -> None:
        """Takes one step, on the examples of `batch`, (B,), if there are some."""
        ...


def _stepper(
    problem: Problem, candidate: Candidate, trials: Sequence[Trial], points: Tensor
) -> _Stepper:
    if candidate.by_element:
        return _OneOptimizer(problem, candidate, trials, points)
    return _OptimizerPerRow(problem, candidate, trials, points)


@final
class _OneOptimizer:
    """All rows in one optimizer, a group for each trial; parameters are views of the points."""

    def __init__(
        self, problem: Problem, candidate: Candidate, trials: Sequence[Trial], points: Tensor
    ) -> None:
        self._problem, self._points = problem, points
        self._params = [nn.Parameter(rows) for rows in points]
        self._optimizer = candidate.build(self._params, trials)

    def step(self, batch: Tensor | None) -> None:
        gradients = self._problem.gradients(self._points, batch)
        for param, gradient in zip(self._params, gradients, strict=True):
            param.grad = gradient
        self._optimizer.step()


@final
class _OptimizerPerRow:
    """An optimizer for each row, with the closure that some of them need."""

    def __init__(
        self, problem: Problem, candidate: Candidate, trials: Sequence[Trial], points: Tensor
    ) -> None:
        self._problem = problem
        self._params = [nn.Parameter(row) for rows in points for row in rows]
        each = [trial for trial in trials for _ in range(points.shape[1])]
        self._optimizers = [
            candidate.build([param], [trial])
            for param, trial in zip(self._params, each, strict=True)
        ]

    def step(self, batch: Tensor | None) -> None:
        for param, optimizer in zip(self._params, self._optimizers, strict=True):

            def closure(param: nn.Parameter = param) -> Tensor:
                param.grad = self._problem.gradients(param, batch)
                return self._problem.values(param)

            optimizer.step(closure)  # type: ignore[arg-type]
