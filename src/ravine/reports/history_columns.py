"""The rows of a run as columns, and its curves against steps, epochs or seconds.

The live page and the offline pages draw the same curves with the same script, so both take
them from here. Shape letters: N rows of steps, E epochs.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Self, final

import numpy as np

from ravine.reports.live.downsample import downsampled, visible
from ravine.runs.score import score_of

Axis = Literal["step", "epoch", "elapsed"]
AXES: Final[tuple[Axis, ...]] = ("step", "epoch", "elapsed")
STEP_CURVES: Final = ("loss", "accuracy", "lr", "gradient_norm", "images_per_second")
EPOCH_CURVES: Final = ("train_loss", "train_accuracy", "loss", "accuracy")


@final
class HistoryColumns:
    """Columns that grow with the rows of history.jsonl, NaN where a value is not known."""

    def __init__(self) -> None:
        self.clear()

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Returns the columns of the rows of a history."""
        made = cls()
        for row in rows:
            made.add(row)
        return made

    def clear(self) -> None:
        """Forgets all rows."""
        self.steps: dict[str, array[float]] = {name: array("d") for name in AXES}
        self.steps |= {name: array("f") for name in STEP_CURVES}
        self.epochs: dict[str, array[float]] = {
            name: array("d") for name in (*AXES, *EPOCH_CURVES, "low", "high")
        }

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row of steps or of an epoch; other rows, and those of an earlier step, not.

        With several labels the accuracy of the training is its share of exact matches, that of
        the validation mAP.
        """
        kind = row.get("kind")
        if kind == "step":
            columns = self.steps
            if row.get("exact_match") is not None:
                row = {**row, "accuracy": row["exact_match"]}
        elif kind == "epoch":
            columns = self.epochs
            interval = row.get("interval") or row.get("mean_ap_interval")
            low, high = interval if isinstance(interval, list) and len(interval) == 2 else (0, 0)
            row = {**row, "low": low or None, "high": high or None, "accuracy": score_of(row)}
            if row.get("train_exact_match") is not None:
                row["train_accuracy"] = row["train_exact_match"]
        else:
            return
        step = row.get("step")
        before = columns["step"]
        if type(step) is not int or (len(before) and step <= before[-1]):
            return  # x must not fall; a row twice is one
        for name, values in columns.items():
            values.append(_number(row.get(name)))

    def curves(
        self, axis: Axis, *, low: float | None, high: float | None, buckets: int
    ) -> dict[str, Any]:
        """Returns the curves of a window as plain values.

        Args:
            axis: of time.
            low: left edge of the window; None for the whole run.
            high: its right edge.
            buckets: pixels of the picture.
        """
        x = np.array(self.steps[axis])
        span = [float(x[0]), float(x[-1])] if len(x) else _span(self.epochs[axis])
        window = slice(None) if low is None or high is None else visible(x, low, high)
        steps = {
            name: _plain(*downsampled(x[window], np.frombuffer(values, "f")[window], buckets))
            for name, values in self.steps.items()
            if name not in AXES and len(values)
        }
        ends = list(self.epochs[axis])
        epochs = {
            name: [ends, [_rounded(v) for v in values]]
            for name, values in self.epochs.items()
            if name not in AXES
        }
        rows = len(self.steps["step"])
        return {"axis": axis, "span": span, "rows": rows, "steps": steps, "epochs": epochs}

    def at_axis(self, steps: Sequence[float], axis: Axis) -> list[float]:
        """Returns where steps are on an axis, between rows interpolated."""
        known = np.array(self.steps["step"])
        if axis == "step" or not len(known):
            return [float(step) for step in steps]
        return [float(v) for v in np.interp(steps, known, np.array(self.steps[axis]))]


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) and abs(value) < 1e300 else math.nan


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _plain(x: np.ndarray, y: np.ndarray) -> list[list[float | None]]:
    return [[_rounded(float(v)) for v in x], [_rounded(float(v)) for v in y]]


def _span(values: Sequence[float]) -> list[float]:
    return [values[0], values[-1]] if len(values) else [0.0, 1.0]
