"""What a command shows while it works, and at its end.

On a terminal a live line moves; elsewhere plain lines are printed; `--quiet` prints the result
only, and `--json` an object per line. Reading a metric waits for the device, so it is read
about once a second.
"""

import json as json_format
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ravine.core.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    Notice,
    StepDone,
    TrainingStarted,
)
from ravine.core.launch import is_secondary_process
from ravine.core.progress import Progress as ProgressObserver
from ravine.core.progress import no_progress
from ravine.runs.rows import plain
from ravine.training.recorder import epoch_row, steps_row

if TYPE_CHECKING:
    from ravine.workflows.run import Run

_LINE_EVERY = 10.0
_REFRESH_EVERY = 1.0


class Screen(Protocol):
    """Shows events and the progress of slow work."""

    def observe(self, event: Event) -> None:
        """Shows one event."""
        ...

    def progress(self, what: str, done: int, total: int) -> None:
        """Shows how far a slow piece of work has come."""
        ...


@contextmanager
def watching(*, quiet: bool, json: bool) -> Iterator[Screen]:
    """Gives the screen that fits the options and the output; of several processes, one shows."""
    if is_secondary_process():
        yield Nothing()
    elif json:
        yield JsonLines()
    elif quiet:
        yield QuietScreen()
    elif sys.stderr.isatty():
        with LiveScreen() as screen:
            yield screen
    else:
        yield PlainLines()


@contextmanager
def meter() -> Iterator[ProgressObserver]:
    """Gives what shows the progress of slow work on standard error, and nothing else."""
    if is_secondary_process():
        yield no_progress
    elif sys.stderr.isatty():
        with LiveScreen() as screen:
            yield screen.progress
    else:
        yield _ErrorLines().progress


@final
class _ErrorLines:
    """Prints a line about slow work on standard error, every two seconds."""

    def __init__(self) -> None:
        self._printed_at = time.monotonic()

    def progress(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._printed_at >= 2:
            self._printed_at = time.monotonic()
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)


def share(value: float, interval: tuple[float, float] | None = None) -> str:
    """Returns a share in percent, with its interval.

    >>> share(0.9, (0.88, 0.915))
    '90.00 % (88.0–91.5)'
    """
    text = f"{100 * value:.2f} %"
    if interval is None:
        return text
    return f"{text} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def duration(seconds: float) -> str:
    """Returns a duration as a clock shows it.

    >>> duration(75.2), duration(4000)
    ('1:15', '1:06:40')
    """
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def epoch_line(event: EpochDone) -> str:
    """Returns the line about one epoch."""
    text = (
        f"epoch {event.epoch:5.4g}  loss {event.train_loss:.3f}  "
        f"training {share(event.train_accuracy)}"
    )
    if event.accuracy is not None and event.loss is not None:
        text += f"  validation {share(event.accuracy, event.interval)} loss {event.loss:.3f}"
    return f"{text}  {event.images_per_second:,.0f} images/s  {duration(event.elapsed)}"


@final
class Nothing:
    """Shows nothing at all."""

    def observe(self, event: Event) -> None:
        """Shows nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Shows nothing."""


@final
class QuietScreen:
    """Shows warnings only."""

    def observe(self, event: Event) -> None:
        """Shows a warning."""
        if isinstance(event, Notice) and event.warning:
            print(f"ravine: {event.text}", file=sys.stderr)

    def progress(self, what: str, done: int, total: int) -> None:
        """Shows nothing."""


class _Window:
    """The steps since the last row."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._steps: list[StepDone] = []
        self._since = time.monotonic()
        self.steps_per_epoch = 1

    def add(self, event: StepDone) -> dict[str, Any] | None:
        """Adds a step; returns the row of the steps since the last one when it is due."""
        self._steps.append(event)
        seconds = time.monotonic() - self._since
        if seconds < self._every:
            return None
        row = steps_row(self._steps, seconds, self.steps_per_epoch)
        self.restart()
        return row

    def restart(self) -> None:
        self._steps.clear()
        self._since = time.monotonic()


@final
class JsonLines:
    """Prints one JSON object per event."""

    def __init__(self) -> None:
        self._window = _Window(_REFRESH_EVERY)

    def observe(self, event: Event) -> None:
        """Prints the event."""
        row: dict[str, Any] | None = None
        if isinstance(event, StepDone):
            row = self._window.add(event)
        elif isinstance(event, EpochDone):
            row = epoch_row(event)
            self._window.restart()
        elif isinstance(event, Notice):
            row = {"kind": "warning" if event.warning else "notice", "text": event.text}
        elif isinstance(event, TrainingStarted):
            self._window.steps_per_epoch = event.steps_per_epoch
            self._window.restart()
            row = {"kind": "start", "step": event.step, "total_steps": event.total_steps}
        elif isinstance(event, CheckpointSaved):
            row = {"kind": "checkpoint", "step": event.step, "path": event.path}
        if row is not None:
            print(json_format.dumps(plain(row), ensure_ascii=False), flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """Prints nothing: slow work has no rows."""


@final
class PlainLines:
    """Prints lines, for files and pipes."""

    def __init__(self) -> None:
        self._window = _Window(_LINE_EVERY)
        self._progress_at = time.monotonic()

    def observe(self, event: Event) -> None:
        """Prints the event, steps only every ten seconds."""
        if isinstance(event, StepDone):
            row = self._window.add(event)
            if row is not None:
                print(step_line(row, event.total_steps), flush=True)
        elif isinstance(event, EpochDone):
            self._window.restart()
            print(epoch_line(event), flush=True)
        elif isinstance(event, Notice):
            print(f"{'warning: ' if event.warning else ''}{event.text}", flush=True)
        elif isinstance(event, TrainingStarted):
            self._window.steps_per_epoch = event.steps_per_epoch
            self._window.restart()
            print(started_line(event), flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """Prints a line every two seconds."""
        if time.monotonic() - self._progress_at >= 2:
            self._progress_at = time.monotonic()
            print(f"{what}: {done:,} of {total:,}", flush=True)


def started_line(event: TrainingStarted) -> str:
    """Returns the line about the plan."""
    epochs = event.total_steps / event.steps_per_epoch
    return (
        f"training {event.model}: {event.total_steps:,} steps of {event.batch} images, "
        f"{epochs:.1f} epochs"
    )


def step_line(row: dict[str, Any], total_steps: int) -> str:
    """Returns the line about several steps."""
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.3f}"
    left = (total_steps - row["step"]) * row["elapsed"] / max(row["step"], 1)
    return (
        f"step {row['step']:,}/{total_steps:,}  loss {loss}  training {share(row['accuracy'])}  "
        f"lr {row['lr']:.3g}  {row['images_per_second']:,.0f} images/s  left {duration(left)}"
    )


@final
class LiveScreen:
    """A moving line on a terminal; what is worth keeping scrolls above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[facts]}"),
            console=self._console,
            transient=True,
        )
        self._window = _Window(_REFRESH_EVERY)
        self._task = self._bar.add_task("", total=None, visible=False, facts="")

    def __enter__(self) -> "LiveScreen":
        self._bar.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._bar.stop()

    def observe(self, event: Event) -> None:
        """Moves the bar or prints above it."""
        if isinstance(event, StepDone):
            self._moved(event)
        elif isinstance(event, EpochDone):
            self._window.restart()
            self._console.print(epoch_line(event), markup=False)
        elif isinstance(event, Notice):
            style = "yellow" if event.warning else "dim"
            self._console.print(event.text, style=style, markup=False)
        elif isinstance(event, TrainingStarted):
            self._window.steps_per_epoch = event.steps_per_epoch
            self._window.restart()
            self._console.print(started_line(event), style="bold", markup=False)
            self._bar.reset(self._task, total=event.total_steps, completed=event.step)
            self._bar.update(self._task, description="training", visible=True, facts="")

    def _moved(self, event: StepDone) -> None:
        row = self._window.add(event)
        if row is not None:
            facts = step_line(row, event.total_steps)
            self._bar.update(self._task, completed=event.step, total=event.total_steps, facts=facts)

    def progress(self, what: str, done: int, total: int) -> None:
        """Moves the bar of a slow piece of work."""
        self._bar.update(
            self._task,
            description=what,
            completed=done,
            total=total,
            visible=done < total,
            facts=f"{done:,} of {total:,}",
        )


def evaluation_lines(found: dict[str, Any], *, per_class: bool) -> list[str]:
    """Returns the lines about an evaluation."""
    interval = tuple(found["interval"])
    loss = "not finite" if found["loss"] is None else f"{found['loss']:.4f}"
    lines = [
        f"accuracy {share(found['accuracy'], interval)} on {found['count']:,} images "
        f"({found['split']}), loss {loss}"
    ]
    if found.get("tta"):
        tta = found["tta"]
        lines.append(f"with test-time flip {share(tta['accuracy'], tuple(tta['interval']))}")
    if per_class:
        width = max(len(name) for name in found["classes"])
        for index, name in enumerate(found["classes"]):
            row = found["confusion"][index]
            column = sum(other[index] for other in found["confusion"])
            recall = share(row[index] / sum(row)) if sum(row) else "no image"
            precision = share(row[index] / column) if column else "never said"
            lines.append(f"  {name:{width}}  recall {recall:>9}  precision {precision:>10}")
    return lines


def show_result(run: "Run", *, json: bool) -> None:
    """Prints the result of a finished run and its path."""
    if is_secondary_process():
        return
    evaluated = (run.path / "evaluation.json").is_file()
    if json:
        accuracy = run.result["accuracy"] if evaluated else None
        row = {"kind": "result", "accuracy": accuracy, "run": str(run.path)}
        print(json_format.dumps(row, ensure_ascii=False))
        return
    if evaluated:
        for line in evaluation_lines(run.result, per_class=False):
            print(line)
    print(f"model  {run.path / 'model.safetensors'}")
    print(f"report {run.path / 'report.html'}")
