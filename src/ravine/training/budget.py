"""From a budget in seconds to a number of steps.

Planned before step 1 from a measured speed, corrected at fixed shares of the run by the speed that
it had since the correction before: machines become busy, and quiet again.
"""

import math
from dataclasses import dataclass, field
from typing import final

from ravine.core.ranks import ALONE, Ranks
from ravine.training.clock import Clock
from ravine.training.plan import Plan, Speed

_MARGIN = 0.985  # of the time left; the rest is for checkpoints and for small stalls
_VALIDATION_SHARE = 0.04  # of the time of an epoch, at most, goes into its evaluation
_FEWEST_STEPS = 100  # of a run that can show something
# Shares of the run after which it is corrected. The last leaves little that can still go wrong.
_CORRECT_AT = (0.25, 0.5, 0.7, 0.85, 0.94)


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


def budget_too_short(plan: Plan, seconds: float | None) -> str | None:
    """Returns one line where too few steps fit into the budget, with one that would do.

    >>> speed = Speed(step=0.4, validation=2.0, final=11.0)
    >>> plan = plan_for_budget(16.0, speed, steps_per_epoch=175)
    >>> budget_too_short(plan, 20.0)
    '20 s leave time for 11 steps, as evaluating takes 11 s: --budget 60s gives more than 100'
    """
    if seconds is None or plan.speed is None or plan.end >= _FEWEST_STEPS:
        return None
    missing = (_FEWEST_STEPS - plan.end) * plan.speed.step / _MARGIN + plan.speed.validation
    enough = math.ceil((seconds + missing) / 30) * 30
    return (
        f"{seconds:g} s leave time for {plan.end} step{'s' * (plan.end > 1)}, as evaluating takes "
        f"{plan.speed.final:.0f} s: --budget {enough}s gives more than {_FEWEST_STEPS}"
    )


def is_time_to_correct(plan: Plan, step: int, spent: float) -> bool:
    """Returns whether a correction is due: at fixed shares of the budget or of the plan.

    Args:
        plan: of the run.
        step: steps done.
        spent: share of the budget that is used up.
    """
    made = len(plan.corrections)
    if plan.speed is None or plan.settled or made == len(_CORRECT_AT) or step >= plan.end:
        return False
    if made and step <= plan.corrections[-1].step:  # of a run that is repeated
        return False
    return max(spent, step / plan.end) >= _CORRECT_AT[made]


def correct_plan(plan: Plan, *, step: int, step_seconds: float, seconds_left: float) -> Plan:
    """Returns the plan whose end fits into `seconds_left` at the measured speed.

    Args:
        plan: a plan for a budget.
        step: steps done.
        step_seconds: mean seconds of a step since the last correction.
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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Seconds that training and the final evaluation may take.

    Attributes:
        seconds: of the whole run; None for a run over a number of epochs.
        clock: the seconds used up.
        ranks: the processes that train together; rank 0's clock decides for all.
    """

    seconds: float | None = None
    clock: Clock = field(default_factory=Clock)
    ranks: Ranks = ALONE

    def corrected(self, plan: Plan, step: int, step_seconds: float) -> Plan:
        """Returns the plan, or where it is time a corrected one that fits into the budget.

        Args:
            plan: a plan for a budget.
            step: steps done.
            step_seconds: mean seconds of a step since the last correction.
        """
        elapsed, step_seconds = self.ranks.broadcast(self.clock.elapsed(), step_seconds)
        if self.seconds is None or not is_time_to_correct(plan, step, elapsed / self.seconds):
            return plan
        left = self.seconds - elapsed
        return correct_plan(plan, step=step, step_seconds=step_seconds, seconds_left=left)
