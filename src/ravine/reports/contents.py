"""The contents of a report, gathered from the plain files of a run folder.

Each file may be missing or torn: the page then says what is missing, and why. Links are not
followed: a page may be passed on, and contains nothing from outside the folder.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ravine.core.errors import RunError
from ravine.runs.confusion import dense_confusion
from ravine.runs.layers_file import LayerRecords, read_layers, snapshot_row
from ravine.runs.verdict import Verdict, judge

_LINK = "is a link, which is not followed"


@dataclass(slots=True, kw_only=True)
class Contents:
    """The files of a run as plain values; `missing` lists what is absent, and why."""

    name: str
    evaluation: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    variance: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    verdict: Verdict


def gather(run: Path, *, layers: LayerRecords | None = None) -> Contents:
    """Returns the contents of a run folder, as far as they exist.

    Args:
        run: the folder.
        layers: the content of layers.jsonl, where it was read already.
    """
    missing: list[str] = []

    def read(name: str, parse: Callable[[str], Any], why: str) -> dict[str, Any]:
        return _read(run / name, parse, why, missing)

    evaluation = read("evaluation.json", _evaluation, "the run has not ended, or held nothing out")
    audit = read("audit.json", json.loads, "the data was not audited")
    environment = read("environment.json", json.loads, "the run did not begin")
    recipe = read("recipe.toml", tomllib.loads, "the run did not begin")
    rows = _rows(run / "history.jsonl", missing)
    plan = recipe.pop("plan", {})
    findings = [*_rollbacks(rows), *_rows(run / "findings.jsonl", [])]
    return Contents(
        name=run.resolve().name,
        evaluation=evaluation,
        epochs=[row for row in rows if row.get("kind") == "epoch"],
        steps=[row for row in rows if row.get("kind") == "step"],
        audit=audit,
        recipe=recipe,
        plan=plan if isinstance(plan, dict) else {},
        environment=environment,
        findings=findings,
        snapshots=_snapshots(_layers(run / "layers.jsonl") if layers is None else layers),
        variance=_variance(run / "variance.json"),
        missing=missing,
        verdict=judge(run, evaluation=evaluation, findings=findings, recipe=recipe),
    )


def _evaluation(text: str) -> Any:
    """Returns the content of evaluation.json, with the confusion matrix as a list of rows."""
    found = json.loads(text)
    if isinstance(found, dict) and isinstance(found.get("confusion"), dict):
        try:
            found["confusion"] = dense_confusion(found["confusion"]).tolist()
        except RunError as error:
            raise ValueError(str(error)) from None
    return found


def _read(path: Path, parse: Callable[[str], Any], why: str, missing: list[str]) -> dict[str, Any]:
    """Returns the mapping in a file; else none, and adds the reason to `missing`."""
    if path.is_symlink():
        missing.append(f"{path.name} {_LINK}")
        return {}
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing.append(f"{path.name} is not there: {why}")
        return {}
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(value, dict):
        missing.append(f"{path.name} does not hold what it should")
        return {}
    return value


def _layers(path: Path) -> LayerRecords:
    return LayerRecords() if path.is_symlink() else read_layers(path)


def _snapshots(layers: LayerRecords) -> list[dict[str, Any]]:
    """Returns the snapshots as rows, each of a later step than the last."""
    last, found = 0, []
    for snapshot in layers.snapshots:
        if snapshot.step > last:
            last = snapshot.step
            found.append(snapshot_row(snapshot))
    return found


def _variance(path: Path) -> list[dict[str, Any]]:
    """Returns the networks whose variance was measured; none before a diagnosis."""
    if path.is_symlink():
        return []
    try:
        networks = json.loads(path.read_text(encoding="utf-8"))["networks"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    whole = isinstance(networks, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and isinstance(one.get("layers"), list)
        and isinstance(one.get("factors"), dict)
        for one in networks
    )
    return networks if whole else []


def _rollbacks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rollbacks of the run as findings."""
    return [
        {
            "severity": "warning",
            "code": "rolled-back",
            "step": row.get("step"),
            "text": f"at step {row.get('from')} {row.get('reason')}; the run was rolled back "
            f"to this step, with its learning rates times {row.get('scale')} from here on",
        }
        for row in rows
        if row.get("kind") == "rollback"
    ]


def _rows(path: Path, missing: list[str]) -> list[dict[str, Any]]:
    if path.is_symlink():
        missing.append(f"{path.name} {_LINK}")
        return []
    if not path.is_file():
        missing.append(f"{path.name} is not there: no step was logged")
        return []
    rows: list[dict[str, Any]] = []
    torn = 0
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            torn += 1
            continue
        if isinstance(row, dict):
            rows.append(row)
    if torn:
        missing.append(f"{path.name}: {torn} torn lines are left out")
    return rows
