"""layers.jsonl: a line per look inside a network. Numbers that are not finite are kept as words.

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

Look = dict[str, Any]
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_DIGITS = 5


def append_look(path: Path, look: Mapping[str, Any]) -> None:
    """Appends one look.

    Raises:
        RunError: the disk is full or read-only.
    """
    append_row(path, _written(look))


def read_looks(path: Path) -> list[Look]:
    """Returns the looks of a file, with NaN and infinity as numbers; none if there is no file."""
    return [_read(row) for row in read_rows(path) if row.get("kind") == "look"]


def append_not_finite(path: Path, found: Mapping[str, Any]) -> None:
    """Appends what is known of the first value that was not finite: step, layer, direction.

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
    """Takes out the rows of later steps, in one instant."""
    if path.exists():
        rewrite_rows(path, [row for row in read_rows(path) if row.get("step", 0) <= step])


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
