"""The rate of each racer from an equal, stated budget, without looking at the answer.

Every racer tries as many rates (and momenta and ε, where these are searched) from the same
starts for the same steps. The score of a trial is the mean, over starts and along the way, of
the logarithm of the loss above the lowest that anyone has found in the search, relative to that
of the start, with a floor of a millionth. Neither the place nor the value of the minimum is
used. A run that leaves the finite numbers scores as a loss that has grown a thousandfold from
there on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from ravine.core.errors import SettingError
from ravine.core.progress import Progress, no_progress
from ravine.core.validation import check_choice, check_range
from ravine.test_functions.candidates import Racer, Trial
from ravine.test_functions.problem import Scene
from ravine.test_functions.rollout import walk

_FLOOR, _WORST = -6.0, 3.0  # powers of ten of the loss relative to the start's
_LOOK_EVERY = 10  # steps
_FEW = 4  # starts of a racer that has to be run start by start
# From and to; of momentum that of 1−γ.
_SPANS: Mapping[str, tuple[float, float]] = {
    "lr": (1e-5, 10.0),
    "momentum": (1.0, 0.01),
    "eps": (1e-8, 1e4),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What each racer may try, equal for all."""

    trials: int = 49
    """Points that each racer tries."""

    starts: int = 48
    """Starts that each is tried from; others than those of the table."""

    tune: tuple[str, ...] = ("lr",)
    """What is searched: lr, and momentum and eps where a racer has them and they are free."""

    low: float = 1e-5
    high: float = 10.0

    def __post_init__(self) -> None:
        check_range("trials", self.trials, low=2, high=1000)
        for name in self.tune:
            check_choice("tune", name, _SPANS)
        if "lr" not in self.tune:
            raise SettingError(f"tune {','.join(self.tune)} leaves out lr: write tune lr,...")

    def points(self, free: Sequence[str]) -> list[dict[str, float]]:
        """Returns what is tried by a racer with these settings free.

        For the rate alone evenly in its logarithm; for several the points of Halton's sequence,
        evenly in the logarithms of η, 1−γ and ε. η is then in units of max(1, ε), since a large
        ε divides it.
        """
        names = [name for name in self.tune if name in free]
        if names == ["lr"]:
            share = np.linspace(0, 1, self.trials)[:, None]
        else:
            share = qmc.Halton(len(names), scramble=False).random(self.trials)
        spans = {**_SPANS, "lr": (self.low, self.high)}
        points = []
        for row in share.tolist():
            at = {}
            for name, part in zip(names, row, strict=True):
                low, high = spans[name]
                at[name] = float(f"{low * (high / low) ** part:.4g}")
            if "momentum" in at:
                at["momentum"] = round(1 - at["momentum"], 6)
            at["lr"] = float(f"{at['lr'] * max(1.0, at.get('eps', 0.0)):.4g}")
            points.append(at)
        return points

    def __str__(self) -> str:
        what = "rates" if self.tune == ("lr",) else f"points over {', '.join(self.tune)}, rates"
        return (
            f"{self.trials} {what} from {self.low:g} to {self.high:g}, "
            f"each from the same {self.starts} starts"
        )


@final
@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found: a score for each trial, lower is better."""

    trials: tuple[Trial, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> Trial:
        """The best trial."""
        return self.trials[int(np.argmin(self.scores))]

    @property
    def at_edge(self) -> bool:
        """Tells whether a rate outside the range might have been better."""
        rates = [trial["lr"] for trial in self.trials]
        return len(self.best) == 1 and self.best["lr"] in (min(rates), max(rates))


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
    tried: dict[str, tuple[list[dict[str, float]], Tensor]] = {}
    for index, racer in enumerate(racers):
        progress("searching rates", index, len(racers))
        points = budget.points(racer.tunable())
        mine = starts if racer.by_element else starts[:_FEW]
        places = walk(scene, racer, points, mine, steps=steps, seed=seed)
        tried[racer.label] = (points, scene.values(places[::_LOOK_EVERY]))
    progress("searching rates", len(racers), len(racers))
    lowest = min((_lowest(losses) for _, losses in tried.values()), default=0.0)
    return {
        label: Found(tuple(points), tuple(_scores(losses, lowest).tolist()))
        for label, (points, losses) in tried.items()
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
