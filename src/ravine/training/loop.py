"""The training loop, in the open.

    batch -> step -> (rollback) -> (correction of the plan)
          -> (evaluation at an epoch's end, and an early stop where it stands still)
          -> (checkpoint every minute and on a stop signal)

Observers receive an event of each. They read, and change nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from ravine.core.counted import counted
from ravine.core.events import (
    EpochDone,
    Event,
    Notice,
    Observer,
    PlanCorrected,
    RolledBack,
    StepDone,
    ignore,
)
from ravine.data.batches import Batch, StepBatches
from ravine.nn.freezing import training_mode_
from ravine.schedules.scheduler import Curve, Scheduler
from ravine.training.budget import Budget
from ravine.training.checkpointing import Checkpointing
from ravine.training.clock import Clock
from ravine.training.divergence import Divergence, StopOnDivergence
from ravine.training.early_stop import end_early
from ravine.training.evaluation import Evaluation
from ravine.training.plan import Plan
from ravine.training.progressive_resizing import SmallImages
from ravine.training.state import TrainingState
from ravine.training.step_meter import StepMeter
from ravine.training.train_step import Forward, StepResult, StepSettings, train_step

_WORTH_SAYING = 0.15  # of the steps that were said; smaller corrections are in the events only
Validation = Callable[[nn.Module], Evaluation]
TimedEvaluation = Callable[[nn.Module, int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is trained, on what, and how."""

    state: TrainingState
    forward: Forward
    """Images (B, C, H, W) to logits (B, K): the network, compiled or not."""

    batches: StepBatches
    """By step: a pure function, so that a resumed run sees the same ones."""

    step: StepSettings
    schedules: Mapping[str, Curve]
    validate: Validation | None
    """Evaluates a network on the validation images, if there are any."""

    patience: int = 0
    """Epochs without a better evaluation after which the run comes to its end; 0 for no limit."""

    small: SmallImages | None = None
    """What the first steps see; None for full images throughout."""

    time_image: TimedEvaluation | None = None
    """Times an evaluation of so many images by a network: the seconds of one."""

    def batch_at(self, step: int, progress: float) -> Batch:
        """Returns the batch of `step`, counted from 0, at this progress in [0, 1]."""
        batch = self.batches.batch_at(step)
        return batch if self.small is None else self.small.batch_at(progress, batch)


def fit(
    training: Training,
    plan: Plan,
    *,
    divergence: Divergence | None = None,
    checkpointing: Checkpointing | None = None,
    budget: Budget | None = None,
    emit: Observer = ignore,
) -> Plan:
    """Trains to the end of `plan` and returns the plan, corrected or not.

    Args:
        training: whose state is changed.
        plan: the steps to go.
        divergence: what happens to a run that diverges; by default it stops.
        checkpointing: when and where the state is saved, and the stop signal; by default nothing is
            saved.
        budget: corrects the plan as time goes by; by default there is none.
        emit: receives every event.

    Raises:
        Interrupted: a stop signal; a checkpoint is saved.
        TrainingDiverged: the run diverged and could not be taken back; a checkpoint is saved.
    """
    state = training.state
    divergence = divergence or StopOnDivergence()
    checkpointing = checkpointing or Checkpointing()
    budget = (budget or Budget()).begun()
    divergence.begin(state)
    schedules = divergence.schedules(training.schedules)
    scheduler = Scheduler(state.optimizer, steps=plan.total_steps, **schedules)
    training_mode_(state.model)
    (meter := state.meter).resume_clock()
    while state.step < plan.end:
        scheduler.set_at(progress := plan.progress(state.step))
        batch = training.batch_at(state.step, progress)
        result = train_step(state, training.forward, batch, settings=training.step)
        meter.add(result.loss, result.floor, result.correct, batch.count)
        emit(_step_done(state, plan, batch, result, budget.clock))
        if (back := divergence.after_step(state, result.loss)) is not None:
            _report_rollback(back, emit)
            meter.restart()
            checkpointing.save(state)
            continue
        if budget.is_time_to_check(plan, state.step):
            plan = _corrected(training, plan, meter, budget, emit)
        if plan.evaluates_after(state.step) or state.step == plan.end:
            plan = _evaluated(training, plan, schedules, batch, budget.clock, emit)
            meter.restart()
        if (lost := divergence.lost(state)) is not None:
            checkpointing.save(state)
            raise lost
        checkpointing.after_step(state)
    checkpointing.save(state)
    return plan


def _report_rollback(back: RolledBack, emit: Observer) -> None:
    emit(back)
    emit(Notice(text=back.text(), warning=True))


def _corrected(
    training: Training, plan: Plan, meter: StepMeter, budget: Budget, emit: Observer
) -> Plan:
    step = training.state.step
    seconds, over = meter.seconds_per_step()
    images = budget.images_to_time(plan, step, seconds, over=over)
    if images and training.time_image is not None:
        began = time.monotonic()
        image = training.time_image(training.state.evaluated, images)
        budget.timed(images, image, spent := time.monotonic() - began)
        meter.leave_out(spent)
    corrected = budget.corrected(plan, step, seconds, over=over)
    meter.restart_pace()
    if corrected is not plan:
        emit(_plan_corrected(plan, corrected, step))
        said = _said(plan)
        if _said(corrected) != said:
            emit(Notice(text=f"plan corrected: {counted(said, 'step')} become {corrected.end:,}"))
    return corrected


def _said(plan: Plan) -> int:
    """Returns the length of a run as it was last said: small corrections are not."""
    said = plan.total_steps
    for one in plan.corrections:
        if abs(one.total_steps - said) > _WORTH_SAYING * said:
            said = one.total_steps
    return said


def _plan_corrected(before: Plan, after: Plan, step: int) -> Event:
    return PlanCorrected(step=step, before=before.end, end=after.end, plan=after.to_values())


def _step_done(
    state: TrainingState, plan: Plan, batch: Batch, result: StepResult, clock: Clock
) -> Event:
    return StepDone(
        step=state.step,
        total_steps=plan.end,
        lr=float(state.optimizer.param_groups[0]["lr"]),
        loss=result.loss,
        floor=result.floor,
        correct=result.correct,
        gradient_norm=result.gradient_norm,
        seen=batch.count,
        skipped=state.transaction.skipped,
        elapsed=clock.elapsed(),
        measure=_measure(batch),
    )


def _measure(batch: Batch) -> str:
    return "accuracy" if batch.labels.dim() == 1 else "exact_match"


def _evaluated(
    training: Training,
    plan: Plan,
    schedules: Mapping[str, Curve],
    batch: Batch,
    clock: Clock,
    emit: Observer,
) -> Plan:
    """Evaluates at an epoch's end, and returns the plan, shortened where it ends early."""
    state = training.state
    trained = state.meter.close()
    found = training.validate(state.evaluated) if training.validate else None
    training_mode_(state.model)
    if found is not None:
        state.validations.add(state.step, found, state.evaluated)
    done = EpochDone(
        epoch=state.step / plan.steps_per_epoch,
        step=state.step,
        total_steps=plan.end,
        train_loss=trained.loss,
        train_loss_floor=trained.floor,
        train_accuracy=trained.accuracy,
        accuracy=found.accuracy if found else None,
        interval=found.interval if found else None,
        loss=found.loss if found else None,
        images_per_second=trained.images_per_second,
        elapsed=clock.elapsed(),
        measure=_measure(batch),
        scores=found.scores if found else {},
    )
    emit(done)
    rows = state.validations.rows
    ended = end_early(plan, state.step, rows, patience=training.patience, schedules=schedules)
    if ended is not plan:
        emit(_plan_corrected(plan, ended, state.step))
        emit(Notice(text=_stop_text(plan, ended, training.patience)))
    return ended


def _stop_text(before: Plan, after: Plan, patience: int) -> str:
    assert after.stop is not None
    left = after.end - after.stop.step
    rest = (
        f"the rest of the schedule runs in {counted(left, 'step')}" if left else "the run ends here"
    )
    return (
        f"validation stands still for {counted(patience, 'epoch')}: {rest}, "
        f"{after.end} in all instead of {before.end}"
    )
