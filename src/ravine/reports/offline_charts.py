"""The curves of an offline page as values for `offline_charts.js`: against step, epoch, time.

The drawings of `curve_figures` and `race_figures` show the same on paper and without a script.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ravine.reports.history_columns import AXES, HistoryColumns
from ravine.reports.live.downsample import evenly
from ravine.reports.race_figures import band
from ravine.runs.score import ACCURACY, MEAN_AP

_BUCKETS: Final = 150  # of a curve: two points each
_EPOCHS: Final = 300  # of a run, at most


def run_charts(
    steps: Sequence[Mapping[str, Any]],
    epochs: Sequence[Mapping[str, Any]],
    findings: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns the curves of a run and its findings on each axis, thinned for one picture.

    Args:
        steps: rows of history.jsonl about steps.
        epochs: its rows about epochs.
        findings: rows of findings.jsonl.
    """
    kept = [epochs[k] for k in evenly(len(epochs), _EPOCHS)]
    columns = HistoryColumns.of_rows([*steps, *kept])
    dated = [row for row in findings if isinstance(row.get("step"), int)]
    at = [float(row["step"]) for row in dated]
    axes = {
        axis: {
            **columns.curves(axis, low=None, high=None, buckets=_BUCKETS),
            "findings": [
                {"x": x, **{key: row.get(key) for key in ("step", "severity", "code")}}
                for row, x in zip(dated, columns.at_axis(at, axis), strict=True)
            ],
        }
        for axis in AXES
        if all(map(math.isfinite, columns.steps[axis]))
    }
    several = any(row.get("mean_ap") is not None for row in epochs)
    return {"axis": "epoch", "measure": MEAN_AP if several else ACCURACY, "axes": axes}


def race_charts(
    runs: Mapping[str, Mapping[Any, Any]],
    shades: Mapping[str, str],
    epochs: Mapping[str, float],
    target: Mapping[str, Any] | None,
    measure: str,
) -> dict[str, Any]:
    """Returns the mean of each candidate over its seeds, with the lowest and the highest seed.

    Args:
        runs: of each candidate by seed, with rows `training` and `validation`.
        shades: the name of the colour of each candidate.
        epochs: of each candidate's runs.
        target: to mark, if there is one.
        measure: what `accuracy` holds: accuracy or mAP.
    """
    axes = {}
    for axis in AXES:
        curves = {
            value: [
                {"name": name, "colour": shades[name], "kind": kind, **_of_candidate(rows, value)}
                for name, by_seed in runs.items()
                if (rows := _on_axis(by_seed, part, axis, epochs[name]))
            ]
            for part, value, kind in _PARTS
        }
        ends = [one["x"][-1] for found in curves.values() for one in found if one["x"]]
        span = [0.0, max(ends, default=1.0)]
        if target is not None:
            line = {"name": "target", "colour": "grey", "kind": "line"}
            curves["accuracy"].append({**line, "x": span, "y": [target["accuracy"]] * 2})
        axes[axis] = {"span": span, "curves": curves}
    charts = [
        {"name": "loss", "title": "Training loss", "log": True},
        {"name": "accuracy", "title": f"Validation {measure}", "percent": True},
    ]
    return {"axis": "step", "charts": charts, "axes": axes}


_PARTS: Final = (("training", "loss", "line"), ("validation", "accuracy", "dots"))


def _on_axis(
    by_seed: Mapping[Any, Any], part: str, axis: str, epochs: float
) -> list[list[dict[str, float]]]:
    """Returns the rows of each seed with their place on an axis as `x`.

    A run's last step is the end of its last epoch.
    """
    found = [run[part] for run in by_seed.values() if run[part]]
    ends = [run["training"][-1]["step"] for run in by_seed.values() if run["training"]]
    last = max(ends, default=1)
    factor = epochs / last if axis == "epoch" else 1.0
    key = "elapsed" if axis == "elapsed" else "step"
    return [[{**row, "x": factor * row[key]} for row in rows] for rows in found]


def _of_candidate(rows: Sequence[Sequence[Mapping[str, float]]], value: str) -> dict[str, Any]:
    at, values = band(rows, "x", value)
    names = ("x", "y", "low", "high")
    columns = (at, values.mean(0), values.min(0), values.max(0))
    kept = evenly(len(at), 2 * _BUCKETS)
    return {
        name: [float(f"{column[k]:.6g}") for k in kept]
        for name, column in zip(names, columns, strict=True)
    }
