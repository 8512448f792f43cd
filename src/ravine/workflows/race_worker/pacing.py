"""How long a race takes: a step is measured, and the epochs that fit into the budget follow.

With u whole runs per search and n seeds for each of k entrants, a run of E epochs, an epoch of e
seconds (its evaluation included) and o seconds around each job,

    seconds = (Σ (u + n) E e + jobs · o) / slots + E e

where the last term is for slots that stand idle at the end. It is solved for E.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import SettingError
from ravine.core.events import Event
from ravine.data.opening import open_dataset
from ravine.workflows.assemble import assemble
from ravine.workflows.builder import NORMS
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

_SHARE = 0.92  # of the budget that is planned; the rest is for what turns out slower
_CLOSING = 4.0  # seconds for the tables and the page
_AROUND_END = 1.2  # seconds for the evaluation, the page and the mistakes of a run
_LEAST_STEPS = 10
_LONG = 1e7  # a budget that asks for a measured step


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What was measured of an entrant.

    Attributes:
        epoch: seconds of an epoch with its evaluation; 0 where it was not measured.
        around: seconds around a job: opening the data, building the network.
        steps_per_epoch: steps that visit each training image once.
        normalised: whether the network has normalisation layers.
    """

    epoch: float
    around: float
    steps_per_epoch: int
    normalised: bool


def measure(
    settings: Mapping[str, Any], *, seconds: bool, allow_code: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns what a `Pace` needs, measured in this process.

    Args:
        settings: of the recipe.
        seconds: also measure a step, which takes some seconds.
        allow_code: the `module:callable`s that may be imported as the network.
    """
    session = Session()
    wanted: dict[str, Any] = {"budget": _LONG} if seconds else {"epochs": 1.0}
    recipe = Recipe.of({**settings, **wanted})
    code = AllowedCode.of(allow_code)
    dataset = open_dataset(recipe, seed=recipe.seed)
    opened = session.clock.elapsed()
    plan = assemble(recipe, dataset, session, plan=None, code=code).plan
    began = time.monotonic()
    again = recipe.with_(budget=None, epochs=1.0)
    assembly = assemble(again, dataset, session, plan=None, code=code)
    built = time.monotonic() - began
    speed = plan.speed
    epoch = 0.0
    if speed is not None:
        epoch = plan.steps_per_epoch * speed.step + speed.validation / plan.evaluate_every
    return {
        "epoch": epoch,
        "around": opened + built,
        "steps_per_epoch": plan.steps_per_epoch,
        "normalised": any(isinstance(m, NORMS) for m in assembly.state.model.modules()),
    }


def _nobody(event: Event) -> None:
    pass


def epochs_within(
    budget: float,
    paces: Mapping[str, Pace],
    *,
    units: float,
    seeds: int,
    jobs: int,
    slots: int,
    equal: str,
) -> dict[str, float]:
    """Returns the epochs of a run of each entrant, so that the race ends within the budget.

    Args:
        budget: seconds left.
        paces: of the entrants.
        units: whole runs that the search of an entrant takes.
        seeds: fresh seeds of each.
        jobs: of an entrant, those of the search and of the seeds.
        slots: jobs at a time.
        equal: epochs or seconds.

    Raises:
        SettingError: not even the shortest runs fit.
    """
    around = sum(jobs * p.around + (units + seeds) * _AROUND_END for p in paces.values())
    left = budget * _SHARE - _CLOSING - around / slots
    runs = units + seeds
    if equal == "seconds":
        run = left / (runs * len(paces) / slots + 1)
        found = {name: run / p.epoch for name, p in paces.items()}
    else:
        total = sum(p.epoch for p in paces.values())
        one = left / (runs * total / slots + max(p.epoch for p in paces.values()))
        found = dict.fromkeys(paces, one)
    if any(found[name] * p.steps_per_epoch < _LEAST_STEPS for name, p in paces.items()):
        needed = _needed(paces, runs=runs, slots=slots, around=around)
        raise SettingError(
            f"budget {budget:.0f}s is too short for {runs * len(paces):.0f} runs here; "
            f"give --budget {math.ceil(needed / 10) * 10}s or more, or fewer --trials and --seeds"
        )
    return {name: float(f"{epochs:.3g}") for name, epochs in found.items()}


def _needed(paces: Mapping[str, Pace], *, runs: float, slots: int, around: float) -> float:
    shortest = [_LEAST_STEPS / p.steps_per_epoch * p.epoch for p in paces.values()]
    return ((runs * sum(shortest) + around) / slots + max(shortest) + _CLOSING) / _SHARE * 1.2


def slowest(found: Sequence[Mapping[str, Any]]) -> Pace:
    """Returns the slowest of several measurements made side by side."""
    return Pace(
        epoch=max(float(one["epoch"]) for one in found),
        around=max(float(one["around"]) for one in found),
        steps_per_epoch=int(found[0]["steps_per_epoch"]),
        normalised=bool(found[0]["normalised"]),
    )
