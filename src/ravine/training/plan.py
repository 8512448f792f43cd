"""How many steps a run takes, and how far it has come.

With a budget, the number of steps follows from a measured speed, once, before step 1. At
most one later correction is made; after it, progress runs linearly from where it
was to 1 at the corrected end, so that the schedule has no jump.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ravine.core.errors import RunError


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

    def with_statistics(self) -> Self:
        """Returns the speed of a run whose evaluations measure batch norm's statistics."""
        return replace(
            self,
            validation=self.validation + self.statistics,
            final=self.final + 2 * self.statistics,  # the last evaluation, and what is kept
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The length of a run, in steps.

    Attributes:
        total_steps: steps that were planned before step 1.
        steps_per_epoch: steps that visit each training image once.
        evaluate_every: epochs between evaluations on the validation images.
        correction: the correction, once decided.
        speed: what was measured before step 1, None without a budget.
    """

    total_steps: int
    steps_per_epoch: int
    evaluate_every: int = 1
    correction: Correction | None = None
    speed: Speed | None = None

    @property
    def end(self) -> int:
        """The number of steps after which the run ends."""
        return self.correction.total_steps if self.correction else self.total_steps

    def progress(self, step: int) -> float:
        """Returns how far the run has come before `step` (counted from 0), in [0, 1]."""
        correction = self.correction
        if correction is None or step < correction.step:
            return step / self.total_steps
        before = correction.step / self.total_steps
        rest = correction.total_steps - correction.step
        return before + (1 - before) * (step - correction.step) / rest

    def corrected(self, step: int, total_steps: int) -> Self:
        """Returns the plan that ends after `total_steps`, decided after `step` steps."""
        total = max(total_steps, step + 1)
        return replace(self, correction=Correction(step=step, total_steps=total))

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
            whole = {k: int(v) for k, v in values.items() if k not in ("correction", "speed")}
            correction, speed = values.get("correction"), values.get("speed")
            plan = cls(
                **whole,
                correction=Correction(**{k: int(v) for k, v in correction.items()})
                if correction
                else None,
                speed=Speed(**{k: float(v) for k, v in speed.items()}) if speed else None,
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise RunError(f"[plan] of the recipe cannot be read: {error}") from None
        if min(plan.total_steps, plan.steps_per_epoch, plan.evaluate_every) < 1:
            raise RunError("[plan] of the recipe: its numbers must be at least 1")
        return plan


def plan_for_epochs(epochs: float, *, steps_per_epoch: int) -> Plan:
    """Returns the plan of a run over this many epochs; at least one step."""
    total = max(1, round(epochs * steps_per_epoch))
    return Plan(
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
        evaluate_every=max(1, math.ceil(epochs / 100)),
    )


_MARGIN = 0.985  # of the time left; the rest is for checkpoints and for small stalls
_VALIDATION_SHARE = 0.04  # of the time of an epoch, at most, goes into its evaluation
# Shares of the budget after which the one correction is made: late enough that little can
# change after it, early enough that there is something left to correct.
_CORRECT_AT_EPOCH_END = 0.78
_CORRECT_AT_LATEST = 0.86


def steps_within(seconds: float, speed: Speed, *, steps_per_epoch: int, evaluate_every: int) -> int:
    """Returns the steps that fit, with their evaluations and the final one, into `seconds`."""
    per_step = speed.step + speed.validation / (steps_per_epoch * evaluate_every)
    return int((seconds * _MARGIN - speed.final) / per_step)


def plan_for_budget(seconds: float, speed: Speed, *, steps_per_epoch: int) -> Plan:
    """Returns the longest plan whose training and final evaluation end within `seconds`."""
    epoch = steps_per_epoch * speed.step
    every = max(1, math.ceil(speed.validation / (_VALIDATION_SHARE * epoch)))
    total = max(
        1, steps_within(seconds, speed, steps_per_epoch=steps_per_epoch, evaluate_every=every)
    )
    return Plan(
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
        evaluate_every=every,
        speed=speed,
    )


def is_time_to_correct(plan: Plan, step: int, spent: float) -> bool:
    """Returns whether the one correction is due: late in the budget or late in the plan.

    It waits for an epoch's end, but not for ever, since epochs may be long.

    Args:
        plan: of the run.
        step: steps done.
        spent: share of the budget that is used up.
    """
    if plan.speed is None or plan.correction is not None:
        return False
    done = max(spent, step / plan.end)
    return done >= (_CORRECT_AT_EPOCH_END if plan.ends_epoch(step) else _CORRECT_AT_LATEST)


def correct_plan(plan: Plan, *, step: int, step_seconds: float, seconds_left: float) -> Plan:
    """Returns the plan whose end fits into `seconds_left` at the measured speed.

    Args:
        plan: a plan for a budget, not yet corrected.
        step: steps done.
        step_seconds: mean seconds of a step so far.
        seconds_left: of the budget.
    """
    if plan.speed is None:
        return plan
    slower = step_seconds / plan.speed.step
    speed = Speed(
        step=step_seconds,
        validation=plan.speed.validation * slower,
        final=plan.speed.final * slower,
    )
    rest = steps_within(
        seconds_left,
        speed,
        steps_per_epoch=plan.steps_per_epoch,
        evaluate_every=plan.evaluate_every,
    )
    return plan.corrected(step, step + rest)
