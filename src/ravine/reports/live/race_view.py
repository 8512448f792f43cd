"""A race while it runs: its jobs on their rungs, from the plain files of its folder.

plan.json names the trials; each outcome is a file of its own, and a job that runs keeps
its steps in KEY.progress.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.core.colours import shades_of
from ravine.core.errors import RunError
from ravine.core.regular_file import read_regular
from ravine.runs.file_schemas import LOSSES, fault_in
from ravine.runs.rows import read_json, read_rows

_MOST = 5000  # outcomes; more are no race of Ravine's
_MOST_CURVES = 60
_LOSSES = "losses.jsonl"  # of a run folder: a row for each of about 60 intervals of its steps


def race_view(race: Path) -> dict[str, Any]:
    """Returns the candidates of a race with their jobs, and its verdict once it has one.

    Args:
        race: its folder.
    """
    plan = _read(race / "plan.json").get("course") or {}
    results = _read(race / "results.json")
    state = _read(race / "state.json")
    folders = plan.get("folders") if isinstance(plan, Mapping) else None
    candidates = dict(folders) if isinstance(folders, Mapping) else {}
    jobs = _jobs(race / "outcomes")
    return {
        "candidates": [
            {
                "name": str(name),
                "trials": _count(plan, name),
                "jobs": [one for one in jobs if _belongs(one["run"], str(prefix))],
            }
            for name, prefix in candidates.items()
        ],
        "curves": _curves(race / "runs", [str(name) for name in candidates], candidates),
        "seeds": len(plan.get("seeds") or ()),
        "elapsed": state.get("elapsed"),
        "closed": state.get("closed"),
        "verdict": results.get("verdict"),
        "table": [
            {key: row.get(key) for key in ("name", "rank", "mean", "interval", "tied")}
            for row in results.get("table") or ()
            if isinstance(row, Mapping)
        ],
    }


def _curves(runs: Path, names: Sequence[str], prefixes: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """Returns the training loss of each run as far as it has come: a rung is where a curve ends."""
    if runs.is_symlink() or not runs.is_dir():
        return []
    shades = shades_of(names)
    found = []
    for path in sorted(runs.iterdir())[:_MOST_CURVES]:
        name = next((n for n in names if _belongs(path.name, str(prefixes[n]))), None)
        if name is None or path.is_symlink():
            continue
        x, y = _losses(path / _LOSSES)
        facts = {"run": path.name, "candidate": name, "colour": shades[name]}
        found.append({**facts, "x": x, "y": y})
    return [one for one in found if one["x"]]


def _losses(path: Path) -> tuple[list[int], list[float | None]]:
    """Returns the last step and the mean loss of each interval of losses.jsonl."""
    try:
        rows = [row for row in read_rows(path) if fault_in(row, LOSSES) is None]
    except RunError:
        return [], []
    means = []
    for row in rows:
        known = [loss for loss in row["losses"] if loss is not None and math.isfinite(loss)]
        means.append(math.fsum(known) / len(known) if known else None)
    return [row["first"] + len(row["losses"]) - 1 for row in rows], means


def _count(plan: Mapping[str, Any], name: object) -> int:
    trials = plan.get("trials")
    found = trials.get(name) if isinstance(trials, Mapping) else None
    return len(found) if isinstance(found, list) else 0


def _belongs(run: str, prefix: str) -> bool:
    return run.startswith((f"{prefix}-trial-", f"{prefix}-seed-"))


def _jobs(outcomes: Path) -> list[dict[str, Any]]:
    """Returns the jobs that are done, and those that run, by run and share of its steps."""
    if outcomes.is_symlink() or not outcomes.is_dir():
        return []
    found = []
    for path in sorted(outcomes.iterdir())[:_MOST]:
        run, at, rest = path.name.rpartition("@")
        if not at or path.is_symlink():
            continue
        share, _, kind = rest.rpartition(".")
        if kind == "json":
            row = _read(path)
            known = {key: _plain(row.get(key)) for key in ("loss", "accuracy", "final", "seconds")}
            status = str(row.get("status"))
            found.append({"run": run, "share": share, "status": status, "done": 1.0, **known})
        elif kind == "progress" and not (outcomes / f"{run}@{share}.json").is_file():
            done = _done(path)
            found.append({"run": run, "share": share, "status": "running", "done": done})
    return found


def _done(path: Path) -> float:
    try:
        step, total = (int(word) for word in read_regular(path).split()[:2])
    except (OSError, ValueError):
        return 0.0
    return min(1.0, step / total) if total > 0 else 0.0


def _plain(value: Any) -> float | None:
    known = type(value) in (int, float) and math.isfinite(value)
    return float(value) if known else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except RunError:
        return {}
