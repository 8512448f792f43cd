"""The rate of each racer from an equal, stated budget, without looking at the answer.

Every racer tries the same rates from the same starts for the same steps. The score of a rate
is the mean, over starts and along the way, of the logarithm of the loss above the lowest that
anyone has found in the search, relative to that of the start, with a floor of a millionth.
Neither the place nor the value of the minimum is used. A run that leaves the finite numbers
scores as a loss that has grown a thousandfold from there on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from ravine.core.checks import check_range
from ravine.core.progress import Progress, no_progress
from ravine.races.racers import Racer
from ravine.races.scene import Scene
from ravine.races.walk import walk

_FLOOR, _WORST = -6.0, 3.0  # powers of ten of the loss relative to the start's
_LOOK_EVERY = 10  # steps


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What each racer may try, equal for all."""

    trials: int = 49
    """Rates, evenly spaced in their logarithm."""

    starts: int = 48
    """Starts that each rate is tried from; others than those of the table."""

    low: float = 1e-5
    high: float = 10.0

    def __post_init__(self) -> None:
        check_range("trials", self.trials, low=2, high=1000)

    @property
    def rates(self) -> list[float]:
        """The rates that are tried, at four digits."""
        return [float(f"{v:.4g}") for v in np.geomspace(self.low, self.high, self.trials)]

    def __str__(self) -> str:
        return (
            f"{self.trials} rates from {self.low:g} to {self.high:g}, "
            f"each from the same {self.starts} starts"
        )


@final
@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found: a score for each rate, lower is better."""

    rates: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def lr(self) -> float:
        """The best rate."""
        return self.rates[int(np.argmin(self.scores))]

    @property
    def at_edge(self) -> bool:
        """Tells whether a rate outside the range might have been better."""
        return int(np.argmin(self.scores)) in (0, len(self.rates) - 1)


def search(
    scene: Scene,
    racers: Sequence[Racer],
    budget: Budget,
    *,
    steps: int,
    seed: int,
    progress: Progress = no_progress,
) -> Mapping[str, Found]:
    """Returns what each racer's search has found, by its label."""
    starts = scene.draw_starts(budget.starts, "search starts", seed=seed)
    losses = {}
    for index, racer in enumerate(racers):
        progress("searching rates", index, len(racers))
        points = walk(scene, racer, budget.rates, starts, steps=steps, seed=seed)
        losses[racer.label] = scene.values(points[::_LOOK_EVERY])
    progress("searching rates", len(racers), len(racers))
    lowest = min((_lowest(seen) for seen in losses.values()), default=0.0)
    return {
        label: Found(tuple(budget.rates), tuple(_scores(seen, lowest).tolist()))
        for label, seen in losses.items()
    }


def _lowest(losses: Tensor) -> float:
    return float(losses[torch.isfinite(losses)].min())


def _scores(losses: Tensor, lowest: float) -> Tensor:
    """Returns the score of each rate from losses (K, T, S)."""
    gap = losses - lowest
    tiny = torch.finfo(gap.dtype).tiny
    relative = (gap / gap[0].clamp_min(tiny)).clamp_min(tiny).log10()
    relative = torch.where(torch.isfinite(losses), relative, _WORST)
    return relative.clamp(_FLOOR, _WORST).mean(dim=(0, 2))
