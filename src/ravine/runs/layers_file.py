"""layers.jsonl: a line per snapshot of a network's layers. NaN and infinity are strings.

{"kind": "look", "step": 12, "seconds": 0.03,
 "layers": {"0": {"kind": "Conv2d", "mean": …, "var": …, "gradient_var": …, "dead": …}},
 "parameters": {"0.weight": {"gradient_norm": …, "weight_norm": …, "update_ratio": …}}}
{"kind": "not-finite", "step": 40, "layer": "0", "direction": "forward"}
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine.runs.rows import append_row, read_rows, rewrite_rows

Snapshot = dict[str, Any]
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_DIGITS = 5


def append_snapshot(path: Path, snapshot: Mapping[str, Any]) -> None:
    """Appends one snapshot.

    Raises:
        RunError: the disk is full or read-only.
    """
    append_row(path, _to_json(snapshot))


def read_snapshots(path: Path) -> list[Snapshot]:
    """Returns the snapshots of a file, with NaN and infinity as numbers; none without a file."""
    return [_from_json(row) for row in read_rows(path) if row.get("kind") == "look"]


def append_not_finite(path: Path, found: Mapping[str, Any]) -> None:
    """Appends step, layer and direction of the first value that was not finite.

    Raises:
        RunError: the disk is full or read-only.
    """
    append_row(path, {"kind": "not-finite", **found})


def read_not_finite(path: Path) -> dict[str, Any] | None:
    """Returns step, layer and direction of the first value that was not finite, or None."""
    for row in read_rows(path):
        if row.get("kind") == "not-finite":
            return {name: row.get(name) for name in ("step", "layer", "direction")}
    return None


def keep_until(path: Path, step: int) -> None:
    """Removes the rows of later steps, atomically."""
    if path.exists():
        rewrite_rows(path, [row for row in read_rows(path) if row.get("step", 0) <= step])


def _to_json(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, dict):
        return {key: _from_json(item) for key, item in value.items()}
    return value
