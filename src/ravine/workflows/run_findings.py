"""The findings of a run, from its rows and its snapshots, kept in findings.jsonl."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ravine.checks.check_table import EXPLAINS
from ravine.core.events import Notice, Observer
from ravine.findings.cure_trials import Trial
from ravine.findings.finding import Finding, Findings, merge
from ravine.findings.history_detectors import find_over_time
from ravine.findings.label_floor import ignorance_of, label_floor
from ravine.findings.layer_detectors import find_in_snapshots
from ravine.findings.run_trace import trace
from ravine.findings.target_floor import expected_floor
from ravine.runs.file_schemas import AUDIT, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings, read_history
from ravine.runs.layers_file import LayerRecords
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json, rewrite_rows
from ravine.workflows.run_baselines import find_below_pixels

_BY = "diagnose"  # marks the rows that a later diagnosis removes
WHILE_TRAINING = "training"  # marks what was found before the end, which judges anew


def find_in_run(
    folder: RunFolder,
    *,
    classes: int | None,
    layers: LayerRecords,
    result: dict[str, Any] | None = None,
) -> Iterator[Finding]:
    """Yields the findings of history.jsonl, layers.jsonl, the undone steps and the result.

    Args:
        folder: of a run that has ended or not.
        classes: K, where it is known; else that of the audit, where there is one.
        layers: the content of layers.jsonl.
        result: its evaluation; None to read that of a run that has ended.
    """
    settings, _ = read_recipe(folder.recipe)
    if classes is None and folder.audit.exists():
        classes = _audited_classes(folder)
    rows = read_history(folder.history)
    yield from find_over_time(
        trace(
            rows,
            classes=classes,
            normalised=is_normalised(settings),
            **bounds_of(folder, settings, classes),
        )
    )
    undone = list(_undone(folder))
    yield from undone
    for one in find_in_snapshots(layers.snapshots, not_finite=layers.not_finite):
        if one.code != "not-finite" or not undone:
            yield one
    yield from find_below_pixels(folder, result, rows)


def _audited_classes(folder: RunFolder) -> int | None:
    found = read_json(folder.audit)
    return None if fault_in(found, AUDIT) is not None else len(found.get("classes", [])) or None


def label_shares(folder: RunFolder) -> list[float] | None:
    """Returns the shares of the labels among a run's training images, (K,), from its audit.

    None where an image has one class, or there is no audit.
    """
    if not folder.audit.exists():
        return None
    found = read_json(folder.audit)
    several = found.get("several")
    if fault_in(found, AUDIT) is not None or not isinstance(several, dict):
        return None
    count = several.get("train")
    if type(count) is not int or count < 1:
        return None
    return [min(1.0, row["counts"].get("train", 0) / count) for row in found["classes"]]


def is_normalised(settings: Mapping[str, Any]) -> bool:
    """Returns whether batch norm's running statistics may explain a bad validation loss.

    Measured statistics fit the weights, so that they do not.
    """
    batch = settings.get("norm", "batch") == "batch"
    return batch and settings.get("norm_statistics") != "measured"


class Bounds(TypedDict):
    """The losses between which a network learns, as `trace` takes them."""

    floor: float
    ignorance: float | None


def bounds_of(folder: RunFolder, settings: Mapping[str, Any], classes: int | None) -> Bounds:
    """Returns the least training loss of a run's targets, and that of knowing only their shares.

    Args:
        folder: of the run, with the audit of its data.
        settings: of its recipe.
        classes: K, None where it is not known.
    """
    shares = label_shares(folder)
    smoothing = float(settings.get("label_smoothing", 0.0))
    return {
        "floor": _floor(settings, classes, shares),
        "ignorance": None if shares is None else ignorance_of(shares, label_smoothing=smoothing),
    }


def _floor(
    settings: Mapping[str, Any], classes: int | None, shares: Sequence[float] | None
) -> float:
    """Returns the least training loss that a recipe's targets allow; 0 without a number of K."""
    if shares is not None:
        return label_floor(
            shares,
            label_smoothing=float(settings.get("label_smoothing", 0.0)),
            mixup=float(settings.get("mixup", 0.0)),
            cutmix=float(settings.get("cutmix", 0.0)),
        )
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


def notice(
    folder: RunFolder,
    *,
    classes: int,
    layers: LayerRecords,
    result: dict[str, Any],
    emit: Observer,
) -> None:
    """Keeps the findings of a run that has ended, and reports those worse than a note."""
    found = find_in_run(folder, classes=classes, layers=layers, result=result)
    findings = merge(found, EXPLAINS)
    keep_findings(folder, findings)
    for one in findings:
        if one.severity != "note" and one.code != "not-finite":  # reported by the loop already
            text = f"{one.severity} {one.code}: {one.seen}; {one.cure}"
            emit(Notice(text=text, warning=True, details={"finding": one.row()}))
