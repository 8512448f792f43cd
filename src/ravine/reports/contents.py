"""What a report says, gathered from the plain files of a run folder.

Each file may be missing or torn: the page then says what it lacks, and why. Links are not followed:
a page may be passed on, and holds nothing but what lies in the folder.
"""

import base64
import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ravine.core.wilson_interval import wilson_interval
from ravine.runs.layers_file import LayerRecords, read_layers, snapshot_row
from ravine.runs.links import is_own_file

_LINK = "is a link, which is not followed"
_MOST_PICTURE = 2_000_000  # bytes; a picture of a mistake is never as large


@dataclass(slots=True, kw_only=True)
class Contents:
    """The files of a run as plain values; `missing` says what is not there."""

    name: str
    evaluation: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)
    variance: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def gather(run: Path, *, layers: LayerRecords | None = None) -> Contents:
    """Returns the contents of a run folder, as far as they are there.

    Args:
        run: the folder.
        layers: the content of layers.jsonl, where it was read already.
    """
    missing: list[str] = []

    def read(name: str, parse: Callable[[str], Any], why: str) -> Any:
        if (run / name).is_symlink():
            missing.append(f"{name} {_LINK}")
            return {}
        try:
            value = parse((run / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            missing.append(f"{name} is not there: {why}")
            return {}
        except (OSError, ValueError) as error:
            missing.append(f"{name} cannot be read: {error}")
            return {}
        if not isinstance(value, dict):
            missing.append(f"{name} does not hold what it should")
            return {}
        return value

    evaluation = read("evaluation.json", json.loads, "the run has not ended, or held nothing out")
    audit = read("audit.json", json.loads, "the data was not audited")
    environment = read("environment.json", json.loads, "the run did not begin")
    recipe = read("recipe.toml", tomllib.loads, "the run did not begin")
    rows = _rows(run / "history.jsonl", missing)
    plan = recipe.pop("plan", {})
    return Contents(
        name=run.resolve().name,
        evaluation=evaluation,
        epochs=[row for row in rows if row.get("kind") == "epoch"],
        steps=[row for row in rows if row.get("kind") == "step"],
        audit=audit,
        recipe=recipe,
        plan=plan if isinstance(plan, dict) else {},
        environment=environment,
        findings=[*_returns(rows), *_rows(run / "findings.jsonl", [])],
        looks=_looks(_layers(run / "layers.jsonl") if layers is None else layers),
        variance=_variance(run / "variance.json"),
        missing=missing,
    )


def _layers(path: Path) -> LayerRecords:
    return LayerRecords() if path.is_symlink() else read_layers(path)


def _looks(layers: LayerRecords) -> list[dict[str, Any]]:
    """Returns the snapshots as rows, each of a later step than the last."""
    last, found = 0, []
    for snapshot in layers.snapshots:
        if snapshot.step > last:
            last = snapshot.step
            found.append(snapshot_row(snapshot))
    return found


def _variance(path: Path) -> list[dict[str, Any]]:
    """Returns the networks whose variance was looked at; none before a diagnosis."""
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


def _returns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the times that the run was taken back, as findings."""
    return [
        {
            "severity": "warning",
            "code": "taken-back",
            "step": row.get("step"),
            "text": f"at step {row.get('from')} {row.get('reason')}; the run was taken back here, "
            f"with its rates times {row.get('scale')} from then on",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """How well one class is told from the others."""

    name: str
    count: int
    recall: float | None
    recall_interval: tuple[float, float]
    precision: float | None
    precision_interval: tuple[float, float]
    f1: float | None


def class_rows(evaluation: dict[str, Any]) -> list[ClassRow]:
    """Returns recall, precision and F1 of each class, with 95 % intervals of the first two."""
    table = evaluation["confusion"]
    rows = []
    for place, name in enumerate(evaluation["classes"]):
        hits, count = table[place][place], sum(table[place])
        said = sum(row[place] for row in table)
        recall = hits / count if count else None
        precision = hits / said if said else None
        f1 = 2 * hits / (count + said) if count + said else None
        rows.append(
            ClassRow(
                name=name,
                count=count,
                recall=recall,
                recall_interval=wilson_interval(hits, count),
                precision=precision,
                precision_interval=wilson_interval(hits, said),
                f1=f1,
            )
        )
    return rows


def confused_pairs(evaluation: dict[str, Any], most: int = 10) -> list[tuple[str, str, int, float]]:
    """Returns (true, taken for, images, share of the true class), the most frequent first."""
    names, table = evaluation["classes"], evaluation["confusion"]
    pairs = [
        (names[a], names[b], count, count / sum(row))
        for a, row in enumerate(table)
        for b, count in enumerate(row)
        if a != b and count
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def summary_lines(contents: Contents) -> list[str]:
    """Returns what a reader wants to know first: what goes wrong, and what to do next."""
    lines: list[str] = []
    if contents.evaluation:
        lines += _about_result(contents)
    if contents.epochs:
        lines += _about_fit(contents.epochs[-1])
    leaked = contents.audit.get("leakage", {}).get("images", 0)
    if leaked:
        lines.append(f"{leaked} images stood on both sides of the split: see the data below.")
    advice = contents.audit.get("imbalance", {}).get("advice")
    if advice:
        lines.append(f"{advice[0].upper()}{advice[1:]}.")
    return lines


def _about_result(contents: Contents) -> list[str]:
    pairs = confused_pairs(contents.evaluation, 1)
    weakest = min(class_rows(contents.evaluation), key=lambda row: row.f1 or 0.0)
    lines = []
    if pairs:
        true, taken, count, share = pairs[0]
        lines.append(
            f"Most often {true} is taken for {taken}: {count} images, {share:.0%} of the class."
        )
    if weakest.f1 is not None:
        lines.append(f"The weakest class is {weakest.name}, with an F1 of {weakest.f1:.3f}.")
    return lines


_GAP = 0.05  # of training over validation accuracy, from where more regularisation pays


def _about_fit(last: dict[str, Any]) -> list[str]:
    accuracy, training = last.get("accuracy"), last.get("train_accuracy")
    if accuracy is None or training is None:
        return []
    if training - accuracy > _GAP:
        return [
            f"Training accuracy is {100 * (training - accuracy):.1f} points above validation: the "
            "network learns by heart; more augmentation (--augment, --mixup 0.2) or --dropout 0.3 "
            "may help."
        ]
    return [
        "Training and validation accuracy are close: a longer run or a larger network may help."
    ]


def pictures(run: Path, mistakes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the mistakes with their pictures as data URIs, those without a picture left out."""
    shown = []
    for row in mistakes:
        path = run / str(row.get("image", ""))
        if is_own_file(run, path) and path.stat().st_size < _MOST_PICTURE:
            encoded = base64.b64encode(path.read_bytes()).decode()
            shown.append({**row, "uri": f"data:image/png;base64,{encoded}"})
    return shown


def surface_pictures(run: Path) -> list[tuple[str, str]]:
    """Returns name and picture, as a data URI, of each loss surface of the run."""
    shown = []
    for path in sorted((run / "landscape").glob("*.png")):
        if is_own_file(run, path) and path.stat().st_size < _MOST_PICTURE:
            encoded = base64.b64encode(path.read_bytes()).decode()
            shown.append((path.stem, f"data:image/png;base64,{encoded}"))
    return shown
