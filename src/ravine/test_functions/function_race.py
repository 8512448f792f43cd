"""A race on a test function: search, one start for the picture, many for the statistics.

`race_on_function` returns numbers, from which page and animation are drawn. The same seed gives
the same numbers, bit for bit.

Shape letters in this file: K steps, S starts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.core.progress import Progress, no_progress
from ravine.core.validation import check_range
from ravine.core.wilson_interval import wilson_interval
from ravine.test_functions.candidates import Candidate
from ravine.test_functions.learning_rate_search import (
    SearchBudget,
    SearchResult,
    search_learning_rates,
)
from ravine.test_functions.problem import Point, Problem
from ravine.test_functions.rollout import rollout

_MOST_STARTS = 20  # of a candidate with an optimizer per start
Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StartStatistics:
    """One candidate over many starts. Steps are infinite where it never reached the target."""

    starts: int
    reached: int
    diverged: int
    steps: tuple[float, float, float]
    """Lower quartile, median and upper quartile of the steps to the target."""

    gaps: tuple[float, float, float]
    """10 %, 50 % and 90 % quantiles of the last loss above the lowest; infinite if diverged."""

    @property
    def share(self) -> float:
        """The share of starts that reached the target."""
        return self.reached / self.starts

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share."""
        return wilson_interval(self.reached, self.starts)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """One candidate: learning rate, rollout from the start of the picture, statistics of starts."""

    candidate: Candidate
    lr: float
    found: SearchResult | None
    """Its search; None where the user gave the learning rate."""

    path: Array
    """(K+1, 2) float64, from the start to the point after the last step."""

    losses: Array
    """(K+1,) float64, of all examples."""

    statistics: StartStatistics

    @property
    def diverged_at(self) -> int | None:
        """The first step with a non-finite point or loss, None without one."""
        bad = ~(np.isfinite(self.losses) & np.isfinite(self.path).all(axis=1))
        return int(np.argmax(bad)) if bad.any() else None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRace:
    """A finished race on a function."""

    problem: Problem
    start: Point
    steps: int
    seed: int
    budget: SearchBudget
    lowest: float
    """The known lowest value, else the lowest of all rollouts."""

    target: float
    """The loss that counts as the optimum reached."""

    results: tuple[CandidateResult, ...]

    def numbers(self) -> dict[str, Any]:
        """Returns all numbers as plain data."""
        return {
            "function": self.problem.name,
            "formula": self.problem.text,
            "region": self.problem.domain,
            "minima": self.problem.minima,
            "lowest": self.lowest,
            "lowest_is_known": self.problem.lowest is not None,
            "target": self.target,
            "start": self.start,
            "steps": self.steps,
            "seed": self.seed,
            "search": str(self.budget),
            "optimizers": [_result_numbers(result) for result in self.results],
        }


def race_on_function(
    problem: Problem,
    candidates: Sequence[Candidate],
    *,
    steps: int = 300,
    start: Point | None = None,
    starts: int = 200,
    budget: SearchBudget | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> FunctionRace:
    """Races optimizers on a function: equal steps, equal starts, equal search, nothing clipped.

    Args:
        problem: the function.
        candidates: the optimizers; those without a learning rate search one within `budget`.
        steps: K of every rollout, in [1, 100000).
        start: of the picture; the problem's own if None.
        starts: S of the statistics, in [1, 100000); others than those of the search.
        budget: of the search.
        seed: of starts and batches.
        progress: observer of search and rollouts.

    Raises:
        SettingError: the start lies outside, the function is not finite, a candidate cannot step.
    """
    check_range("steps", steps, low=1, high=100_000)
    check_range("starts", starts, low=1, high=100_000)
    budget = budget or SearchBudget()
    start = start or problem.start
    problem.check_start(start)
    drawn = problem.draw_starts(starts, "race starts", seed=seed)
    points = torch.cat([torch.tensor([start], dtype=torch.float64), drawn])
    free = [candidate for candidate in candidates if candidate.lr is None]
    found = search_learning_rates(problem, free, budget, steps=steps, seed=seed, progress=progress)
    tuned = [one.tuned(found[one.label].best) if one.lr is None else one for one in candidates]
    runs = _rollouts(problem, tuned, points, steps=steps, seed=seed, progress=progress)
    lowest = _lowest(problem, [run.losses for run in runs])
    target = lowest + _tolerance(problem, problem.values(drawn), lowest)
    results = tuple(run.result(found, lowest, target) for run in runs)
    return FunctionRace(
        problem=problem, start=start, steps=steps, seed=seed, budget=budget,
        lowest=lowest, target=target, results=results,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rollout:
    """A candidate's points (K+1, 1+S, 2) and losses (K+1, 1+S); the picture's start is first."""

    candidate: Candidate
    lr: float
    points: Tensor
    losses: Tensor

    def result(
        self, found: Mapping[str, SearchResult], lowest: float, target: float
    ) -> CandidateResult:
        return CandidateResult(
            candidate=self.candidate,
            lr=self.lr,
            found=found.get(self.candidate.label),
            path=self.points[:, 0].numpy(),
            losses=self.losses[:, 0].numpy(),
            statistics=_statistics(self.losses[:, 1:], lowest, target),
        )


def _rollouts(
    problem: Problem,
    candidates: Sequence[Candidate],
    starts: Tensor,
    *,
    steps: int,
    seed: int,
    progress: Progress,
) -> list[_Rollout]:
    """Returns the rollouts of candidates whose learning rate is known, from starts (1+S, 2)."""
    runs = []
    for index, candidate in enumerate(candidates):
        progress("racing", index, len(candidates))
        own = starts if candidate.by_element else starts[: _MOST_STARTS + 1]
        lr = candidate.lr if candidate.lr is not None else math.nan
        points = rollout(problem, candidate, [{"lr": lr}], own, steps=steps, seed=seed)[:, 0]
        losses = problem.values(points)
        runs.append(_Rollout(candidate=candidate, lr=lr, points=points, losses=losses))
    progress("racing", len(candidates), len(candidates))
    return runs


def _lowest(problem: Problem, losses: Sequence[Tensor]) -> float:
    if problem.lowest is not None:
        return problem.lowest
    return min(float(seen[torch.isfinite(seen)].min()) for seen in losses)


def _tolerance(problem: Problem, at_starts: Tensor, lowest: float) -> float:
    if problem.tolerance is not None:
        return problem.tolerance
    return max(1e-3 * float((at_starts - lowest).median()), 1e-12)


def _statistics(losses: Tensor, lowest: float, target: float) -> StartStatistics:
    """Returns the statistics of losses (K+1, S) over the starts."""
    there = losses <= target
    ended = torch.isfinite(losses).all(dim=0)
    first = torch.where(there.any(dim=0), there.int().argmax(dim=0).double(), math.inf)
    gaps = torch.where(ended, losses[-1] - lowest, math.inf)
    return StartStatistics(
        starts=losses.shape[1],
        reached=int(there.any(dim=0).sum()),
        diverged=int((~ended).sum()),
        steps=_quantiles(first, (0.25, 0.5, 0.75)),
        gaps=_quantiles(gaps, (0.1, 0.5, 0.9)),
    )


def _quantiles(values: Tensor, shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """Returns quantiles of values (S,) that are themselves in the sample, infinite ones too."""
    ordered = values.sort().values.tolist()
    a, b, c = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares)
    return a, b, c


def _result_numbers(result: CandidateResult) -> Mapping[str, Any]:
    statistics = result.statistics
    return {
        "optimizer": result.candidate.label,
        "lr": result.lr,
        "lr_from": "the user" if result.found is None else "search",
        "lr_at_edge": result.found.at_edge if result.found else False,
        "settings": result.candidate.shown_settings(),
        "search": {"trials": result.found.trials, "scores": result.found.scores}
        if result.found
        else None,
        "diverged_at": result.diverged_at,
        "path": result.path.tolist(),
        "losses": result.losses.tolist(),
        "starts": statistics.starts,
        "reached": statistics.reached,
        "share": statistics.share,
        "share_interval": statistics.interval,
        "diverged": statistics.diverged,
        "steps_quartiles": statistics.steps,
        "last_gap_10_50_90": statistics.gaps,
    }
