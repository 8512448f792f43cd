"""Optimizers on a function: many trials and many starts at once, by the optimizers' own steps.

Shape letters in this file: K steps, T trials, S starts. Points are (K+1, T, S, 2), float64: the
first are the starts, the last is where the optimizers stand at the end. Nothing is clipped.
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from ravine.core.errors import RavineError, SettingError
from ravine.test_functions.candidates import Racer, Trial
from ravine.test_functions.problem import Scene


def walk(
    scene: Scene, racer: Racer, trials: Sequence[Trial], starts: Tensor, *, steps: int, seed: int
) -> Tensor:
    """Returns where `racer` goes with each of `trials` from each of `starts`, (K+1, T, S, 2).

    Steps of a noisy function see the batches of `seed`, the same for everyone.

    Args:
        scene: the function.
        racer: the optimizer.
        trials: T rates, or rates with other settings.
        starts: (S, 2).
        steps: K.
        seed: of the batches.

    Raises:
        SettingError: the optimizer cannot step here.
    """
    batches = scene.examples.batches(steps, seed=seed) if scene.examples else None
    points = starts.repeat(len(trials), 1, 1)
    taken = [points.clone()]
    moving = (_Together if racer.by_element else _Apart)(scene, racer, trials, points)
    for k in range(steps):
        try:
            moving.step(None if batches is None else batches[k])
        except RavineError:
            raise
        except Exception as error:
            told = str(error).partition("\n")[0]
            raise SettingError(f"optimizer {racer.label} cannot race here: {told}") from error
        taken.append(points.clone())
    return torch.stack(taken)


@final
class _Together:
    """All rows in one optimizer, a group for each trial; parameters are views of the points."""

    def __init__(self, scene: Scene, racer: Racer, trials: Sequence[Trial], points: Tensor) -> None:
        self._scene, self._points = scene, points
        self._params = [nn.Parameter(rows) for rows in points]
        self._optimizer = racer.build(self._params, trials)

    def step(self, batch: Tensor | None) -> None:
        found = self._scene.gradients(self._points, batch)
        for param, gradient in zip(self._params, found, strict=True):
            param.grad = gradient
        self._optimizer.step()


@final
class _Apart:
    """An optimizer for each row, with the closure that some of them want."""

    def __init__(self, scene: Scene, racer: Racer, trials: Sequence[Trial], points: Tensor) -> None:
        self._scene = scene
        self._params = [nn.Parameter(row) for rows in points for row in rows]
        each = [trial for trial in trials for _ in range(points.shape[1])]
        self._optimizers = [
            racer.build([param], [trial]) for param, trial in zip(self._params, each, strict=True)
        ]

    def step(self, batch: Tensor | None) -> None:
        for param, optimizer in zip(self._params, self._optimizers, strict=True):

            def closure(param: nn.Parameter = param) -> Tensor:
                param.grad = self._scene.gradients(param, batch)
                return self._scene.values(param)

            optimizer.step(closure)  # type: ignore[arg-type]
