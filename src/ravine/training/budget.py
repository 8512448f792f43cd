"""From a budget in seconds to a number of steps.

Planned before step 1 from a measured speed, and corrected after each twentieth of the run, near its
end each hundredth, by the speed that it had since the last: machines become busy, and quiet again.
What the evaluations will take is timed again on the way (`timed_images.py`).
"""

import math
from dataclasses import dataclass, field
from typing import Self, final

from ravine.core.counted import counted
from ravine.core.ranks import ALONE, Ranks
from ravine.findings.thresholds import FEW_STEPS
from ravine.training.clock import Clock
from ravine.training.plan import FEWEST_STEPS, Plan, Speed
from ravine.training.timed_images import TimedImages, slowness_by_steps

_MARGIN = 0.985  # of the time left; the rest is for checkpoints and for small stalls
_VALIDATION_SHARE = 0.04  # of the time of an epoch, at most, goes into its evaluation
# Shares of the run after which the plan is compared with the clock, and those near its end.
_EVERY, _NEAR_END, _EVERY_NEAR_END = 0.05, 0.9, 0.01
_WORTH_CORRECTING = 0.01  # of the plan's steps
_LONGER, _ROUND = 3.0, 30  # times a budget that was too short, and seconds that it is rounded to


def steps_within(
    seconds: float,
    speed: Speed,
    *,
    steps_per_epoch: int,
    evaluate_every: int,
    progress: float = 0.0,
) -> int:
    """Returns the steps that fit, with their evaluations and the final one, into `seconds`.

    Args:
        seconds: that are left.
        speed: of steps and evaluations.
        steps_per_epoch: steps that visit each image once.
        evaluate_every: epochs between evaluations.
        progress: of the run so far, in [0, 1).
    """
    step = speed.step_between(progress)
    per_step = step + speed.validation / (steps_per_epoch * evaluate_every)
    return int((seconds * _MARGIN - speed.final) / per_step)


def plan_for_budget(seconds: float, speed: Speed, *, steps_per_epoch: int) -> Plan:
    """Returns the longest plan whose training and final evaluation end within `seconds`."""
    epoch = steps_per_epoch * speed.step_between(0.0)
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
    '20 s leave time for 11 steps, as evaluating takes 11 s: --budget 150s gives more than 300'
    """
    if seconds is None or plan.speed is None or plan.end >= FEWEST_STEPS:
        return None
    return (
        f"{seconds:g} s leave time for {counted(plan.end, 'step')}, as evaluating takes "
        f"{plan.speed.final:.0f} s: --budget {enough_budget(plan, seconds)}s gives more than "
        f"{FEW_STEPS}"
    )


def enough_budget(plan: Plan, seconds: float) -> int | None:
    """Returns the seconds of a budget that leaves time to learn; None where no speed is known.

    By what was planned before step 1, so that a run names the same at its start and at its end:
    `FEW_STEPS`, and three times the budget at least. Much of a short budget is evaluating, which a
    longer one has no more of.

    Args:
        plan: of the run.
        seconds: its budget.
    """
    if plan.speed is None:
        return None
    step = plan.speed.step_between(0.0)
    missing = (FEW_STEPS - plan.total_steps) * step / _MARGIN + plan.speed.validation
    return math.ceil(max(_LONGER * seconds, seconds + missing) / _ROUND) * _ROUND


def correct_plan(
    plan: Plan,
    *,
    step: int,
    step_seconds: float,
    seconds_left: float,
    over: int = 1,
    evaluations: float | None = None,
) -> Plan:
    """Returns the plan whose end fits into `seconds_left` at the measured speed.

    Args:
        plan: a plan for a budget; itself where less than a hundredth would change.
        step: steps done.
        step_seconds: mean seconds of a step lately.
        seconds_left: of the budget.
        over: the last so many steps, of which that is the mean.
        evaluations: how many times as long as planned they take; by default as the steps say.
    """
    if plan.speed is None:
        return plan
    slower = slowness(plan, plan.speed, step, step_seconds, over=over)
    if evaluations is None:
        evaluations = slowness_by_steps(slower)
    speed = plan.speed.slowed(slower, evaluations=evaluations)
    rest = steps_within(
        seconds_left,
        speed,
        steps_per_epoch=plan.steps_per_epoch,
        evaluate_every=plan.evaluate_every,
        progress=plan.progress(step),
    )
    found = plan.corrected(step, step + rest)
    return plan if abs(found.end - plan.end) < _WORTH_CORRECTING * plan.end else found


def slowness(plan: Plan, speed: Speed, step: int, seconds: float, *, over: int) -> float:
    """Returns the mean seconds of the last `over` steps, in those that the speed has for them."""
    first = max(0, step - over)
    return seconds / speed.step_between(plan.progress(first), plan.progress(step))


@final
@dataclass(slots=True, kw_only=True)
class Budget:
    """Seconds that training and the final evaluation may take.

    Attributes:
        seconds: of the whole run; None for a run over a number of epochs.
        clock: the seconds used up.
        ranks: the processes that train together; rank 0's clock decides for all.
        checked: share of the run after which the plan was last compared with the clock.
        images: what evaluations were last seen to take.
    """

    seconds: float | None = None
    clock: Clock = field(default_factory=Clock)
    ranks: Ranks = ALONE
    checked: float = 0.0
    images: TimedImages = field(default_factory=TimedImages)

    def begun(self) -> Self:
        """Returns itself with the seconds before the first step counted as checked.

        They are part of the plan; else the first step alone, which may be slow, decided its end.
        """
        if self.seconds is not None:
            self.checked = self._elapsed() / self.seconds
        return self

    def is_time_to_check(self, plan: Plan, step: int) -> bool:
        """Returns whether a twentieth of the budget or of the plan has gone by since last time.

        Near the end, after nine tenths, a hundredth is enough. A plan of an ended run, one of a
        repeated run up to its last correction, and one that was shortened as validation stands
        still, is not checked: it is followed.
        """
        if self.seconds is None or plan.speed is None or plan.settled or step >= plan.end:
            return False
        if plan.stop is not None:
            return False
        if plan.corrections and step <= plan.corrections[-1].step:
            return False
        done = max(self._elapsed() / self.seconds, step / plan.end)
        if done < self.checked + (_EVERY if done < _NEAR_END else _EVERY_NEAR_END):
            return False
        self.checked = done
        return True

    def images_to_time(self, plan: Plan, step: int, step_seconds: float, *, over: int) -> int:
        """Returns by how many images an evaluation is timed now; 0 where it is not.

        The arguments are those of `corrected`.
        """
        if self.seconds is None or plan.speed is None or not plan.speed.image:
            return 0
        slower = slowness(plan, plan.speed, step, step_seconds, over=over)
        slower, elapsed = self.ranks.broadcast(slower, self.clock.elapsed())
        self.images, count = self.images.due(
            slower=slower, elapsed=elapsed, budget=self.seconds, planned=plan.speed.image
        )
        return count

    def timed(self, count: int, image: float, spent: float) -> None:
        """Notes the seconds of each of `count` images of an evaluation, and of timing them."""
        image, spent = self.ranks.broadcast(image, spent)
        self.images = self.images.with_timed(count, image, spent)

    def corrected(self, plan: Plan, step: int, step_seconds: float, *, over: int = 1) -> Plan:
        """Returns the plan, or one that fits into the budget where that differs.

        Args:
            plan: a plan for a budget.
            step: steps done.
            step_seconds: mean seconds of a step since the last check.
            over: the last so many steps, of which it is the mean.
        """
        left = (self.seconds or 0.0) - self._elapsed()
        step_seconds = self.ranks.broadcast(step_seconds)[0]
        return correct_plan(
            plan,
            step=step,
            step_seconds=step_seconds,
            seconds_left=left,
            over=over,
            evaluations=self._evaluations(plan, step, step_seconds, over=over),
        )

    def _evaluations(
        self, plan: Plan, step: int, step_seconds: float, *, over: int
    ) -> float | None:
        """Returns how many times as long as planned evaluations take; None where none was timed."""
        if plan.speed is None or not self.images.count:
            return None
        slower = slowness(plan, plan.speed, step, step_seconds, over=over)
        return self.images.slowness(slower=slower, planned=plan.speed.image)

    def _elapsed(self) -> float:
        return self.ranks.broadcast(self.clock.elapsed())[0]
