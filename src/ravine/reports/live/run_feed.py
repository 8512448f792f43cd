"""A run's curves and layers in memory, as columns that grow with its files.

Shape letters: N rows of steps, E epochs, S snapshots, L layers, P parameters.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, final

import numpy as np

from ravine.core.snapshot import Snapshot
from ravine.reports.live.downsample import downsampled, evenly, visible
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import read_layer_rows
from ravine.runs.row_reader import RowReader
from ravine.runs.score import score_of

Axis = Literal["step", "epoch", "elapsed"]
AXES: Final[tuple[Axis, ...]] = ("step", "epoch", "elapsed")
STEP_CURVES: Final = ("loss", "accuracy", "lr", "gradient_norm", "images_per_second")
EPOCH_CURVES: Final = ("train_loss", "train_accuracy", "loss", "accuracy")
_MOST_SNAPSHOTS: Final = 600  # kept; of more, every second one goes
_MOST_ROWS: Final = 20_000  # read in a call, so that one long file holds up no other answer


@final
class RunFeed:
    """The rows of a run, read as they are appended.

    Attributes:
        version: grows whenever something was read.
        complete: whether all that the files held at the last call is read.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._history = RowReader(folder.history)
        self._layers = RowReader(folder.layers)
        self.version, self.complete = 0, False
        self._clear()

    def _clear(self) -> None:
        self._steps: dict[str, array[float]] = {name: array("d") for name in AXES}
        self._steps |= {name: array("f") for name in STEP_CURVES}
        self._epochs: dict[str, array[float]] = {
            name: array("d") for name in (*AXES, *EPOCH_CURVES, "low", "high")
        }
        self._snapshots: list[Snapshot[float]] = []

    @property
    def rows(self) -> int:
        """How many rows of steps are kept."""
        return len(self._steps["step"])

    def column(self, name: str) -> Sequence[float]:
        """Returns a column of the rows of steps, NaN where a value is not known."""
        return self._steps[name]

    def epoch_column(self, name: str) -> Sequence[float]:
        """Returns a column of the rows of epochs, NaN where a value is not known."""
        return self._epochs[name]

    def advance(self) -> None:
        """Reads what was appended, up to some thousand rows."""
        count = 0
        for row in self._history.new_rows():
            if count == 0 and self._history.started_anew:
                self._clear()
            self._add(row)
            count += 1
            if count >= _MOST_ROWS:
                break
        self.complete = count < _MOST_ROWS
        snapshots = read_layer_rows(self._layers.new_rows()).snapshots
        if self._layers.started_anew:
            self._snapshots = []
        self._snapshots += snapshots
        while len(self._snapshots) > _MOST_SNAPSHOTS:
            self._snapshots = self._snapshots[:-1:2] + self._snapshots[-1:]
        self.version += bool(count or snapshots)

    def _add(self, row: Mapping[str, Any]) -> None:
        kind = row.get("kind")
        if kind == "step":
            columns = self._steps
        elif kind == "epoch":
            columns = self._epochs
            interval = row.get("interval") or row.get("mean_ap_interval")
            low, high = interval if isinstance(interval, list) and len(interval) == 2 else (0, 0)
            row = {**row, "low": low or None, "high": high or None, "accuracy": score_of(row)}
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
        x = np.array(self._steps[axis])
        span = [float(x[0]), float(x[-1])] if len(x) else _span(self._epochs[axis])
        window = slice(None) if low is None or high is None else visible(x, low, high)
        steps = {
            name: _plain(*downsampled(x[window], np.frombuffer(values, "f")[window], buckets))
            for name, values in self._steps.items()
            if name not in AXES and len(values)
        }
        ends = list(self._epochs[axis])
        epochs = {
            name: [ends, [_rounded(v) for v in values]]
            for name, values in self._epochs.items()
            if name not in AXES
        }
        return {"axis": axis, "span": span, "rows": self.rows, "steps": steps, "epochs": epochs}

    def at_axis(self, steps: Sequence[float], axis: Axis) -> list[float]:
        """Returns where steps are on an axis, between rows interpolated."""
        known = np.array(self._steps["step"])
        if axis == "step" or not len(known):
            return [float(step) for step in steps]
        return [float(v) for v in np.interp(steps, known, np.array(self._steps[axis]))]

    def layers(self, axis: Axis, columns: int) -> dict[str, Any]:
        """Returns layers × snapshots of the layer statistics, base-10 logarithms, as plain values.

        Standard deviations of outputs and of gradients (L, S), update ratios and gradient norms
        of the tensors of weights (P, S).

        Args:
            axis: of time.
            columns: snapshots at most.
        """
        kept = [self._snapshots[k] for k in evenly(len(self._snapshots), columns)]
        if not kept:
            return {"x": [], "layers": [], "parameters": []}
        last = kept[-1]
        layers = [n for n, row in last.layers.items() if row.var is not None]
        parameters = [n for n in last.parameters if n.endswith("weight")]
        parameters = parameters or list(last.parameters)
        return {
            "x": self.at_axis([one.step for one in kept], axis),
            "layers": layers,
            "kinds": [last.layers[name].kind for name in layers],
            "output": _table(kept, layers, lambda one, name: _root(one.layers.get(name), "var")),
            "gradient": _table(
                kept, layers, lambda one, name: _root(one.layers.get(name), "gradient_var")
            ),
            "parameters": parameters,
            "update_ratio": _table(
                kept, parameters, lambda one, name: _value(one.parameters.get(name), "update_ratio")
            ),
            "gradient_norm": _table(
                kept,
                parameters,
                lambda one, name: _value(one.parameters.get(name), "gradient_norm"),
            ),
        }


def _table(
    snapshots: Sequence[Snapshot[float]], names: Sequence[str], value: Any
) -> list[list[float | None]]:
    return [[_log10(value(one, name)) for one in snapshots] for name in names]


def _root(row: Any, name: str) -> float | None:
    found = _value(row, name)
    return None if found is None or found < 0 else math.sqrt(found)


def _value(row: Any, name: str) -> float | None:
    return None if row is None else getattr(row, name)


def _log10(value: float | None) -> float | None:
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return round(math.log10(value), 3)


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) and abs(value) < 1e300 else math.nan


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _plain(x: np.ndarray, y: np.ndarray) -> list[list[float | None]]:
    return [[_rounded(float(v)) for v in x], [_rounded(float(v)) for v in y]]


def _span(values: Sequence[float]) -> list[float]:
    return [values[0], values[-1]] if len(values) else [0.0, 1.0]
