"""Writes what happens to history.jsonl: about a line a second, and one per epoch."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ravine.core.events import EpochDone, Event, RolledBack, StepDone
from ravine.core.lazy import lazy_module
from ravine.runs.history_file import read_history
from ravine.runs.rows import append_row, rewrite_rows

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")


@final
@dataclass(slots=True, kw_only=True)
class Recorder:
    """An observer that keeps the history of a run in a file.

    Attributes:
        path: history.jsonl.
        steps_per_epoch: for the epoch of a step.
        every: least seconds between two lines of steps.
    """

    path: Path
    steps_per_epoch: int
    every: float = 1.0
    _pending: list[StepDone] = field(default_factory=list)
    _written: float = field(default_factory=time.monotonic)
    _seen: float = 0.0

    def __call__(self, event: Event) -> None:
        """Records one event."""
        if isinstance(event, StepDone):
            self._pending.append(event)
            self._seen = time.monotonic()
            if self._seen - self._written >= self.every:
                self._write_steps()
        elif isinstance(event, EpochDone):
            self._write_steps()
            append_row(self.path, epoch_row(event))
        elif isinstance(event, RolledBack):
            self._go_back(event)

    def _go_back(self, event: RolledBack) -> None:
        """Removes the rows of the undone steps and appends the row of the rollback."""
        self._pending.clear()
        self._written = time.monotonic()
        kept = [row for row in read_history(self.path) if row["step"] <= event.to]
        rewrite_rows(self.path, [*kept, rollback_row(event)])

    def _write_steps(self) -> None:
        if self._pending:
            # Up to the last step: an evaluation after it is not the steps' time.
            seconds = self._seen - self._written
            append_row(self.path, steps_row(self._pending, seconds, self.steps_per_epoch))
        self._pending.clear()
        self._written = time.monotonic()


def steps_row(events: list[StepDone], seconds: float, steps_per_epoch: int) -> dict[str, Any]:
    """Returns the row of several consecutive steps; reading its tensors waits once."""
    last = events[-1]
    losses = torch.stack([event.loss for event in events]).double()
    is_finite = losses.isfinite()
    finite = losses[is_finite]
    floors = torch.stack([torch.zeros(()) if e.floor is None else e.floor for e in events])
    floor = float(floors.double()[is_finite].mean()) if len(finite) else 0.0
    seen = sum(event.seen for event in events)
    return {
        "kind": "step",
        "step": last.step,
        "epoch": last.step / steps_per_epoch,
        "loss": float(finite.mean()) if len(finite) else None,
        **({"loss_floor": floor} if floor > 0 else {}),
        last.measure: int(torch.stack([event.correct for event in events]).sum()) / seen,
        "lr": last.lr,
        "images_per_second": seen / max(seconds, 1e-9),
        "elapsed": last.elapsed,
        "skipped": int(last.skipped),
        "gradient_norm": float(last.gradient_norm),
    }


def epoch_row(event: EpochDone) -> dict[str, Any]:
    """Returns the row of one epoch; with several labels the scores stand for the accuracy."""
    one = {"accuracy": event.accuracy, "interval": event.interval}
    return {
        "kind": "epoch",
        "epoch": event.epoch,
        "step": event.step,
        "train_loss": event.train_loss,
        **({"train_loss_floor": event.train_loss_floor} if event.train_loss_floor > 0 else {}),
        f"train_{event.measure}": event.train_accuracy,
        **(one if event.measure == "accuracy" else event.scores),
        "loss": event.loss,
        "elapsed": event.elapsed,
        "images_per_second": event.images_per_second,
    }


def rollback_row(event: RolledBack) -> dict[str, Any]:
    """Returns the row of a rollback; its step is the one from which the run goes on."""
    return {
        "kind": "rollback",
        "step": event.to,
        "from": event.step,
        "scale": event.scale,
        "reason": event.reason,
    }
