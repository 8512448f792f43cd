"""One job, done in the process that this runs in: train a run folder up to a share of its steps.

The run is trained by `ravine.workflows.train`, as `ravine train` does it. At its rung it is asked
to stop as Ctrl-C would ask it, so that it leaves a checkpoint and goes on later, bitwise as if it
had never paused. A watcher keeps the loss of every step in losses.jsonl, from which rungs decide.
"""

import math
import os
import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch

from ravine.core.allowed_code import AllowedCode
from ravine.core.atomic import write_whole
from ravine.core.errors import RavineError
from ravine.core.events import CheckpointSaved, Event, StepDone, TrainingStarted
from ravine.runs.folder import RunFolder
from ravine.runs.links import refuse_link
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import append_row, read_json, read_rows, rewrite_rows
from ravine.tournament.job_graph import Job, Outcome, Status
from ravine.tournament.rungs import WINDOW
from ravine.training.stop import Interrupted
from ravine.workflows.resume import resume
from ravine.workflows.train import train

LOSSES = "losses.jsonl"
_ROWS = 60  # of losses.jsonl over a whole run
_DIGITS = 10


@final
@dataclass(slots=True, kw_only=True)
class Watcher:
    """An observer that keeps every step's loss, tells how far the run is, and pauses it.

    Attributes:
        path: losses.jsonl.
        share: of the steps after which the run is paused; 1 lets it end.
        told: file that says how far the run is, for whoever watches the race.
        parent: process without which the run would go on for nobody; 0 for none.
    """

    path: Path
    share: float
    told: Path | None = None
    parent: int = 0
    step: int = 0
    total_steps: int = 0
    until: int = 0
    _pending: list[torch.Tensor] = field(default_factory=list)
    _asked: bool = False

    def __call__(self, event: Event) -> None:
        """Takes note of one event."""
        if isinstance(event, TrainingStarted):
            self._start(event)
        elif isinstance(event, StepDone):
            self._pending.append(event.loss)
            self.step = event.step
            if event.step % max(1, self.total_steps // _ROWS) == 0 or event.step == self.until:
                self._write(event.elapsed)
            orphaned = self.parent and os.getppid() != self.parent
            if not self._asked and (orphaned or self.step >= self.until < self.total_steps):
                self._asked = True
                signal.raise_signal(signal.SIGTERM)
        elif isinstance(event, CheckpointSaved) and self._pending:
            self._write(None)

    def _start(self, event: TrainingStarted) -> None:
        self.step, self.total_steps = event.step, event.total_steps
        self.until = max(1, math.ceil(self.share * event.total_steps))
        if self.path.exists():
            # What came after the checkpoint that the run goes on from comes again.
            rewrite_rows(self.path, _up_to(read_rows(self.path), event.step))

    def _write(self, elapsed: float | None) -> None:
        losses = torch.stack(self._pending).double().tolist() if self._pending else []
        first = self.step - len(losses) + 1
        append_row(self.path, {"first": first, "losses": losses, "elapsed": elapsed})
        self._pending.clear()
        if self.told is not None:
            self.told.write_text(f"{self.step} {self.total_steps}", encoding="utf-8")


def _up_to(rows: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    kept = []
    for row in rows:
        losses = row["losses"][: max(0, step - row["first"] + 1)]
        if losses:
            kept.append({**row, "losses": losses})
    return kept


def losses_of(path: Path) -> list[float | None]:
    """Returns the loss of every step so far; None where it was not finite."""
    return [loss for row in read_rows(path / LOSSES) for loss in row["losses"]]


def recent_loss(losses: list[float | None]) -> float | None:
    """Returns the mean over the last fifth, None if most of them were not finite.

    >>> recent_loss([9.0, 3.0, 2.0, 1.0, 0.5])
    0.5
    """
    window = losses[-max(1, math.ceil(WINDOW * len(losses))) :]
    finite = [loss for loss in window if loss is not None]
    if 2 * len(finite) < len(window) or not finite:
        return None
    return round(math.fsum(finite) / len(finite), _DIGITS)


def do(
    job: Job,
    runs: Path,
    *,
    told: Path | None = None,
    parent: int = 0,
    allow_code: Sequence[str] = (),
) -> Outcome | None:
    """Trains and returns what became of it; None if it was interrupted and is to be gone on with.

    Args:
        job: what to do.
        runs: where the run folders lie.
        told: file that says how far the run is.
        parent: process whose end stops this one.
        allow_code: the `module:callable`s that may be imported as the network.
    """
    began = time.monotonic()
    path = runs / job.run
    watcher = Watcher(path=path / LOSSES, share=job.share, told=told, parent=parent)
    status: Status = "ended"
    text = ""
    try:
        refuse_link(path)
        if (path / "recipe.toml").is_file():
            _wait_for_lock(path)
            resume(path, allow_code=allow_code, observers=[watcher])
        else:
            # To `train` a setting is the user's word; this one comes from a file.
            AllowedCode.of(allow_code).check(str(job.settings.get("model")))
            train(out=path, observers=[watcher], **job.settings)
    except Interrupted:
        if watcher.step < watcher.until or watcher.until >= watcher.total_steps:
            return None
        status = "paused"
    except RavineError as error:
        text = str(error)
        status = "diverged" if text.startswith("training diverged") else "failed"
    except (MemoryError, torch.OutOfMemoryError) as error:
        status, text = "memory", f"out of memory: {_first_line(error)}"
    except Exception as error:
        status, text = "failed", f"{type(error).__name__}: {_first_line(error)}"
        if "allocate memory" in text:
            status, text = "memory", f"out of memory: {_first_line(error)}"
        elif path.is_dir():
            write_whole(path / "error.txt", traceback.format_exc().encode())
    return read_outcome(
        path, status=status, text=text, wall=time.monotonic() - began, share=job.share
    )


def read_outcome(
    path: Path, *, status: Status, text: str = "", wall: float = 0.0, share: float = 1.0
) -> Outcome:
    """Returns the outcome of a run from the files in its folder."""
    total = 0
    if (path / "recipe.toml").is_file():
        total = int((read_recipe(RunFolder(path).recipe)[1] or {}).get("total_steps", 0))
    # A run that was killed between its pause and its outcome has gone on by a step.
    losses = losses_of(path)[: max(1, math.ceil(share * total))]
    loss = recent_loss(losses)
    if status in ("ended", "paused") and losses and loss is None:
        status, text = "diverged", f"the loss was not finite at step {losses.index(None) + 1}"
    rows = read_rows(path / "history.jsonl")
    epochs = [row for row in rows if row.get("kind") == "epoch"] if status == "ended" else []
    end = epochs[-1] if epochs else {}
    folder = RunFolder(path)
    evaluated = status == "ended" and folder.evaluation.is_file()
    found = read_json(folder.evaluation) if evaluated else {}
    return Outcome(
        status=status,
        text=" ".join(text.split()),
        step=len(losses),
        total_steps=total,
        loss=loss,
        accuracy=end.get("accuracy"),
        validation_loss=end.get("loss"),
        final=found.get("accuracy"),
        count=int(found.get("count", 0)),
        seconds=float(rows[-1]["elapsed"]) if rows else 0.0,
        wall=wall,
    )


def _wait_for_lock(path: Path) -> None:
    """Waits for a process of an earlier race that is just saving its checkpoint."""
    for _ in range(100):
        try:
            with RunFolder(path).locked():
                return
        except RavineError:
            time.sleep(0.3)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
