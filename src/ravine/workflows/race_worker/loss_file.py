"""losses.jsonl: the loss of every step of a run folder, a row for each of about 60 intervals.

{"first": step of the first loss, "losses": [...], "elapsed": seconds or null}
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine.runs.file_schemas import LOSSES as ROW
from ravine.runs.file_schemas import whole
from ravine.runs.rows import append_row, read_rows, rewrite_rows
from ravine.tournament.rungs import WINDOW

LOSSES = "losses.jsonl"
_DIGITS = 10


def append_losses(
    path: Path, losses: Sequence[float], *, last_step: int, elapsed: float | None
) -> None:
    """Appends the losses of the steps up to `last_step` to losses.jsonl at `path`."""
    first = last_step - len(losses) + 1
    append_row(path, {"first": first, "losses": list(losses), "elapsed": elapsed})


def truncate_losses(path: Path, step: int) -> None:
    """Removes the losses after `step`: those of steps after a checkpoint, which run again."""
    if not path.exists():
        return
    kept: list[dict[str, Any]] = []
    for row in whole(read_rows(path), ROW):
        losses = row["losses"][: max(0, step - row["first"] + 1)]
        if losses:
            kept.append({**row, "losses": losses})
    rewrite_rows(path, kept)


def read_losses(run: Path) -> list[float | None]:
    """Returns the loss of every step of a run folder; None where it was not finite."""
    return [loss for row in whole(read_rows(run / LOSSES), ROW) for loss in row["losses"]]


def recent_loss(losses: Sequence[float | None]) -> float | None:
    """Returns the mean over the last fifth, None if most of them were not finite.

    >>> recent_loss([9.0, 3.0, 2.0, 1.0, 0.5])
    0.5
    """
    window = losses[-max(1, math.ceil(WINDOW * len(losses))) :]
    finite = [loss for loss in window if loss is not None]
    if 2 * len(finite) < len(window) or not finite:
        return None
    return round(math.fsum(finite) / len(finite), _DIGITS)


def loss_curve(run: Path) -> list[dict[str, float]]:
    """Returns step, elapsed seconds and mean training loss of each interval of a run folder."""
    curve = []
    for row in whole(read_rows(run / LOSSES), ROW):
        finite = [loss for loss in row["losses"] if loss is not None]
        if row.get("elapsed") is not None and finite:
            step = row["first"] + len(row["losses"]) - 1
            loss = math.fsum(finite) / len(finite)
            curve.append({"step": step, "elapsed": row["elapsed"], "loss": loss})
    return curve
