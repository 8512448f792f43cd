"""The findings of a run, from its rows and its snapshots, kept in findings.jsonl."""

from collections.abc import Iterator, Mapping
from typing import Any

from ravine.checks.check_table import EXPLAINS
from ravine.core.events import Notice, Observer
from ravine.findings.cure_trials import Trial
from ravine.findings.finding import Finding, Findings, merge
from ravine.findings.history_detectors import find_over_time, trace
from ravine.findings.layer_detectors import find_in_snapshots
from ravine.findings.target_floor import expected_floor
from ravine.runs.file_schemas import AUDIT, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings, read_history
from ravine.runs.layers_file import LayerRecords
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json, rewrite_rows

_BY = "diagnose"  # marks the rows that a later diagnosis removes
WHILE_TRAINING = "training"  # marks what was found before the end, which judges anew


def find_in_run(
    folder: RunFolder, *, classes: int | None, layers: LayerRecords
) -> Iterator[Finding]:
    """Yields the findings of history.jsonl, layers.jsonl and the undone steps.

    Args:
        folder: of a run that has ended or not.
        classes: K, where it is known; else that of the audit, where there is one.
        layers: the content of layers.jsonl.
    """
    settings, _ = read_recipe(folder.recipe)
    if classes is None and folder.audit.exists():
        classes = _audited_classes(folder)
    rows = read_history(folder.history)
    floor = floor_of(settings, classes)
    normalised = is_normalised(settings)
    yield from find_over_time(trace(rows, classes=classes, normalised=normalised, floor=floor))
    undone = list(_undone(folder))
    yield from undone
    for one in find_in_snapshots(layers.snapshots, not_finite=layers.not_finite):
        if one.code != "not-finite" or not undone:
            yield one


def _audited_classes(folder: RunFolder) -> int | None:
    found = read_json(folder.audit)
    return None if fault_in(found, AUDIT) is not None else len(found.get("classes", [])) or None


def is_normalised(settings: Mapping[str, Any]) -> bool:
    """Returns whether batch norm's running statistics may explain a bad validation loss.

    Measured statistics fit the weights, so that they do not.
    """
    batch = settings.get("norm", "batch") == "batch"
    return batch and settings.get("norm_statistics") != "measured"


def floor_of(settings: Mapping[str, Any], classes: int | None) -> float:
    """Returns the least training loss that a recipe's targets allow; 0 without a number of K."""
    if classes is None or classes < 2:
        return 0.0
    return expected_floor(
        classes,
        label_smoothing=float(settings.get("label_smoothing", 0.0)),
        mixup=float(settings.get("mixup", 0.0)),
        cutmix=float(settings.get("cutmix", 0.0)),
    )


def _undone(folder: RunFolder) -> Iterator[Finding]:
    """Yields the finding that training itself wrote about steps that were not finite."""
    for row in read_findings(folder.findings):
        if row.get("code") == "not-finite" and not row.get("evidence"):
            yield Finding(
                severity="warning",
                code="not-finite",
                seen=str(row.get("text")),
                cause=str(row.get("cause")),
                cure=str(row.get("cure")),
                layer=row.get("layer"),
                step=row.get("step"),
                changes={"lr": "*0.1"},
            )


def keep_findings(
    folder: RunFolder, findings: Findings, trials: Mapping[str, Trial] | None = None
) -> None:
    """Replaces the findings of an earlier diagnosis by these."""
    before = read_findings(folder.findings)
    others = [row for row in before if row.get("by") not in (_BY, WHILE_TRAINING)]
    found = {row.get("code"): row["found"] for row in before if "found" in row}
    tried = trials or {}
    rows: list[dict[str, Any]] = [
        {
            **one.row(),
            "by": _BY,
            **({"found": found[one.code]} if one.code in found else {}),
            "trial": tried[one.code].row() if one.code in tried else None,
        }
        for one in findings
    ]
    known = {(row["code"], row["text"]) for row in rows}
    others = [row for row in others if (row.get("code"), row.get("text")) not in known]
    if rows or folder.findings.exists():
        rewrite_rows(folder.findings, [*others, *rows])


def notice(folder: RunFolder, *, classes: int, layers: LayerRecords, emit: Observer) -> None:
    """Keeps the findings of a run that has ended, and reports those worse than a note."""
    findings = merge(find_in_run(folder, classes=classes, layers=layers), EXPLAINS)
    keep_findings(folder, findings)
    for one in findings:
        if one.severity != "note" and one.code != "not-finite":  # reported by the loop already
            text = f"{one.severity} {one.code}: {one.seen}; {one.cure}"
            emit(Notice(text=text, warning=True, details={"finding": one.row()}))
