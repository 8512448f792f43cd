"""The recorded losses and the snapshots of a monitor, thinned out so that memory stays flat."""

import math
from typing import Any, final

from torch import Tensor

from ravine.core.errors import SettingError
from ravine.core.snapshot import Snapshot
from ravine.monitor.host_copies import HostCopies

_MOST_SNAPSHOTS, _MOST_LOSSES, _MOST_WAITING = 512, 4096, 64


@final
class MetricBuffer:
    """The recorded losses, as rows of a history, and the snapshots.

    Attributes:
        rows: of kinds step and epoch, as in history.jsonl.
        snapshots: oldest first.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.snapshots: list[Snapshot[float]] = []
        self._waiting: list[tuple[dict[str, Any], Tensor | float]] = []
        self._since = (0.0, 0)  # sum and number of training losses since the last validation

    def add(
        self, step: int, loss: Tensor | float, *, split: str, accuracy: float | None, lr: float
    ) -> None:
        """Takes a loss, 0-dim, that may be on the device still."""
        kind = "step" if split == "train" else "epoch"
        row = {"kind": kind, "step": step, "lr": lr, "accuracy": accuracy}
        self._waiting.append((row, loss))

    def send(self, copies: HostCopies) -> None:
        """Sends the losses that wait to the host; each is kept when it arrives."""
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
        """Whether enough losses wait to be sent."""
        return len(self._waiting) >= _MOST_WAITING

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
            self._thin_rows()

    def _thin_rows(self) -> None:
        """Takes out every second row of a step whose loss is finite."""
        kept = self.rows[:-1:2] + self.rows[-1:]
        needed = [r for r in self.rows[1:-1:2] if _must_stay(r)]
        self.rows = sorted([*kept, *needed], key=lambda r: int(r["step"]))

    def add_snapshot(self, snapshot: Snapshot[float]) -> None:
        """Keeps a snapshot; where there are too many, every second is taken out."""
        self.snapshots.append(snapshot)
        if len(self.snapshots) > _MOST_SNAPSHOTS:
            self.snapshots = self.snapshots[:-1:2] + self.snapshots[-1:]


def _must_stay(row: dict[str, Any]) -> bool:
    return row["kind"] == "epoch" or not math.isfinite(row["loss"])


def _average(row: dict[str, Any], loss: float, accuracy: float | None) -> None:
    n = row["batches"] = row["batches"] + 1
    row["loss"] += (loss - row["loss"]) / n
    if accuracy is not None and row["accuracy"] is not None:
        row["accuracy"] += (accuracy - row["accuracy"]) / n


def one_number(loss: Tensor) -> Tensor:
    """Returns a loss of one element as 0-dim, without its graph.

    Raises:
        SettingError: it has more elements, or none.
    """
    if loss.numel() != 1:
        shape = tuple(loss.shape)
        raise SettingError(f"loss must be one number, got the shape {shape}; take .mean()")
    return loss.detach().reshape(())
