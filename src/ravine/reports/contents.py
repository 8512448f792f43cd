"""The contents of a report, gathered from the plain files of a run folder.

Each file may be missing or torn: the page then says what is missing, and why. Links are not
followed: a page may be passed on, and contains nothing from outside the folder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ravine.core.json_text import parse_json, parse_toml
from ravine.core.regular_file import read_regular
from ravine.runs.confusion import has_square_confusion
from ravine.runs.file_schemas import (
    AUDIT,
    ENVIRONMENT,
    EVALUATION,
    FINDING,
    HISTORY,
    VARIANCE,
    WEIGHTS,
    EpochRow,
    StepsRow,
    fault_in,
    with_defaults,
)
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import LayerRecords, read_layers, snapshot_row
from ravine.runs.run_state import RunState, read_state
from ravine.runs.shown_loss import with_shown_loss
from ravine.runs.verdict import Verdict, judge

# What a row leaves out is not known.
_NO_NUMBERS = dict.fromkeys([*StepsRow.model_fields, *EpochRow.model_fields])
_RECORD_OF_WEIGHTS = ("weights.json", "the record of its weights was removed", WEIGHTS)
_LINK = "is a link, which is not followed"


@dataclass(slots=True, kw_only=True)
class Contents:
    """The files of a run as plain values; `missing` lists what is absent, and why.

    The losses of training, in `steps` and `epochs`, are those above their own floors, which
    `loss_floor` is the mean of.
    """

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
    weights: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    loss_floor: float = 0.0
    verdict: Verdict
    state: RunState


def gather(run: Path, *, layers: LayerRecords | None = None) -> Contents:
    """Returns the contents of a run folder, as far as they exist.

    Args:
        run: the folder.
        layers: the content of layers.jsonl, where it was read already.
    """
    missing: list[str] = []

    def read(name: str, why: str, schema: TypeAdapter[Any]) -> dict[str, Any]:
        found = _read(run / name, parse_json, why, missing)
        if found and (fault := fault_in(found, schema)) is not None:
            missing.append(f"{name} does not hold what it should ({fault})")
            return {}
        return found

    evaluation = read("evaluation.json", "the run has not ended, or held nothing out", EVALUATION)
    if evaluation and not has_square_confusion(evaluation):
        missing.append("evaluation.json does not hold what it should (confusion)")
        evaluation = {}
    evaluation = with_defaults(evaluation, EVALUATION) if evaluation else {}
    environment = read("environment.json", "the run did not begin", ENVIRONMENT)
    recipe = _read(run / "recipe.toml", parse_toml, "the run did not begin", missing)
    rows = _rows(run / "history.jsonl", HISTORY, missing)
    plan = recipe.pop("plan", {})
    findings = [*_rollbacks(rows), *_rows(run / "findings.jsonl", FINDING, [])]
    return Contents(
        name=run.resolve().name,
        evaluation=evaluation,
        epochs=_shown(rows, "epoch", "train_loss"),
        steps=_shown(rows, "step", "loss"),
        loss_floor=_mean_floor(rows),
        audit=read("audit.json", "the data was not audited", AUDIT),
        recipe=recipe,
        plan=plan if isinstance(plan, dict) else {},
        environment=environment,
        findings=findings,
        snapshots=_snapshots(_layers(run / "layers.jsonl") if layers is None else layers),
        variance=_variance(run / "variance.json"),
        weights=read(*_RECORD_OF_WEIGHTS) if recipe.get("weights") else {},
        missing=missing,
        verdict=judge(run, evaluation=evaluation, findings=findings, recipe=recipe),
        state=read_state(RunFolder(run), plan=plan if isinstance(plan, dict) else None),
    )


def _shown(rows: Sequence[Mapping[str, Any]], kind: str, loss: str) -> list[dict[str, Any]]:
    """Returns the rows of a kind, None where they say nothing, with training losses as shown."""
    return [with_shown_loss({**_NO_NUMBERS, **row}, loss) for row in rows if row["kind"] == kind]


def _mean_floor(rows: Sequence[Mapping[str, Any]]) -> float:
    """Returns the mean of the floors of the steps; 0 where there are none."""
    found = [row.get("loss_floor") or 0.0 for row in rows if row["kind"] == "step"]
    return sum(found) / len(found) if found else 0.0


def _read(path: Path, parse: Callable[[str], Any], why: str, missing: list[str]) -> dict[str, Any]:
    """Returns the mapping in a file; else none, and adds the reason to `missing`."""
    if path.is_symlink():
        missing.append(f"{path.name} {_LINK}")
        return {}
    try:
        value = parse(read_regular(path).decode())
    except FileNotFoundError:
        missing.append(f"{path.name} is not there: {why}")
        return {}
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read: {str(error)[:200]}")
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
        networks = parse_json(read_regular(path))["networks"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return networks if fault_in(networks, VARIANCE) is None else []


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


def _rows(path: Path, schema: TypeAdapter[Any], missing: list[str]) -> list[dict[str, Any]]:
    """Returns the rows of a file that are whole, and adds what is left out to `missing`."""
    if path.is_symlink():
        missing.append(f"{path.name} {_LINK}")
        return []
    try:
        lines = read_regular(path).decode(errors="replace").split("\n")
    except OSError as error:
        no_file = isinstance(error, FileNotFoundError)
        why = "is not there: no step was logged" if no_file else f"cannot be read: {error.strerror}"
        missing.append(f"{path.name} {why}")
        return []
    rows: list[dict[str, Any]] = []
    torn = 0
    for line in filter(str.strip, lines):
        try:
            row = parse_json(line)
        except ValueError:
            torn += 1
            continue
        if isinstance(row, dict) and fault_in(row, schema) is None:
            rows.append(row)
        else:
            torn += 1
    if torn:
        missing.append(f"{path.name}: {torn} torn lines are left out")
    return rows
