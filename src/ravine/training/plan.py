"""How many steps a run takes, and how far it has come.

With a budget, the number of steps follows from a measured speed, before step 1. Corrections
follow, and at most one early stop; after each, progress runs linearly from where it was to 1 at
the new end, so that the schedule has no jump.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ravine.core.errors import RunError

_MOST = 2**53
FEWEST_STEPS = 100  # of a run that can show something
_NO_NUMBERS = ("correction", "corrections", "settled", "stop", "speed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """From `step` on, the run ends after `total_steps`."""

    step: int
    total_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured on this machine, in seconds."""

    step: float
    """One training step."""

    validation: float
    """One evaluation on the validation images."""

    final: float
    """The final evaluation with everything that belongs to it."""

    statistics: float = 0.0
    """One measurement of batch norm's statistics."""

    small_step: float = 0.0
    """One training step on small images, where a run begins with them; else 0."""

    small_share: float = 0.0
    """Share of the run's steps that see them."""

    image: float = 0.0
    """One image of an evaluation by one process; 0 where it was not measured."""

    @property
    def is_possible(self) -> bool:
        """Whether these can be seconds."""
        rest = (self.validation, self.final, self.statistics, self.image, self.small_step)
        known = 0 < self.step < math.inf and all(0 <= value < math.inf for value in rest)
        return known and 0 <= self.small_share < 1 and (self.small_step > 0 or not self.small_share)

    def step_between(self, start: float, end: float = 1.0) -> float:
        """Returns the mean seconds of the steps from one progress to another, start < end."""
        small = max(0.0, min(end, self.small_share) - start) / (end - start)
        return self.step + small * (self.small_step - self.step)

    def slowed(self, factor: float, *, evaluations: float) -> Self:
        """Returns the speed with steps and evaluations so many times as long."""
        return replace(
            self,
            step=self.step * factor,
            small_step=self.small_step * factor,
            validation=self.validation * evaluations,
            final=self.final * evaluations,
            image=self.image * evaluations,
        )

    def with_statistics(self) -> Self:
        """Returns the speed of a run whose evaluations measure batch norm's statistics.

        A run without validation images has no evaluation but the one at its end.
        """
        return replace(
            self,
            validation=self.validation and self.validation + self.statistics,
            final=self.final + 2 * self.statistics,  # the last evaluation, and what is kept
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The length of a run, in steps.

    Attributes:
        total_steps: steps that were planned before step 1.
        steps_per_epoch: steps that visit each training image once.
        evaluate_every: epochs between evaluations on the validation images.
        corrections: to the budget, those decided so far, in the order of their steps.
        stop: the early end of a run whose validation stands still, once decided; the last word.
        speed: what was measured before step 1, None without a budget.
        settled: whether the run has ended by this plan: whoever repeats it corrects no more.
    """

    total_steps: int
    steps_per_epoch: int
    evaluate_every: int = 1
    corrections: tuple[Correction, ...] = ()
    stop: Correction | None = None
    speed: Speed | None = None
    settled: bool = False

    @property
    def _decided(self) -> list[Correction]:
        """What was decided on the way, in the order of its steps."""
        return [*self.corrections, *([] if self.stop is None else [self.stop])]

    @property
    def end(self) -> int:
        """The number of steps after which the run ends."""
        decided = self._decided
        return decided[-1].total_steps if decided else self.total_steps

    def progress(self, step: int) -> float:
        """Returns how far the run has come before `step` (counted from 0), in [0, 1]."""
        reached, since, end = 0.0, 0, self.total_steps
        for one in self._decided:
            if step < one.step:
                break
            reached += (1 - reached) * (one.step - since) / (end - since)
            since, end = one.step, one.total_steps
        return reached + (1 - reached) * (step - since) / (end - since) if step < end else 1.0

    def corrected(self, step: int, total_steps: int) -> Self:
        """Returns the plan that ends after `total_steps`, decided after `step` steps."""
        one = Correction(step=step, total_steps=max(total_steps, step + 1))
        return replace(self, corrections=(*self.corrections, one))

    def stopped(self, step: int, total_steps: int) -> Self:
        """Returns the plan that ends early, after `total_steps`, decided after `step` steps."""
        return replace(self, stop=Correction(step=step, total_steps=total_steps))

    def ends_epoch(self, step: int) -> bool:
        """Returns whether an epoch ends when `step` steps are done."""
        return step % self.steps_per_epoch == 0

    def evaluates_after(self, step: int) -> bool:
        """Returns whether an evaluation follows when `step` steps are done."""
        return step % (self.steps_per_epoch * self.evaluate_every) == 0

    def _is_in_order(self) -> bool:
        """Whether each correction was decided after the one before and before the end of then."""
        since, end = 0, self.total_steps
        for one in self.corrections:
            if not since <= one.step < min(end, one.total_steps):
                return False
            since, end = one.step, one.total_steps
        stop = self.stop
        return stop is None or since <= stop.step <= min(end, stop.total_steps)

    def to_values(self) -> dict[str, Any]:
        """Returns the plan as plain values without None."""
        values = asdict(self)
        values["corrections"] = list(values["corrections"])
        values["settled"] = self.settled or None
        return {key: value for key, value in values.items() if value is not None and value != []}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Returns the plan that `to_values` gave.

        Raises:
            RunError: the values are no plan.
        """
        try:
            whole = {k: _whole(v) for k, v in values.items() if k not in _NO_NUMBERS}
            speed, stop = values.get("speed"), values.get("stop")
            plan = cls(
                **whole,
                corrections=tuple(_correction(one) for one in _corrections(values)),
                stop=_correction(stop) if stop else None,
                speed=Speed(**{k: float(v) for k, v in speed.items()}) if speed else None,
                settled=values.get("settled") is True or "correction" in values,
            )
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(f"[plan] of the recipe cannot be read: {error}") from None
        if min(plan.total_steps, plan.steps_per_epoch, plan.evaluate_every) < 1:
            raise RunError("[plan] of the recipe: its numbers must be at least 1")
        if not plan._is_in_order():
            raise RunError("[plan] of the recipe: a correction lies outside of the run")
        if plan.speed is not None and not plan.speed.is_possible:
            raise RunError("[plan] of the recipe: its speed makes no sense")
        return plan


def _correction(values: Mapping[str, Any]) -> Correction:
    return Correction(**{k: _whole(v) for k, v in values.items()})


def _corrections(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the corrections of a saved plan; those of before had one at most."""
    if "correction" in values:
        return [values["correction"]]
    return list(values.get("corrections", ()))


def _whole(value: Any) -> int:
    """Returns a number that is whole and no larger than what can be counted."""
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError(f"{str(value)[:40]!r} is no whole number up to 2⁵³")
    return value


def plan_for_epochs(epochs: float, *, steps_per_epoch: int) -> Plan:
    """Returns the plan of a run over this many epochs; at least one step."""
    total = max(1, round(epochs * steps_per_epoch))
    return Plan(
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
        evaluate_every=max(1, math.ceil(epochs / 100)),
    )


def epochs_too_few(plan: Plan, epochs: float | None) -> str | None:
    """Returns one line where a run by epochs has too few steps, with epochs that would do.

    >>> epochs_too_few(plan_for_epochs(10, steps_per_epoch=2), 10)
    '20 steps in all are too few to learn much: --epochs 50 gives 100'
    """
    if epochs is None or plan.end >= FEWEST_STEPS:
        return None
    enough = math.ceil(FEWEST_STEPS / plan.steps_per_epoch)
    return (
        f"{plan.end} step{'s' * (plan.end > 1)} in all {'are' if plan.end > 1 else 'is'} too few "
        f"to learn much: --epochs {enough} gives {enough * plan.steps_per_epoch}"
    )
