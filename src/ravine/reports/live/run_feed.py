"""A run's curves and layers in memory, as columns that grow with its files.

Shape letters: S snapshots, L layers, P parameters.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, final

from ravine.core.snapshot import Snapshot
from ravine.reports.history_columns import Axis, HistoryColumns
from ravine.reports.live.downsample import evenly
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import read_layer_rows
from ravine.runs.row_reader import RowReader
from ravine.runs.shown_loss import with_shown_loss

_MOST_SNAPSHOTS: Final = 600  # kept; of more, every second one goes
_MOST_ROWS: Final = 20_000  # read in a call, so that one long file holds up no other answer


@final
class RunFeed:
    """The rows of a run, read as they are appended.

    Attributes:
        columns: the rows of steps and epochs.
        version: grows whenever something was read.
        complete: whether all that the files held at the last call is read.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._history = RowReader(folder.history)
        self._layers = RowReader(folder.layers)
        self.version, self.complete = 0, False
        self.columns = HistoryColumns()
        self._snapshots: list[Snapshot[float]] = []

    @property
    def rows(self) -> int:
        """How many rows of steps are kept."""
        return len(self.columns.steps["step"])

    def column(self, name: str) -> Sequence[float]:
        """Returns a column of the rows of steps, NaN where a value is not known."""
        return self.columns.steps[name]

    def epoch_column(self, name: str) -> Sequence[float]:
        """Returns a column of the rows of epochs, NaN where a value is not known."""
        return self.columns.epochs[name]

    def advance(self) -> None:
        """Reads what was appended, up to some thousand rows."""
        count = 0
        for row in self._history.new_rows():
            if count == 0 and self._history.started_anew:
                self.columns.clear()
                self._snapshots = []
            key = "loss" if row.get("kind") == "step" else "train_loss"
            self.columns.add(with_shown_loss(row, key))
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
            "x": self.columns.at_axis([one.step for one in kept], axis),
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
