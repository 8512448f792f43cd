"""One job, done in the process that this runs in: train a run folder up to a share of its steps.

The run is trained by `ravine.workflows.train`, as `ravine train` does it. At its rung it is asked
to stop as Ctrl-C would ask it, so that it leaves a checkpoint and goes on later, bitwise as if it
had never paused. An observer keeps the loss of every step in losses.jsonl, from which rungs decide.
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
from ravine.core.errors import RavineError, RunError, TrainingDiverged
from ravine.core.events import CheckpointSaved, Event, StepDone, TrainingStarted
from ravine.ops.kernel_plan import KernelPlan, runnable_plan
from ravine.runs.file_schemas import EVALUATION, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_history
from ravine.runs.links import refuse_link
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json
from ravine.runs.score import score_of
from ravine.tournament.job_graph import Job, Outcome, Status
from ravine.training.stop import Interrupted
from ravine.workflows.race_worker.loss_file import (
    LOSSES,
    append_losses,
    read_losses,
    recent_loss,
    truncate_losses,
)
from ravine.workflows.resume import resume
from ravine.workflows.train import train

_ROWS = 60  # of losses.jsonl over a whole run


@final
@dataclass(slots=True, kw_only=True)
class JobObserver:
    """An observer that keeps every step's loss, writes the progress, and pauses the run.

    Attributes:
        path: losses.jsonl.
        share: of the steps after which the run is paused; 1 lets it end.
        progress: file for steps done and total steps; None for none.
        parent: process without which nobody waits for the run; 0 for none.
    """

    path: Path
    share: float
    progress: Path | None = None
    parent: int = 0
    step: int = 0
    total_steps: int = 0
    until: int = 0
    _pending: list[torch.Tensor] = field(default_factory=list)
    _stopping: bool = False

    @property
    def is_at_rung(self) -> bool:
        """Whether the run has reached its share, and steps remain."""
        return self.until <= self.step and self.until < self.total_steps

    def __call__(self, event: Event) -> None:
        """Records one event."""
        if isinstance(event, TrainingStarted):
            self.step, self.total_steps = event.step, event.total_steps
            self.until = max(1, math.ceil(self.share * event.total_steps))
            truncate_losses(self.path, event.step)
        elif isinstance(event, StepDone):
            self._record(event)
            orphaned = bool(self.parent) and os.getppid() != self.parent
            if not self._stopping and (orphaned or self.is_at_rung):
                self._stopping = True
                signal.raise_signal(signal.SIGTERM)
        elif isinstance(event, CheckpointSaved) and self._pending:
            self._write(None)

    def _record(self, event: StepDone) -> None:
        self._pending.append(event.loss)
        self.step = event.step
        if event.step % max(1, self.total_steps // _ROWS) == 0 or event.step == self.until:
            self._write(event.elapsed)

    def _write(self, elapsed: float | None) -> None:
        losses = torch.stack(self._pending).double().tolist() if self._pending else []
        append_losses(self.path, losses, last_step=self.step, elapsed=elapsed)
        self._pending.clear()
        if self.progress is not None:
            self.progress.write_text(f"{self.step} {self.total_steps}", encoding="utf-8")


def run_job(
    job: Job,
    runs: Path,
    *,
    progress: Path | None = None,
    parent: int = 0,
    allow_code: Sequence[str] = (),
    kernels: KernelPlan | None = None,
) -> Outcome | None:
    """Trains and returns the outcome; None if the job was interrupted and is to run again.

    Args:
        job: the run folder, its share and its settings.
        runs: the folder of the run folders.
        progress: file for steps done and total steps.
        parent: process whose end stops this one.
        allow_code: the `module:callable`s that may be imported as the network.
        kernels: the algorithms of its convolutions; None to decide here.
    """
    began = time.monotonic()
    path = runs / job.run
    observer = JobObserver(path=path / LOSSES, share=job.share, progress=progress, parent=parent)
    status: Status = "ended"
    text = ""
    try:
        _train(path, job, observer, allow_code, runnable_plan(kernels))
    except Interrupted:
        if not observer.is_at_rung:
            return None
        status = "paused"
    except Exception as error:
        status, text = _failure(error, path)
    wall = time.monotonic() - began
    return outcome_of(path, status=status, text=text, wall=wall, share=job.share)


def _train(
    path: Path,
    job: Job,
    observer: JobObserver,
    allow_code: Sequence[str],
    kernels: KernelPlan | None,
) -> None:
    """Trains a run folder from its start, or from its last checkpoint."""
    refuse_link(path)
    if (path / "recipe.toml").is_file():
        _wait_for_lock(path)
        resume(path, allow_code=allow_code, observers=[observer])
    else:
        # To `train` a setting is the user's word; this one comes from a file.
        AllowedCode.of(allow_code).check(str(job.settings.get("model")))
        train(out=path, observers=[observer], kernels=kernels, show="none", **job.settings)


def _failure(error: Exception, path: Path) -> tuple[Status, str]:
    """Returns the status and the line of an error; that of a bug keeps its traceback in `path`."""
    if isinstance(error, TrainingDiverged):
        return "diverged", str(error)
    if isinstance(error, RavineError):
        return "failed", str(error)
    if _is_out_of_memory(error):
        return "memory", f"out of memory: {_first_line(error)}"
    if path.is_dir():
        write_whole(path / "error.txt", traceback.format_exc().encode())
    return "failed", f"{type(error).__name__}: {_first_line(error)}"


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU torch raises a plain RuntimeError, which only its text tells from others.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "allocate memory" in _first_line(error)
    )


def outcome_of(
    path: Path, *, status: Status, text: str = "", wall: float = 0.0, share: float = 1.0
) -> Outcome:
    """Returns the outcome of a run from the files in its folder.

    Args:
        path: the run folder.
        status: as far as its process knows; losses that are not finite make it "diverged".
        text: one line about a failure.
        wall: seconds of the job.
        share: of the steps, to which the job went.
    """
    total = 0
    if (path / "recipe.toml").is_file():
        total = int((read_recipe(RunFolder(path).recipe)[1] or {}).get("total_steps", 0))
    # A run that was killed between its pause and its outcome has gone on by a step.
    losses = read_losses(path)[: max(1, math.ceil(share * total))]
    loss = recent_loss(losses)
    if status in ("ended", "paused") and losses and loss is None:
        status, text = "diverged", f"the loss was not finite at step {losses.index(None) + 1}"
    rows = read_history(path / "history.jsonl")
    return Outcome(
        status=status,
        text=" ".join(text.split()),
        step=len(losses),
        total_steps=total,
        loss=loss,
        seconds=float(rows[-1].get("elapsed") or 0.0) if rows else 0.0,
        wall=wall,
        **(_end_of(path, rows) if status == "ended" else {}),
    )


def _end_of(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns what the last epoch and the final evaluation of a run measured."""
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    last = epochs[-1] if epochs else {}
    file = RunFolder(path).evaluation
    found = read_json(file) if file.is_file() else {}
    if fault_in(found, EVALUATION) is not None:
        found = {}
    return {
        "accuracy": score_of(last),
        "validation_loss": last.get("loss"),
        "final": score_of(found),
        "count": int(found.get("count", 0)),
    }


def _wait_for_lock(path: Path) -> None:
    """Waits for a process of an earlier race that still saves its checkpoint."""
    for _ in range(100):
        try:
            with RunFolder(path).locked():
                return
        except RunError:
            time.sleep(0.3)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
