"""What shows a run while it trains: a moving line, plain lines, a notebook's table, or nothing.

Reading a metric waits for the device, so it is read about once a second. Notices also go to the
logger `ravine`, where a program can catch them (`core.notice_log`).
"""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ravine.core.counted import counted
from ravine.core.events import (
    EpochDone,
    Event,
    Notice,
    StepDone,
    TrainingStarted,
)
from ravine.core.lazy import lazy_module
from ravine.runs.shown_loss import shown_loss, with_shown_loss

if TYPE_CHECKING:
    from ravine.training import recorder
else:
    recorder = lazy_module("ravine.training.recorder")

_LINE_EVERY = 10.0
_REFRESH_EVERY = 1.0
_BAR, _SHORT_BAR = 24, 8  # columns
_WIDE = 110  # columns of a terminal that has room for the bar and all facts
_LARGE = 1000.0  # a loss without decimals
_SEEN = 0.001  # of a floor, in a loss of three decimals


class Screen(Protocol):
    """Shows events and the progress of slow work."""

    def observe(self, event: Event) -> None:
        """Shows one event."""
        ...

    def progress(self, what: str, done: int, total: int) -> None:
        """Shows how far a slow piece of work has come."""
        ...


def share(value: float, interval: tuple[float, float] | None = None) -> str:
    """Returns a share in percent, with its interval.

    >>> share(0.9, (0.88, 0.915))
    '90.00 % (88.0–91.5)'
    """
    text = f"{100 * value:.2f} %"
    if interval is None:
        return text
    return f"{text} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def loss_text(value: float, *, decimals: int = 3) -> str:
    """Returns a loss; one that has left all bounds with two digits.

    >>> loss_text(0.4243), loss_text(3796085920.5)
    ('0.424', '3.8e+09')
    """
    return f"{value:.{decimals}f}" if not abs(value) >= _LARGE else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Returns a duration as a clock shows it.

    >>> duration(75.2), duration(4000)
    ('1:15', '1:06:40')
    """
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def epoch_line(event: EpochDone, *, width: int | None = None) -> str:
    """Returns the line about one epoch, without what is least wanted where it is too wide.

    Args:
        event: the epoch.
        width: characters that there is room for; None for any number.
    """
    parts = [
        f"epoch {event.epoch:5.4g}",
        f"loss {loss_text(shown_loss(event.train_loss, event.train_loss_floor))}",
        f"training {_exact(event.measure)}{share(event.train_accuracy)}",
    ]
    if event.scores and event.loss is not None:
        mean_ap, f1 = (share(event.scores[n] or 0.0) for n in ("mean_ap", "macro_f1"))
        parts += [f"validation mAP {mean_ap} macro F1 {f1} loss {loss_text(event.loss)}"]
    if event.accuracy is not None and event.loss is not None:
        validated = share(event.accuracy, event.interval)
        parts += [f"validation {validated} loss {loss_text(event.loss)}"]
    parts += [f"{event.images_per_second:,.0f} images/s", duration(event.elapsed)]
    return _fitting(parts, (-2, 1, 1), width)  # images/s, loss, training


def _fitting(parts: list[str], least_wanted: Sequence[int], width: int | None) -> str:
    """Returns the parts side by side, less as many as do not fit, in the order given."""
    for index in least_wanted:
        if width is None or len("  ".join(parts)) <= width:
            break
        del parts[index]
    return "  ".join(parts)


def _exact(measure: str) -> str:
    """Returns what stands before a share of the training images: nothing before an accuracy."""
    return "" if measure == "accuracy" else "exact match "


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


class StepWindow:
    """The steps since the last row.

    Args:
        every: least seconds between two rows.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._steps: list[StepDone] = []
        self._since = time.monotonic()
        self.steps_per_epoch = 1

    def begin(self, event: TrainingStarted) -> None:
        """Takes what the lines need to know of a training."""
        self.steps_per_epoch = event.steps_per_epoch
        self.restart()

    def add(self, event: StepDone) -> dict[str, Any] | None:
        """Adds a step; returns the row of the steps since the last one when it is due.

        Its loss is that above the floor of the steps' targets.
        """
        self._steps.append(event)
        seconds = time.monotonic() - self._since
        if seconds < self._every:
            return None
        row = recorder.steps_row(self._steps, seconds, self.steps_per_epoch)
        row = with_shown_loss(row, "loss")
        self.restart()
        return row

    def restart(self) -> None:
        """Forgets the steps so far."""
        self._steps.clear()
        self._since = time.monotonic()


@final
class PlainLines:
    """Prints lines, for files and pipes.

    Args:
        out: where to; None for standard output.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._window = StepWindow(_LINE_EVERY)
        self._progress_at = time.monotonic()

    def observe(self, event: Event) -> None:
        """Prints the event, steps only every ten seconds."""
        if isinstance(event, StepDone):
            row = self._window.add(event)
            if row is not None:
                print(step_line(row, event.total_steps), flush=True, file=self._out)
        elif isinstance(event, EpochDone):
            self._window.restart()
            print(epoch_line(event), flush=True, file=self._out)
        elif isinstance(event, Notice):
            print(_notice_line(event), flush=True, file=self._out)
        elif isinstance(event, TrainingStarted):
            self._window.begin(event)
            print(started_line(event), flush=True, file=self._out)

    def progress(self, what: str, done: int, total: int) -> None:
        """Prints a line every two seconds."""
        if time.monotonic() - self._progress_at >= 2:
            self._progress_at = time.monotonic()
            print(f"{what}: {done:,} of {total:,}", flush=True, file=self._out)


def _notice_line(event: Notice) -> str:
    """Returns the line of a notice; a finding says its severity itself."""
    marked = event.text.startswith(("critical ", "warning ")) or "finding" in event.details
    return event.text if marked or not event.warning else f"warning: {event.text}"


def started_line(event: TrainingStarted) -> str:
    """Returns the line about the plan."""
    epochs = event.total_steps / event.steps_per_epoch
    return (
        f"training {event.model}: {counted(event.total_steps, 'step')} of "
        f"{counted(event.batch, 'image')}, {counted(epochs, 'epoch', form='.3g')}"
        + (
            "; training losses are those above the least that smoothed and mixed labels allow, "
            f"about {event.loss_floor:.3g}"
            if event.loss_floor >= _SEEN
            else ""
        )
    )


def step_line(row: dict[str, Any], total_steps: int, *, width: int | None = None) -> str:
    """Returns the line about several steps, without what is least wanted where it is too wide.

    Args:
        row: of the steps.
        total_steps: of the run.
        width: characters that there is room for; None for any number.
    """
    loss = "not finite" if row["loss"] is None else loss_text(row["loss"])
    left = (total_steps - row["step"]) * row["elapsed"] / max(row["step"], 1)
    parts = [
        f"step {row['step']:,}/{total_steps:,}",
        f"loss {loss}",
        f"training {_of_row(row)}",
        f"lr {row['lr']:.3g}",
        f"{row['images_per_second']:,.0f} images/s",
        f"left {duration(left)}",
    ]
    return _fitting(parts, (3, -2, 2, 1), width)  # lr, images/s, training, loss


def _of_row(row: dict[str, Any]) -> str:
    measure = "accuracy" if "accuracy" in row else "exact_match"
    return f"{_exact(measure)}{share(row[measure])}"


def progress_bar(console: Console, *, text: str) -> Progress:
    """Returns a bar that moves on a terminal and goes when it is done; facts stand behind it.

    Args:
        console: of the terminal.
        text: what stands before it, of the task's fields.
    """
    return Progress(
        TextColumn(text),
        BarColumn(bar_width=_bar_width(console), complete_style="cyan", finished_style="cyan"),
        TextColumn("{task.fields[facts]}"),
        console=console,
        transient=True,
    )


def _bar_width(console: Console) -> int:
    return _BAR if console.width >= _WIDE else _SHORT_BAR


@final
class LiveScreen:
    """A moving line on a terminal; what is worth keeping scrolls above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = progress_bar(self._console, text="[bold]{task.description}")
        self._window = StepWindow(_REFRESH_EVERY)
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
            line = epoch_line(event, width=self._console.width)
            self._console.print(line, markup=False)
        elif isinstance(event, Notice):
            style = "yellow" if event.warning else "dim"
            self._console.print(event.text, style=style, markup=False)
        elif isinstance(event, TrainingStarted):
            self._window.begin(event)
            self._console.print(started_line(event), style="bold", markup=False)
            self._bar.reset(self._task, total=event.total_steps, completed=event.step)
            self._bar.update(self._task, description="training", visible=True, facts="")

    def _moved(self, event: StepDone) -> None:
        row = self._window.add(event)
        if row is not None:
            room = self._console.width - len("training ") - _bar_width(self._console) - 1
            facts = step_line(row, event.total_steps, width=room)
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
