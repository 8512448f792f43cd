"""How many steps a run takes, and how far it has come.

With a budget, the number of steps follows from a measured speed, once, before step 1. At
most one later correction is made, and at most one early stop; after each, progress runs linearly
from where it was to 1 at the new end, so that the schedule has no jump.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ravine.core.errors import RunError

_MOST = 2**53
_TABLES = ("correction", "stop", "speed")


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

    @property
    def is_possible(self) -> bool:
        """Whether these can be seconds."""
        rest = (self.validation, self.final, self.statistics)
        return 0 < self.step < math.inf and all(0 <= value < math.inf for value in rest)

    def with_statistics(self) -> Self:
        """Returns the speed of a run whose evaluations measure batch norm's statistics."""
        return replace(
            self,
            validation=self.validation + self.statistics,
            final=self.final + 3 * self.statistics,  # the last evaluation, and what is kept
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The length of a run, in steps.

    Attributes:
        total_steps: steps that were planned before step 1.
        steps_per_epoch: steps that visit each training image once.
        evaluate_every: epochs between evaluations on the validation images.
        correction: to the budget, once decided.
        stop: the early end of a run whose validation stands still, once decided.
        speed: what was measured before step 1, None without a budget.
    """

    total_steps: int
    steps_per_epoch: int
    evaluate_every: int = 1
    correction: Correction | None = None
    stop: Correction | None = None
    speed: Speed | None = None

    @property
    def _decided(self) -> list[Correction]:
        """What was decided on the way, in the order of its steps."""
        found = [one for one in (self.correction, self.stop) if one is not None]
        return sorted(found, key=lambda one: one.step)

    @property
    def end(self) -> int:
        """The number of steps after which the run ends."""
        decided = self._decided
        return decided[-1].total_steps if decided else self.total_steps

    def progress(self, step: int) -> float:
        """Returns how far the run has come before `step` (counted from 0), in [0, 1]."""
        before, start, end = 0.0, 0, self.total_steps
        for one in self._decided:
            if step < one.step:
                break
            before += (1 - before) * (one.step - start) / (end - start)
            start, end = one.step, one.total_steps
        return before + (1 - before) * (step - start) / (end - start) if step < end else 1.0

    def corrected(self, step: int, total_steps: int) -> Self:
        """Returns the plan that ends after `total_steps`, decided after `step` steps."""
        total = max(total_steps, step + 1)
        return replace(self, correction=Correction(step=step, total_steps=total))

    def stopped(self, step: int, total_steps: int) -> Self:
        """Returns the plan that ends early, after `total_steps`, decided after `step` steps."""
        return replace(self, stop=Correction(step=step, total_steps=total_steps))

    def ends_epoch(self, step: int) -> bool:
        """Returns whether an epoch ends when `step` steps are done."""
        return step % self.steps_per_epoch == 0

    def evaluates_after(self, step: int) -> bool:
        """Returns whether an evaluation follows when `step` steps are done."""
        return step % (self.steps_per_epoch * self.evaluate_every) == 0

    def to_values(self) -> dict[str, Any]:
        """Returns the plan as plain values without None."""
        values = asdict(self)
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Returns the plan that `to_values` gave.

        Raises:
            RunError: the values are no plan.
        """
        try:
            whole = {k: _whole(v) for k, v in values.items() if k not in _TABLES}
            speed = values.get("speed")
            plan = cls(
                **whole,
                correction=_decision(values.get("correction")),
                stop=_decision(values.get("stop")),
                speed=Speed(**{k: float(v) for k, v in speed.items()}) if speed else None,
            )
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(f"[plan] of the recipe cannot be read: {error}") from None
        if min(plan.total_steps, plan.steps_per_epoch, plan.evaluate_every) < 1:
            raise RunError("[plan] of the recipe: its numbers must be at least 1")
        fixed = plan.correction
        if fixed is not None and not fixed.step < fixed.total_steps:
            raise RunError("[plan] of the recipe: its correction lies outside of the run")
        if plan.stop is not None and plan.stop.step > plan.stop.total_steps:
            raise RunError("[plan] of the recipe: its early stop lies outside of the run")
        if plan.speed is not None and not plan.speed.is_possible:
            raise RunError("[plan] of the recipe: its speed makes no sense")
        return plan


def _decision(values: Mapping[str, Any] | None) -> Correction | None:
    return Correction(**{k: _whole(v) for k, v in values.items()}) if values else None


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
