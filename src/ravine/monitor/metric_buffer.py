"""What a monitor remembers: losses and looks, thinned out so that memory stays flat."""

import math
from typing import Any, final

from torch import Tensor

from ravine.monitor.host_copies import Copies

_MOST_LOOKS, _MOST_LOSSES, _WITHIN = 512, 4096, 64


@final
class Diary:
    """The recorded losses, as rows of a history, and the looks.

    Attributes:
        rows: of kinds step and epoch, as in history.jsonl.
        looks: as in layers.jsonl.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.looks: list[dict[str, Any]] = []
        self._waiting: list[tuple[dict[str, Any], Tensor | float]] = []
        self._since = (0.0, 0)  # sum and number of training losses since the last validation

    def add(
        self, step: int, loss: Tensor | float, *, split: str, accuracy: float | None, rate: float
    ) -> None:
        """Takes a loss that need not be on the host yet."""
        kind = "step" if split == "train" else "epoch"
        row = {"kind": kind, "step": step, "lr": rate, "accuracy": accuracy}
        self._waiting.append((row, loss))

    def send(self, copies: Copies) -> None:
        """Sends what waits; it is kept as it arrives."""
        if not self._waiting:
            return
        rows, losses = zip(*self._waiting, strict=True)
        self._waiting = []

        def keep(numbers: list[float]) -> None:
            for row, number in zip(rows, numbers, strict=True):
                self._keep(row, number)

        copies.send(list(losses), keep)

    @property
    def is_full(self) -> bool:
        """Whether enough waits to be sent."""
        return len(self._waiting) >= _WITHIN

    def _keep(self, row: dict[str, Any], loss: float) -> None:
        if row["kind"] == "step":
            total, count = self._since
            self._since = (total + loss, count + 1)
        else:
            total, count = self._since
            last = self.rows[-1] if self.rows else {}
            if last.get("kind") == "epoch" and last["step"] == row["step"]:
                _average(last, loss, row["accuracy"])
                return
            row |= {"train_loss": total / count if count else math.nan, "batches": 1}
            self._since = (0.0, 0)
        self.rows.append({**row, "loss": loss})
        if len(self.rows) > _MOST_LOSSES:
            kept = self.rows[:-1:2] + self.rows[-1:]
            lost = [r for r in self.rows[1:-1:2] if _must_stay(r)]
            self.rows = sorted([*kept, *lost], key=lambda r: int(r["step"]))

    def keep_look(self, row: dict[str, Any]) -> None:
        """Keeps a look; where there are too many, every second goes."""
        self.looks.append(row)
        if len(self.looks) > _MOST_LOOKS:
            self.looks = self.looks[:-1:2] + self.looks[-1:]


def _must_stay(row: dict[str, Any]) -> bool:
    return row["kind"] == "epoch" or not math.isfinite(row["loss"])


def _average(row: dict[str, Any], loss: float, accuracy: float | None) -> None:
    n = row["batches"] = row["batches"] + 1
    row["loss"] += (loss - row["loss"]) / n
    if accuracy is not None and row["accuracy"] is not None:
        row["accuracy"] += (accuracy - row["accuracy"]) / n
