"""The training loop, in the open.

    batch -> step -> (evaluation at an epoch's end) -> (one correction of the plan)
          -> (checkpoint every minute and when asked to stop)

Observers are told of each; they look and never touch.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ravine.core.errors import TrainingDiverged
from ravine.core.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    Notice,
    Observer,
    StepDone,
)
from ravine.core.ranks import ALONE, Ranks
from ravine.data.batches import Batch
from ravine.schedules.scheduler import Curve, Scheduler
from ravine.training.clock import Clock
from ravine.training.evaluation import Evaluation
from ravine.training.meter import Meter
from ravine.training.plan import Plan
from ravine.training.rollback import Rollback
from ravine.training.state import TrainingState
from ravine.training.stop import Interrupted, StopRequest
from ravine.training.train_step import Forward, StepRules, train_step

_ASKED_EVERY = 8  # steps of several processes, which must agree on when to stop or save
_DIVERGED_AFTER = 100  # undone steps in a row; looked at as often


class Batches(Protocol):
    """Batches by step: a pure function, so that a resumed run sees the same ones."""

    def batch_at(self, step: int) -> Batch:
        """Returns the batch of this step, counted from 0."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the loop asks of the run around it."""

    validate: Callable[[torch.nn.Module], Evaluation] | None
    """Evaluates on the validation images, if there are any."""

    save: Callable[[TrainingState], Path]
    """Saves a checkpoint and returns where."""

    correct: Callable[[Plan, float], Plan]
    """Returns the plan; where it is time, corrected by the seconds of a step and kept on disk."""


def fit(
    state: TrainingState,
    batches: Batches,
    *,
    forward: Forward,
    rules: StepRules,
    plan: Plan,
    schedules: Mapping[str, Curve],
    hooks: Hooks,
    observers: Sequence[Observer],
    stop: StopRequest,
    clock: Clock,
    checkpoint_every: float,
    ranks: Ranks = ALONE,
    rollback: Rollback | None = None,
) -> Plan:
    """Trains `state` to the end of `plan` and returns the plan, corrected or not.

    Raises:
        Interrupted: a signal asked to stop; a checkpoint is saved.
        TrainingDiverged: a hundred steps in a row were not finite.
    """

    def tell(event: Event) -> None:
        for observer in observers:
            observer(event)

    def checkpoint() -> Path:
        state.elapsed = clock.elapsed()
        path = hooks.save(state)
        ranks.wait()  # no process ends before it is saved
        tell(CheckpointSaved(step=state.step, path=str(path)))
        return path

    if rollback is not None:
        schedules = rollback.schedules(schedules)
        rollback.begin(state)
    scheduler = Scheduler(state.optimizer, steps=plan.total_steps, **schedules)
    state.model.train()
    meter = Meter(state.transaction.skipped.device)
    saved_at = time.monotonic()
    while state.step < plan.end:
        scheduler.set_at(plan.progress(state.step))
        batch = batches.batch_at(state.step)
        result = train_step(state, forward, batch, rules=rules)
        meter.add(result.loss, result.correct, batch.count)
        tell(
            StepDone(
                step=state.step,
                total_steps=plan.end,
                lr=float(state.optimizer.param_groups[0]["lr"]),
                loss=result.loss,
                correct=result.correct,
                gradient_norm=result.gradient_norm,
                seen=batch.count,
                skipped=state.transaction.skipped,
                elapsed=clock.elapsed(),
            )
        )
        if rollback is not None and (back := rollback.after_step(state, result.loss)) is not None:
            tell(back)
            text = f"step {back.step}: {back.reason}; back to step {back.to} with rates × "
            tell(Notice(text=f"{text}{back.scale:g}", warning=True))
            checkpoint()
            meter.restart()
            continue
        if plan.speed is not None and plan.correction is None:
            plan = hooks.correct(plan, meter.seconds_per_step())
        if plan.evaluates_after(state.step) or state.step == plan.end:
            tell(_epoch_done(state, plan, meter, hooks, clock))
            meter.restart()
        if (
            rollback is None
            and state.step % _DIVERGED_AFTER == 0
            and int(state.transaction.streak) >= _DIVERGED_AFTER
        ):
            checkpoint()
            raise _diverged(state)
        if ranks.size > 1 and state.step % _ASKED_EVERY:
            continue
        due = time.monotonic() - saved_at >= checkpoint_every
        signal_number, due_anywhere = ranks.largest(stop.signal_number or 0, due)
        if signal_number:
            raise Interrupted(int(signal_number), checkpoint())
        if due_anywhere:
            checkpoint()
            saved_at = time.monotonic()
    checkpoint()
    return plan


def _epoch_done(
    state: TrainingState, plan: Plan, meter: Meter, hooks: Hooks, clock: Clock
) -> Event:
    train_loss, train_accuracy, speed = meter.close()
    epoch = state.step / plan.steps_per_epoch
    found = hooks.validate(state.evaluated) if hooks.validate else None
    state.model.train()
    return EpochDone(
        epoch=epoch,
        step=state.step,
        total_steps=plan.end,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        accuracy=found.accuracy if found else None,
        interval=found.interval if found else None,
        loss=found.loss if found else None,
        images_per_second=speed,
        elapsed=clock.elapsed(),
    )


def _diverged(state: TrainingState) -> TrainingDiverged:
    undone = int(state.transaction.streak)
    step = int(state.transaction.first_skipped[0]) + 1
    return TrainingDiverged(
        f"training diverged: the last {undone} steps were not finite and were undone, "
        f"the first at step {step}; lower --lr, or limit the gradients with --clip 1"
    )
