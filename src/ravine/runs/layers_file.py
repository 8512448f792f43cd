"""layers.jsonl: a line per snapshot of a network. Numbers that are not finite are kept as words.

{"kind": "look", "step": 12, "lr": 0.1,
 "layers": {"0": {"kind": "Conv2d", "mean": …, "var": …, "gradient_var": …}},
 "parameters": {"0.weight": {"update_ratio": …, "gradient_norm": …, "rate": …}}, "overhead": …}
{"kind": "not-finite", "step": 40, "layer": "0", "direction": "forward"}
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard, TypeVar, cast, final

from ravine.core.snapshot import LayerStatistics, NotFinite, ParameterStatistics, Snapshot
from ravine.runs.rows import append_row, read_rows, rewrite_rows

Row = dict[str, Any]
_KIND: Final = "look"  # of the rows of snapshots
_KEYS: Final = {"learning_rate": "rate"}  # of attributes whose key has another name
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_DIGITS = 5
_MOST, _MOST_STEPS = 10**300, 2**53  # of an integer in a foreign file


@final
@dataclass(frozen=True, slots=True)
class LayerRecords:
    """What a layers file holds.

    Attributes:
        snapshots: oldest first.
        not_finite: the first value that was not finite; None where all were.
    """

    snapshots: tuple[Snapshot[float], ...] = ()
    not_finite: NotFinite | None = None


def append_snapshot(path: Path, snapshot: Snapshot[float]) -> None:
    """Appends one snapshot, its numbers with five digits.

    Raises:
        RunError: the disk is full or read-only.
    """
    append_row(path, _written(snapshot_row(snapshot)))


def append_not_finite(path: Path, found: NotFinite) -> None:
    """Appends the first value that was not finite.

    Raises:
        RunError: the disk is full or read-only.
    """
    append_row(path, {"kind": "not-finite", **asdict(found)})


def read_layers(path: Path) -> LayerRecords:
    """Returns the snapshots of a file and its first value that was not finite.

    Rows that are not whole are left out; without a file there are none.
    """
    return read_layer_rows(read_rows(path))


def read_layer_rows(rows: Iterable[Row]) -> LayerRecords:
    """Returns what rows of a layers file hold; those that are not whole are left out."""
    rows = list(rows)
    snapshots = [_snapshot_of(_read(row)) for row in rows if row.get("kind") == _KIND]
    lost = [_not_finite_of(row) for row in rows if row.get("kind") == "not-finite"]
    return LayerRecords(
        snapshots=tuple(one for one in snapshots if one is not None),
        not_finite=next((one for one in lost if one is not None), None),
    )


def keep_until(path: Path, step: int) -> None:
    """Takes out the rows of later steps, in one instant."""
    if path.exists():
        rewrite_rows(path, [row for row in read_rows(path) if _step_of(row) <= step])


def _step_of(row: Row) -> float:
    """Returns the step of a row; infinity where it has none."""
    step = row.get("step")
    return step if _is_step(step) else math.inf


def _is_step(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _MOST_STEPS


def snapshot_row(snapshot: Snapshot[float]) -> Row:
    """Returns a snapshot as a row of layers.jsonl, with all digits; numbers of None are left out.

    >>> snapshot_row(Snapshot(step=2, layers={"0": LayerStatistics(kind="ReLU", dead=0.5)}))
    {'kind': 'look', 'step': 2, 'layers': {'0': {'kind': 'ReLU', 'dead': 0.5}}, 'parameters': {}}
    """
    row = {
        "kind": _KIND,
        "step": snapshot.step,
        "lr": snapshot.lr,
        "layers": {name: _table_row(one) for name, one in snapshot.layers.items()},
        "parameters": {name: _table_row(one) for name, one in snapshot.parameters.items()},
        "uncleared": snapshot.uncleared,
        "overhead": snapshot.overhead,
    }
    return {key: value for key, value in row.items() if value is not None}


Statistics = TypeVar("Statistics", LayerStatistics[float], ParameterStatistics[float])


def _table_row(one: LayerStatistics[float] | ParameterStatistics[float]) -> Row:
    values = {_KEYS.get(f.name, f.name): getattr(one, f.name) for f in fields(one)}
    return {key: value for key, value in values.items() if value is not None}


def _snapshot_of(row: Row) -> Snapshot[float] | None:
    """Returns a row as a snapshot, None where it is not whole."""
    step, layers, parameters = row.get("step"), row.get("layers"), row.get("parameters")
    if not _is_step(step) or not _is_table(layers) or not _is_table(parameters):
        return None
    return Snapshot(
        step=step,
        lr=_number(row.get("lr")),
        layers={name: _statistics(LayerStatistics, one) for name, one in layers.items()},
        parameters={
            name: _statistics(ParameterStatistics, one) for name, one in parameters.items()
        },
        uncleared=_number(row.get("uncleared")),
        overhead=_number(row.get("overhead")),
    )


def _is_table(value: Any) -> TypeGuard[dict[str, Row]]:
    return isinstance(value, dict) and all(isinstance(row, dict) for row in value.values())


def _statistics(made: type[Statistics], row: Row) -> Statistics:
    values: Row = {f.name: row.get(_KEYS.get(f.name, f.name)) for f in fields(made)}
    read: Row = {name: _number(value) for name, value in values.items() if name != "kind"}
    if "kind" in values:
        read["kind"] = str(values["kind"] or "")
    return made(**read)


def _not_finite_of(row: Row) -> NotFinite | None:
    step, layer, direction = row.get("step"), row.get("layer"), row.get("direction")
    if not _is_step(step):
        return None
    known = cast(
        "Literal['forward', 'backward']", direction if direction == "backward" else "forward"
    )
    return NotFinite(step=step, layer=None if layer is None else str(layer), direction=known)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) else float(max(-_MOST, min(_MOST, value)))


def _written(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items()}
    return value


def _read(value: Any) -> Any:
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, dict):
        return {key: _read(item) for key, item in value.items()}
    return value
