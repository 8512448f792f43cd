"""A race while it runs: its jobs on their rungs, from the plain files of its folder.

plan.json names the trials; each outcome is a file of its own, and a job that runs keeps
its steps in KEY.progress.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine.core.errors import RunError
from ravine.core.regular_file import read_regular
from ravine.runs.rows import read_json

_MOST = 5000  # outcomes; more are no race of Ravine's


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
