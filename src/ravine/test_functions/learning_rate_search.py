"""The learning rate of each candidate from an equal, stated budget, without the known minimum.

Every candidate tries the same number of learning rates (and momenta and ε, where these are
searched) from the same starts for the same steps. The score of a trial is the mean, over starts
and every tenth step, of the logarithm of the loss above the lowest of the whole search, relative to
that of the start, with a floor of a millionth. Neither position nor value of the minimum is used. A
rollout with non-finite losses scores these as a loss that has grown a thousandfold.

Shape letters in this file: K steps, T trials, S starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from ravine.core.errors import SettingError
from ravine.core.halton import halton
from ravine.core.progress import Progress, no_progress
from ravine.core.validation import check_choice, check_range
from ravine.test_functions.candidates import Candidate, Trial
from ravine.test_functions.problem import Problem
from ravine.test_functions.rollout import rollout

_FLOOR, _WORST = -6.0, 3.0  # powers of ten of the loss relative to the start's
_SCORE_EVERY = 10  # steps
_FEW_STARTS = 4  # of a candidate with an optimizer per start
# Lowest and highest value; of momentum those of 1−γ, from high to low.
_SPANS: Mapping[str, tuple[float, float]] = {
    "lr": (1e-5, 10.0),
    "momentum": (1.0, 0.01),
    "eps": (1e-8, 1e4),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBudget:
    """The trials of each candidate, equal for all."""

    trials: int = 49
    """Points that each candidate tries, in [2, 1000)."""

    starts: int = 48
    """Starts of each trial; others than those of the statistics."""

    tune: tuple[str, ...] = ("lr",)
    """Settings that are searched: lr, and momentum and eps where a candidate has them free."""

    low: float = 1e-5
    high: float = 10.0

    def __post_init__(self) -> None:
        check_range("trials", self.trials, low=2, high=1000)
        for name in self.tune:
            check_choice("tune", name, _SPANS)
        if "lr" not in self.tune:
            raise SettingError(f"tune {','.join(self.tune)} leaves out lr: write tune lr,...")

    def points(self, free: Sequence[str]) -> list[dict[str, float]]:
        """Returns the points of a candidate with these settings free.

        The learning rate alone is spaced evenly in its logarithm. Several settings follow Halton's
        sequence, evenly in the logarithms of η, 1−γ and ε; η is then in units of max(1, ε), since a
        large ε divides it.
        """
        names = [name for name in self.tune if name in free]
        if names == ["lr"]:
            share = np.linspace(0, 1, self.trials)[:, None]
        else:
            share = halton(self.trials, len(names))
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
        what = (
            "learning rates"
            if self.tune == ("lr",)
            else f"points over {', '.join(self.tune)}, learning rates"
        )
        return (
            f"{self.trials} {what} from {self.low:g} to {self.high:g}, "
            f"each from the same {self.starts} starts"
        )


@final
@dataclass(frozen=True, slots=True)
class SearchResult:
    """The trials of a search with their scores; lower is better."""

    trials: tuple[Trial, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> Trial:
        """The trial with the lowest score."""
        return self.trials[int(np.argmin(self.scores))]

    @property
    def at_edge(self) -> bool:
        """Whether a learning rate outside the range might have been better."""
        rates = [trial["lr"] for trial in self.trials]
        return len(self.best) == 1 and self.best["lr"] in (min(rates), max(rates))


def search_learning_rates(
    problem: Problem,
    candidates: Sequence[Candidate],
    budget: SearchBudget,
    *,
    steps: int,
    seed: int,
    progress: Progress = no_progress,
) -> Mapping[str, SearchResult]:
    """Returns the search of each candidate, by its label.

    Args:
        problem: the function.
        candidates: the optimizers without a learning rate.
        budget: of each.
        steps: K of every trial.
        seed: of starts and batches.
        progress: observer of the candidates.

    Raises:
        SettingError: the function is not finite at a start, or a candidate cannot step.
    """
    starts = problem.draw_starts(budget.starts, "search starts", seed=seed)
    tried: dict[str, tuple[list[dict[str, float]], Tensor]] = {}
    for index, candidate in enumerate(candidates):
        progress("searching learning rates", index, len(candidates))
        points = budget.points(candidate.tunable())
        own = starts if candidate.by_element else starts[:_FEW_STARTS]
        path = rollout(problem, candidate, points, own, steps=steps, seed=seed)
        tried[candidate.label] = (points, problem.values(path[::_SCORE_EVERY]))
    progress("searching learning rates", len(candidates), len(candidates))
    lowest = min((_lowest(losses) for _, losses in tried.values()), default=0.0)
    return {
        label: SearchResult(tuple(points), tuple(_scores(losses, lowest).tolist()))
        for label, (points, losses) in tried.items()
    }


def _lowest(losses: Tensor) -> float:
    return float(losses[torch.isfinite(losses)].min())


def _scores(losses: Tensor, lowest: float) -> Tensor:
    """Returns the score of each trial, (T,), from losses (K, T, S)."""
    gap = losses - lowest
    tiny = torch.finfo(gap.dtype).tiny
    relative = (gap / gap[0].clamp_min(tiny)).clamp_min(tiny).log10()
    relative = torch.where(torch.isfinite(losses), relative, _WORST)
    return relative.clamp(_FLOOR, _WORST).mean(dim=(0, 2))
