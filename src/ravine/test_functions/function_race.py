"""A race on a test function: search, one start for the picture, many for the table.

`race_on_function` returns numbers; what is drawn or written is made from them. The same seed
gives the same numbers, bit for bit.
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
from ravine.test_functions.candidates import Racer
from ravine.test_functions.problem import Point, Scene
from ravine.test_functions.rate_search import Budget, Found, search
from ravine.test_functions.rollout import walk

_MOST_APART = 20  # starts of a racer that has to be run start by start
Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one racer did over many starts. Steps are infinite where it never got there."""

    starts: int
    reached: int
    diverged: int
    steps: tuple[float, float, float]
    """Lower quartile, median and upper quartile of the steps to the target."""

    gaps: tuple[float, float, float]
    """Tenth, half and nine tenths of the last losses above the lowest; infinite if diverged."""

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
class Lane:
    """One racer in a race: its rate, its run from the start of the picture, its table."""

    racer: Racer
    lr: float
    found: Found | None
    """Its search; None where the user gave the rate."""

    path: Array
    """(K+1, 2), from the start to where the optimizer stands at the end."""

    losses: Array
    """(K+1,), of all examples."""

    table: Table

    @property
    def diverged_at(self) -> int | None:
        """The step at which the run left the finite numbers, if it did."""
        bad = ~(np.isfinite(self.losses) & np.isfinite(self.path).all(axis=1))
        return int(np.argmax(bad)) if bad.any() else None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRace:
    """A race on a function, whole."""

    scene: Scene
    start: Point
    steps: int
    seed: int
    budget: Budget
    lowest: float
    """The known lowest value, else the lowest that anyone found."""

    target: float
    """The loss that counts as the optimum reached."""

    lanes: tuple[Lane, ...]

    def numbers(self) -> dict[str, Any]:
        """Returns all numbers as plain data."""
        return {
            "function": self.scene.name,
            "formula": self.scene.text,
            "region": self.scene.domain,
            "minima": self.scene.minima,
            "lowest": self.lowest,
            "lowest_is_known": self.scene.lowest is not None,
            "target": self.target,
            "start": self.start,
            "steps": self.steps,
            "seed": self.seed,
            "search": str(self.budget),
            "optimizers": [_lane_numbers(lane) for lane in self.lanes],
        }


def race_on_function(
    scene: Scene,
    racers: Sequence[Racer],
    *,
    steps: int = 300,
    start: Point | None = None,
    starts: int = 200,
    budget: Budget | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> FunctionRace:
    """Races optimizers on a function: equal steps, equal starts, equal search, nothing clipped.

    Args:
        scene: the function.
        racers: the optimizers; those without a rate search one within `budget`.
        steps: of every run.
        start: of the picture; the scene's own if None.
        starts: of the table, others than those of the search.
        budget: of the search.
        seed: of starts and batches.
        progress: is told how far it has come.

    Raises:
        SettingError: the start lies outside, the function is not finite, a racer cannot step.
    """
    check_range("steps", steps, low=1, high=100_000)
    check_range("starts", starts, low=1, high=100_000)
    budget = budget or Budget()
    start = start or scene.start
    scene.check_start(start)
    drawn = scene.draw_starts(starts, "race starts", seed=seed)
    places = torch.cat([torch.tensor([start], dtype=torch.float64), drawn])
    seeking = [racer for racer in racers if racer.lr is None]
    found = search(scene, seeking, budget, steps=steps, seed=seed, progress=progress)
    runs = []
    for index, racer in enumerate(racers):
        progress("racing", index, len(racers))
        mine = places if racer.by_element else places[: _MOST_APART + 1]
        tuned = racer if racer.lr is not None else racer.tuned(found[racer.label].best)
        rate = tuned.lr if tuned.lr is not None else math.nan
        points = walk(scene, tuned, [{"lr": rate}], mine, steps=steps, seed=seed)[:, 0]
        runs.append((tuned, rate, points, scene.values(points)))
    progress("racing", len(racers), len(racers))
    lowest = _lowest(scene, [losses for *_, losses in runs])
    target = lowest + _tolerance(scene, scene.values(drawn), lowest)
    lanes = tuple(
        Lane(
            racer=racer,
            lr=lr,
            found=found.get(racer.label),
            path=points[:, 0].numpy(),
            losses=losses[:, 0].numpy(),
            table=_table(losses[:, 1:], lowest, target),
        )
        for racer, lr, points, losses in runs
    )
    return FunctionRace(
        scene=scene,
        start=start,
        steps=steps,
        seed=seed,
        budget=budget,
        lowest=lowest,
        target=target,
        lanes=lanes,
    )


def _lowest(scene: Scene, losses: Sequence[Tensor]) -> float:
    if scene.lowest is not None:
        return scene.lowest
    return min(float(seen[torch.isfinite(seen)].min()) for seen in losses)


def _tolerance(scene: Scene, at_starts: Tensor, lowest: float) -> float:
    if scene.tolerance is not None:
        return scene.tolerance
    return max(1e-3 * float((at_starts - lowest).median()), 1e-12)


def _table(losses: Tensor, lowest: float, target: float) -> Table:
    """Returns what losses (K+1, S) say of all starts."""
    there = losses <= target
    ended = torch.isfinite(losses).all(dim=0)
    first = torch.where(there.any(dim=0), there.int().argmax(dim=0).double(), math.inf)
    gaps = torch.where(ended, losses[-1] - lowest, math.inf)
    return Table(
        starts=losses.shape[1],
        reached=int(there.any(dim=0).sum()),
        diverged=int((~ended).sum()),
        steps=_quantiles(first, (0.25, 0.5, 0.75)),
        gaps=_quantiles(gaps, (0.1, 0.5, 0.9)),
    )


def _quantiles(values: Tensor, shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """Returns values of the sample itself, so that infinite ones stay what they are."""
    ordered = values.sort().values.tolist()
    a, b, c = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares)
    return a, b, c


def _lane_numbers(lane: Lane) -> Mapping[str, Any]:
    table = lane.table
    return {
        "optimizer": lane.racer.label,
        "lr": lane.lr,
        "lr_from": "the user" if lane.found is None else "search",
        "lr_at_edge": lane.found.at_edge if lane.found else False,
        "settings": lane.racer.shown_settings(),
        "search": {"trials": lane.found.trials, "scores": lane.found.scores}
        if lane.found
        else None,
        "diverged_at": lane.diverged_at,
        "path": lane.path.tolist(),
        "losses": lane.losses.tolist(),
        "starts": table.starts,
        "reached": table.reached,
        "share": table.share,
        "share_interval": table.interval,
        "diverged": table.diverged,
        "steps_quartiles": table.steps,
        "last_gap_10_50_90": table.gaps,
    }
