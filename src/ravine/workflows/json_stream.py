"""What `--json` prints: one object a line, of a kind, in a stream that is versioned.

The models are the documentation: `docs/json-stream.schema.json` is made from them, and a test runs
commands against it. A reader passes over kinds and keys that it does not know; a kind or key that
goes, or means something else, raises `VERSION`.
"""

import json as json_format
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ravine.core.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    Notice,
    PlanCorrected,
    RolledBack,
    StepDone,
    TrainingStarted,
)
from ravine.runs.rows import plain
from ravine.training.recorder import epoch_row, steps_row

VERSION: Final = 1
_EVERY = 1.0  # seconds between two rows of steps, and two of progress


class _Row(BaseModel):
    """A line of the stream."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


@final
class StreamStart(_Row):
    """The plan of a training is made; the first step follows."""

    kind: Literal["start"] = "start"
    version: int = VERSION
    """Of the stream."""
    step: int
    """Steps done, above 0 after a resume."""
    total_steps: int
    steps_per_epoch: int
    batch: int
    """Images per step."""
    model: str
    run: str
    """Path of the run folder."""


@final
class StreamStep(_Row):
    """About a second of steps; the same keys as in history.jsonl."""

    kind: Literal["step"] = "step"
    step: int
    """Attempted steps so far."""
    total_steps: int
    epoch: float
    loss: float | None
    """Mean training loss; null where none was finite."""
    accuracy: float
    """Training accuracy, in [0, 1]."""
    lr: float
    images_per_second: float
    elapsed: float
    """Seconds of training so far."""
    skipped: int
    """Steps undone so far, as they were not finite."""
    gradient_norm: float | None
    """Before clipping."""


@final
class StreamEpoch(_Row):
    """An epoch ended; the same keys as in history.jsonl."""

    kind: Literal["epoch"] = "epoch"
    epoch: float
    step: int
    train_loss: float | None
    train_accuracy: float
    accuracy: float | None
    """On the validation images, in [0, 1]; null where there are none."""
    interval: tuple[float, float] | None
    """95 %."""
    loss: float | None
    images_per_second: float
    elapsed: float


@final
class StreamFinding(_Row):
    """What is wrong, the moment that it is found; once more at the end, without `found`."""

    kind: Literal["finding"] = "finding"
    severity: Literal["critical", "warning", "note"]
    code: str
    text: str
    """The observation, with its numbers."""
    cause: str
    cure: str
    step: int | None
    """The first step to deviate."""
    layer: str | None
    changes: dict[str, Any]
    """Settings that are the cure; "*0.1" is a factor."""
    found: int | None = None
    """The step at which it was found."""


@final
class StreamText(_Row):
    """A line for people: a choice that Ravine made, or something that may be wrong."""

    kind: Literal["notice", "warning"]
    text: str


@final
class StreamCheckpoint(_Row):
    """A checkpoint was written."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str


@final
class StreamRollback(_Row):
    """A diverged run was taken back; rows of later steps no longer hold."""

    kind: Literal["rollback"] = "rollback"
    step: int
    """From which the run goes on."""
    detected: int
    scale: float
    """Factor of the learning rates from here on."""
    reason: str


@final
class StreamPlan(_Row):
    """The number of steps was corrected, once, to keep the budget."""

    kind: Literal["plan"] = "plan"
    step: int
    before: int
    total_steps: int


@final
class StreamProgress(_Row):
    """How far slow work has come that is no training: decoding, measuring, evaluating."""

    kind: Literal["progress"] = "progress"
    what: str
    done: int
    total: int


@final
class StreamResult(_Row):
    """The last line of a training."""

    kind: Literal["result"] = "result"
    accuracy: float | None
    run: str
    verdict: Literal["broken", "chance", "doubtful", "good"]
    chance: float | None
    next: str
    """The command to type next."""


TRAINING_ROWS: Final = TypeAdapter[Any](
    Annotated[
        StreamStart
        | StreamStep
        | StreamEpoch
        | StreamFinding
        | StreamText
        | StreamCheckpoint
        | StreamRollback
        | StreamPlan
        | StreamProgress
        | StreamResult,
        Field(discriminator="kind"),
    ]
)


def stream_schema() -> dict[str, Any]:
    """Returns the JSON schema of a line of `ravine train --json` and `ravine resume --json`."""
    schema: dict[str, Any] = TRAINING_ROWS.json_schema()
    title = f"A line of ravine train --json, version {VERSION}"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


@final
class JsonLines:
    """Prints the rows of the stream.

    Args:
        tells_progress: of slow work, too; a command whose output is one object does not.
    """

    def __init__(self, *, tells_progress: bool = True) -> None:
        self._tells_progress = tells_progress
        self._steps: list[StepDone] = []
        self._since = time.monotonic()
        self._progress_at = 0.0
        self._steps_per_epoch = 1

    def observe(self, event: Event) -> None:
        """Prints the rows of an event."""
        for row in self._rows(event):
            print(json_format.dumps(plain(row), ensure_ascii=False), flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """Prints a row once a second, and where the work is done."""
        now = time.monotonic()
        if self._tells_progress and (now - self._progress_at >= _EVERY or done == total):
            self._progress_at = now
            row = StreamProgress(what=what, done=done, total=total)
            print(json_format.dumps(row.model_dump(), ensure_ascii=False), flush=True)

    def _rows(self, event: Event) -> Iterator[dict[str, Any]]:
        if isinstance(event, StepDone):
            yield from self._steps_due(event)
        elif isinstance(event, EpochDone):
            yield epoch_row(event)
            self._restart()
        elif isinstance(event, Notice):
            yield from _notice_rows(event)
        elif isinstance(event, TrainingStarted):
            self._steps_per_epoch = event.steps_per_epoch
            self._restart()
            yield _start(event).model_dump()
        elif isinstance(event, RolledBack):
            self._restart()
            values = {"detected": event.step, "scale": event.scale, "reason": event.reason}
            yield StreamRollback(step=event.to, **values).model_dump()
        elif isinstance(event, PlanCorrected):
            corrected = StreamPlan(step=event.step, before=event.before, total_steps=event.end)
            yield corrected.model_dump()
        elif isinstance(event, CheckpointSaved):
            yield StreamCheckpoint(step=event.step, path=event.path).model_dump()

    def _steps_due(self, event: StepDone) -> Iterator[dict[str, Any]]:
        self._steps.append(event)
        seconds = time.monotonic() - self._since
        if seconds >= _EVERY:
            row = steps_row(self._steps, seconds, self._steps_per_epoch)
            yield {**row, "total_steps": event.total_steps}
            self._restart()

    def _restart(self) -> None:
        self._steps.clear()
        self._since = time.monotonic()


def _start(event: TrainingStarted) -> StreamStart:
    return StreamStart(
        step=event.step,
        total_steps=event.total_steps,
        steps_per_epoch=event.steps_per_epoch,
        batch=event.batch,
        model=event.model,
        run=event.run,
    )


def _notice_rows(event: Notice) -> Iterator[dict[str, Any]]:
    """Yields the line of a notice, and the finding that it is about as a row of its own."""
    details = dict(event.details)
    finding = details.pop("finding", None)
    yield {"kind": "warning" if event.warning else "notice", "text": event.text, **details}
    if finding is not None:
        yield {"kind": "finding", **finding}
