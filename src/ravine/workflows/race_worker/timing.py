"""How long a race takes: a step is measured, and the epochs that fit into the budget follow.

With c whole runs per search and n seeds for each of k candidates, a run of E epochs, an epoch of e
seconds (its evaluation included) and o seconds around each job,

    seconds = (Σ (c + n) E e + jobs · o) / slots + E e

where the last term is for slots that are idle at the end. It is solved for E.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import SettingError
from ravine.data.opening import open_dataset
from ravine.ops.kernel_plan import KernelPlan, runnable_plan
from ravine.workflows.assemble import assemble
from ravine.workflows.builder import NORMS
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.start_weights import opened_start

_SHARE = 0.92  # of the budget that is planned; the rest is for jobs that turn out slower
CLOSING_SECONDS = 4.0  # for the tables and the page
_END_SECONDS = 1.2  # for the evaluation, the page and the mistakes of a run
_LEAST_STEPS = 10
_LONG = 1e7  # a budget that asks for a measured step


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The measured durations of a recipe. The names are the keys in plan.json.

    Attributes:
        epoch: seconds of an epoch with its evaluation; 0 where it was not measured.
        around: seconds around a job: opening the data, building the network.
        steps_per_epoch: steps that visit each training image once.
        normalised: whether the network has normalisation layers.
        images: that are trained on; 0 in plans of before it was kept.
        lr: that training would start from; 0.0 where it is not known.
    """

    epoch: float
    around: float
    steps_per_epoch: int
    normalised: bool
    images: int = 0
    lr: float = 0.0


def measure(
    settings: Mapping[str, Any],
    *,
    with_steps: bool,
    allow_code: Sequence[str] = (),
    kernels: KernelPlan | None = None,
) -> Timing:
    """Returns the durations of a recipe, measured in this process.

    Args:
        settings: of the recipe.
        with_steps: also measure a step, which takes some seconds.
        allow_code: the `module:callable`s that may be imported as the network.
        kernels: the algorithms of its convolutions; None to decide here.
    """
    session = Session()
    wanted: dict[str, Any] = {"budget": _LONG} if with_steps else {"epochs": 1.0}
    if settings.get("small_size", "auto") == "auto":
        wanted["small_size"] = 0  # as in the jobs, whose epochs are given
    code = AllowedCode.of(allow_code)
    recipe, start = opened_start(Recipe.of({**settings, **wanted}), session, code)
    dataset = open_dataset(recipe, seed=recipe.seed)
    opened = session.clock.elapsed()
    kernels = runnable_plan(kernels)
    parts: dict[str, Any] = {"plan": None, "kernels": kernels, "code": code, "start": start}
    plan = assemble(recipe, dataset, session, **parts).plan
    began = time.monotonic()
    again = recipe.with_(budget=None, epochs=1.0)
    assembly = assemble(again, dataset, session, **parts)
    built = time.monotonic() - began
    speed = plan.speed
    epoch = 0.0
    if speed is not None:
        epoch = (
            plan.steps_per_epoch * speed.step_between(0.0) + speed.validation / plan.evaluate_every
        )
    return Timing(
        epoch=epoch,
        around=opened + built,
        steps_per_epoch=plan.steps_per_epoch,
        normalised=any(isinstance(m, NORMS) for m in assembly.state.model.modules()),
        images=len(dataset.splits["train"]),
        lr=assembly.recipe.lr if isinstance(assembly.recipe.lr, float) else 0.0,
    )


def slowest(timings: Sequence[Timing]) -> Timing:
    """Returns the slowest of several simultaneous measurements of one recipe."""
    return Timing(
        epoch=max(one.epoch for one in timings),
        around=max(one.around for one in timings),
        steps_per_epoch=timings[0].steps_per_epoch,
        normalised=timings[0].normalised,
        images=timings[0].images,
        lr=timings[0].lr,
    )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The runs of each candidate.

    Attributes:
        search_cost: whole runs that the search of a candidate takes.
        seeds: fresh seeds of each.
        jobs: of a candidate, those of the search and of the seeds.
        slots: jobs at a time.
    """

    search_cost: float
    seeds: int
    jobs: int
    slots: int

    @property
    def runs(self) -> float:
        """Whole runs of a candidate."""
        return self.search_cost + self.seeds

    def overhead(self, timings: Mapping[str, Timing]) -> float:
        """Returns the seconds of all slots together outside the epochs."""
        return sum(self.jobs * t.around + self.runs * _END_SECONDS for t in timings.values())


# A job and a step on a fast and on a common machine, where nothing is measured yet.
_QUICK = Timing(epoch=0.0, around=0.3, steps_per_epoch=1, normalised=True)
_COMMON = Timing(epoch=0.05, around=3.0, steps_per_epoch=1, normalised=True)
_MEASURING = 12.0  # seconds, of kernels and steps, for a network


def refuse_short_budget(budget: float, candidates: Sequence[str], load: Workload) -> None:
    """Raises `SettingError` for a budget that no machine can keep, before anything is measured.

    Args:
        budget: seconds of the whole race.
        candidates: their names.
        load: runs of each of them.
    """
    quick, common = (dict.fromkeys(candidates, t) for t in (_QUICK, _COMMON))
    least = (load.overhead(quick) / load.slots + CLOSING_SECONDS) / _SHARE
    if budget < least:
        needed = math.ceil((_needed(common, load) + _MEASURING) / 10) * 10
        raise SettingError(
            f"budget {budget:g}s is too short for {load.runs * len(candidates):.0f} runs: opening "
            f"and ending them alone takes {least:.0f}s; give --budget {needed}s or more, or fewer "
            "--trials and --seeds"
        )


def epochs_within(
    budget: float,
    timings: Mapping[str, Timing],
    load: Workload,
    *,
    equal: str,
    elapsed: float = 0.0,
) -> dict[str, float]:
    """Returns the epochs of a run of each candidate, so that the race ends within the budget.

    Args:
        budget: seconds of the whole race.
        timings: of the candidates.
        load: runs of each of them.
        equal: epochs or seconds.
        elapsed: seconds that are used up, by measuring.

    Raises:
        SettingError: not even the shortest runs fit.
    """
    left = (budget - elapsed) * _SHARE - CLOSING_SECONDS - load.overhead(timings) / load.slots
    if equal == "seconds":
        run = left / (load.runs * len(timings) / load.slots + 1)
        epochs = {name: run / t.epoch for name, t in timings.items()}
    else:
        total = sum(t.epoch for t in timings.values())
        longest = max(t.epoch for t in timings.values())
        epochs = dict.fromkeys(timings, left / (load.runs * total / load.slots + longest))
    if any(epochs[name] * t.steps_per_epoch < _LEAST_STEPS for name, t in timings.items()):
        raise SettingError(
            f"budget {budget:g}s is too short for {load.runs * len(timings):.0f} runs here"
            + (f", of which measuring took {elapsed:.0f}s" if elapsed >= 1 else "")
            + f"; give --budget {math.ceil((_needed(timings, load) + elapsed) / 10) * 10}s or more,"
            " or fewer --trials and --seeds"
        )
    return {name: float(f"{count:.3g}") for name, count in epochs.items()}


def _needed(timings: Mapping[str, Timing], load: Workload) -> float:
    """Returns the seconds of a race with the shortest runs."""
    shortest = [_LEAST_STEPS / t.steps_per_epoch * t.epoch for t in timings.values()]
    busy = (load.runs * sum(shortest) + load.overhead(timings)) / load.slots
    return (busy + max(shortest) + CLOSING_SECONDS) / _SHARE * 1.2
