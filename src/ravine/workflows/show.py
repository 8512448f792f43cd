"""`show=` of `ravine.train` and `ravine.resume`: what a call from Python shows while it trains."""

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, final

from ravine.core.errors import SettingError
from ravine.core.events import EpochDone, Event, Notice, StepDone, TrainingStarted
from ravine.core.html_table import html_table
from ravine.core.launch import is_secondary_process
from ravine.runs.shown_loss import shown_loss
from ravine.workflows.screens import (
    LiveScreen,
    Nothing,
    PlainLines,
    Screen,
    StepWindow,
    share,
    started_line,
    step_line,
)

Show = Literal["auto", "terminal", "notebook", "plain", "none"]
_KINDS = ("auto", "terminal", "notebook", "plain", "none")


@contextmanager
def showing(show: Show) -> Iterator[Screen]:
    """Gives the screen of a call from Python; of several processes, one shows.

    Args:
        show: auto takes a table that moves in a notebook, a moving line on a terminal, and plain
            lines on standard error elsewhere.

    Raises:
        SettingError: there is no such screen, or no notebook.
    """
    if show not in _KINDS:
        raise SettingError(f"show must be one of {', '.join(_KINDS)}, got {show!r}")
    kind = _kind_here() if show == "auto" else show
    if kind == "none" or is_secondary_process():
        yield Nothing()
    elif kind == "notebook":
        yield NotebookScreen(_display_of_notebook())
    elif kind == "terminal":
        with LiveScreen() as screen:
            yield screen
    else:
        yield PlainLines(sys.stderr)


def _kind_here() -> Literal["notebook", "terminal", "plain"]:
    shell = _shell()
    if shell is not None and type(shell).__name__ == "ZMQInteractiveShell":
        return "notebook"
    return "terminal" if sys.stderr.isatty() else "plain"


def _shell() -> Any:
    """Returns IPython's shell, where this process runs in one; imports nothing."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _display_of_notebook() -> Callable[[str], None]:
    """Returns what shows HTML in the cell's output, in the place of what it showed before."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        raise SettingError("show='notebook' works in a notebook; take terminal, plain or none")
    display = ipython.display
    handle = display.display(display.HTML(""), display_id=True)
    return lambda text: handle.update(display.HTML(text))


@final
class NotebookScreen:
    """A table of the epochs in a notebook's cell, with the notices above and the steps below.

    Args:
        update: shows HTML in the place of what it showed before.
    """

    def __init__(self, update: Callable[[str], None]) -> None:
        self._update = update
        self._window = StepWindow(1.0)
        self._notices: list[Notice] = []
        self._title, self._steps = "", ""
        self._epochs: list[EpochDone] = []

    def observe(self, event: Event) -> None:
        """Shows the event."""
        if isinstance(event, StepDone):
            row = self._window.add(event)
            if row is None:
                return
            self._steps = step_line(row, event.total_steps)
        elif isinstance(event, EpochDone):
            self._window.restart()
            self._epochs.append(event)
        elif isinstance(event, Notice):
            self._notices.append(event)
        elif isinstance(event, TrainingStarted):
            self._window.begin(event)
            self._title = started_line(event)
        self._update(self._html())

    def progress(self, what: str, done: int, total: int) -> None:
        """Shows the progress of slow work."""
        self._steps = f"{what}: {done:,} of {total:,}"
        self._update(self._html())

    def _html(self) -> str:
        notices = "".join(
            f"<div>{'⚠ ' if one.warning else ''}{html.escape(one.text)}</div>"
            for one in self._notices
        )
        rows = [
            (
                f"{e.epoch:.4g}",
                f"{shown_loss(e.train_loss, e.train_loss_floor):.3f}",
                share(e.train_accuracy),
                "–" if e.accuracy is None else share(e.accuracy, e.interval),
            )
            for e in self._epochs
        ]
        columns = ("epoch", "loss", "training accuracy", "validation accuracy")
        table = html_table(self._title, columns, rows) if self._title else ""
        return f"{notices}{table}<div>{html.escape(self._steps)}</div>"
