"""What a command shows while it works, and at its end.

On a terminal a live line moves; elsewhere plain lines are printed; `--quiet` prints the result
only, and `--json` an object per line. Reading a metric waits for the device, so it is read
about once a second.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from ravine.cli.several_lines import several_lines
from ravine.core.launch import is_secondary_process
from ravine.core.progress import Progress as ProgressObserver
from ravine.core.progress import no_progress
from ravine.runs.confusion import dense_confusion
from ravine.workflows.screens import (
    JsonLines,
    LiveScreen,
    Nothing,
    PlainLines,
    QuietScreen,
    Screen,
    share,
)


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


def evaluation_lines(found: dict[str, Any], *, per_class: bool) -> list[str]:
    """Returns the lines about an evaluation."""
    if "mean_ap" in found:
        return several_lines(found, per_label=per_class)
    interval = tuple(found["interval"])
    loss = "not finite" if found["loss"] is None else f"{found['loss']:.4f}"
    lines = [
        f"accuracy {share(found['accuracy'], interval)} on {found['count']:,} images "
        f"({found['split']}), loss {loss}"
    ]
    if folds := found.get("folds"):
        accuracies = [one["accuracy"] for one in folds]
        lines.append(
            f"each image by the network of {len(folds)} that was not trained on it; by fold: "
            f"{share(min(accuracies))} to {share(max(accuracies))}"
        )
    if test := found.get("test"):
        lines.append(
            f"mean of the {len(folds or ())} networks: accuracy "
            f"{share(test['accuracy'], tuple(test['interval']))} on {test['count']:,} images (test)"
        )
    if known := found.get("trained_on"):
        lines.append(
            f"{known:,} of {found['count']:,} images were trained on; --held-out leaves them out"
        )
    if found.get("tta"):
        tta = found["tta"]
        lines.append(f"with test-time flip {share(tta['accuracy'], tuple(tta['interval']))}")
    if per_class:
        width = max(len(name) for name in found["classes"])
        table = dense_confusion(found["confusion"])
        rows, columns = table.sum(1), table.sum(0)
        for index, name in enumerate(found["classes"]):
            hits = table[index, index]
            recall = share(hits / rows[index]) if rows[index] else "no image"
            precision = share(hits / columns[index]) if columns[index] else "never said"
            lines.append(f"  {name:{width}}  recall {recall:>9}  precision {precision:>10}")
    return lines
