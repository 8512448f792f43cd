"""What a command shows while it works, and at its end.

On a terminal a live line moves; elsewhere plain lines are printed; `--quiet` prints the result
only, and `--json` an object per line. Reading a metric waits for the device, so it is read
about once a second.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from ravine.core.launch import is_secondary_process
from ravine.core.lazy import lazy_module
from ravine.core.progress import Progress as ProgressObserver
from ravine.core.progress import no_progress
from ravine.workflows.screens import (
    LiveScreen,
    Nothing,
    PlainLines,
    QuietScreen,
    Screen,
)

if TYPE_CHECKING:
    from ravine.workflows import json_stream
else:
    json_stream = lazy_module("ravine.workflows.json_stream")


@contextmanager
def watching(*, quiet: bool, json: bool, is_training: bool = False) -> Iterator[Screen]:
    """Gives the screen that fits the options and the output; of several processes, one shows.

    The JSON stream of a training tells the progress of slow work; other commands print results.
    """
    if is_secondary_process():
        yield Nothing()
    elif json:
        yield json_stream.JsonLines(tells_progress=is_training)
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
