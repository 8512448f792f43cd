"""The messages between controller, fork server, jobs and Ray: frozen, and validated on receipt.

    controller ──  ForkRequest  ─────────▶ fork server      a JSON line on its standard input
    controller ◀── JobStarted, JobEnded ── fork server      a JSON line on its standard output
    controller ──  RemoteRequest ────────▶ Ray job          JSON text, with a packed run folder
    controller ◀── Outcome or Timing ───── job              the JSON file of its result

A task is what a job does: train a run folder up to a share of its steps, or measure the durations
of a recipe. Floats pass bit for bit.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from ravine.core.errors import RunError
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.rows import read_json
from ravine.tournament.job_graph import Job, Outcome
from ravine.workflows.race_worker.timing import Timing

INTERRUPTED = 3  # exit code of a job that saved a checkpoint before its end and runs again
_Result = TypeVar("_Result", Outcome, Timing)


class _Message(BaseModel):
    """A frozen message; unknown or missing fields and wrong types are refused on receipt."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants"
    )

    def to_json(self) -> str:
        """Returns the message as one line of JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Returns the message in a line of JSON.

        Raises:
            ValueError: the line is no such message.
        """
        return cls.model_validate_json(text)


@final
class TrainTask(_Message):
    """Train the run folder `run` up to `share` of its steps."""

    kind: Literal["train"] = "train"
    run: str
    share: Annotated[float, Field(gt=0, le=1)]
    settings: dict[str, Any]

    @classmethod
    def of(cls, job: Job) -> Self:
        """Returns the task of a job."""
        return cls(run=job.run, share=job.share, settings=dict(job.settings))

    @property
    def job(self) -> Job:
        """The job of the job graph."""
        return Job(run=self.run, share=self.share, settings=self.settings)

    @property
    def key(self) -> str:
        """The key of the job and its outcome."""
        return self.job.key


@final
class MeasureTask(_Message):
    """Measure the durations of a recipe; its steps as well if `with_steps`."""

    kind: Literal["measure"] = "measure"
    key: str
    settings: dict[str, Any]
    with_steps: bool


Task = Annotated[TrainTask | MeasureTask, Field(discriminator="kind")]


@final
class ForkRequest(_Message):
    """Fork a child for `task`. Paths are absolute or relative to the fork server's folder."""

    task: Task
    runs: Path
    """The folder of all run folders."""

    result: Path
    """The file for the result: an `Outcome`, or a `Timing`."""

    progress: Path
    """The file for steps done and total steps."""

    log: Path
    """The file for what the child prints."""

    environment: dict[str, str]
    """Environment variables of the child, in addition to the fork server's."""

    allow_code: tuple[str, ...]
    """The `module:callable`s that the child may import as its network."""

    kernels: KernelPlan | None = None
    """The algorithms of its convolutions; None to decide in the child."""


@final
class JobStarted(_Message):
    """The child of a job runs."""

    kind: Literal["started"] = "started"
    key: str
    pid: PositiveInt


@final
class JobEnded(_Message):
    """The child of a job has ended; a negative exit code is the number of a signal."""

    kind: Literal["ended"] = "ended"
    key: str
    exit_code: int


ForkEvent = JobStarted | JobEnded
_FORK_EVENT: TypeAdapter[ForkEvent] = TypeAdapter(
    Annotated[JobStarted | JobEnded, Field(discriminator="kind")]
)


def fork_event_from_json(text: bytes) -> ForkEvent:
    """Returns the event in a line of the fork server.

    Raises:
        ValueError: the line is no such event.
    """
    return _FORK_EVENT.validate_json(text)


@final
class RemoteRequest(_Message):
    """Do `task` on another machine, with the limits of a job on one's own."""

    task: Task
    threads: PositiveInt
    memory: Annotated[int, Field(ge=0)]
    """Bytes; 0 for no limit."""

    limit: NonNegativeFloat
    """Seconds; 0 for no limit."""

    allow_code: tuple[str, ...]
    """The `module:callable`s that the job may import as its network."""

    kernels: KernelPlan | None = None
    """The algorithms of its convolutions; None to decide in the job."""


_OUTCOME, _TIMING = TypeAdapter(Outcome), TypeAdapter(Timing)


def read_outcome(path: Path) -> Outcome:
    """Returns the outcome in the result file of a `TrainTask`.

    Raises:
        RunError: the file holds no outcome.
    """
    return _read(path, Outcome, _OUTCOME, "no outcome of a job; delete it, and the job runs again")


def read_timing(path: Path) -> Timing:
    """Returns the timing in the result file of a `MeasureTask`.

    Raises:
        RunError: the file holds no timing.
    """
    return _read(path, Timing, _TIMING, "no measured durations; start the race again")


def _read(
    path: Path, kind: type[_Result], adapter: TypeAdapter[_Result], otherwise: str
) -> _Result:
    values = read_json(path)
    unknown = sorted(values.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise RunError(f"{path} holds {otherwise} (unknown: {', '.join(unknown)})")
    try:
        return adapter.validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise RunError(f"{path} holds {otherwise} ({name}: {first['msg']})") from None
