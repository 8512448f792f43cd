"""The summary of a report: the lines above everything else."""

from typing import Any

from ravine.reports.class_tables import class_rows, confused_pairs
from ravine.reports.contents import Contents
from ravine.runs.verdict import Verdict

_GAP = 0.05  # of training over validation accuracy, above which more regularisation helps


def summary_lines(contents: Contents) -> list[str]:
    """Returns the most important lines: what goes wrong, and what to do next."""
    lines: list[str] = []
    if contents.evaluation:
        lines += _about_result(contents)
    if contents.epochs:
        lines += _about_fit(contents.epochs[-1], contents.verdict)
    leaked = contents.audit.get("leakage", {}).get("images", 0)
    if leaked:
        lines.append(f"{leaked} images are on both sides of the split: see the data below.")
    advice = contents.audit.get("imbalance", {}).get("advice")
    if advice:
        lines.append(f"{advice[0].upper()}{advice[1:]}.")
    return lines


def _about_result(contents: Contents) -> list[str]:
    if "mean_ap" in contents.evaluation:
        return _about_labels(contents.evaluation)
    pairs = confused_pairs(contents.evaluation, 1)
    weakest = min(class_rows(contents.evaluation), key=lambda row: row.f1 or 0.0)
    lines = []
    if pairs:
        true, predicted, count, share = pairs[0]
        lines.append(
            f"The most frequent confusion: {true} predicted as {predicted}, {count} images, "
            f"{share:.0%} of the class."
        )
    if weakest.f1 is not None:
        lines.append(f"The weakest class is {weakest.name}, with an F1 of {weakest.f1:.3f}.")
    return lines


def _about_labels(evaluation: dict[str, Any]) -> list[str]:
    """Returns the weakest label, and how far the thresholds flatter F1."""
    known = [row for row in evaluation["labels"] if row.get("average_precision") is not None]
    lines = []
    if known:
        weakest = min(known, key=lambda row: row["average_precision"])
        lines.append(
            f"The weakest label is {weakest['name']}, with an average precision of "
            f"{weakest['average_precision']:.3f} on {weakest['count']:,} images."
        )
    facts = evaluation["thresholds"]
    fair = facts.get("macro_f1_cross_fitted")
    if facts.get("chosen_on_these_images") and fair is not None:
        lines.append(
            "Thresholds were chosen on these images, so that F1 is too good: chosen on the other "
            f"half of them, macro F1 is {100 * fair:.1f} %."
        )
    return lines


def _about_fit(last: dict[str, Any], verdict: Verdict) -> list[str]:
    """Returns what the gap advises; nothing where a finding says what is wrong."""
    accuracy, training = last.get("accuracy"), last.get("train_accuracy")
    if accuracy is None or training is None or verdict.kind != "good":
        return []
    if training - accuracy > _GAP:
        return [
            f"Training accuracy is {100 * (training - accuracy):.1f} points above validation: the "
            "network overfits; more augmentation (--augment, --mixup 0.2) or --dropout 0.3 "
            "may help."
        ]
    return [
        "Training and validation accuracy are close: a longer run or a larger network may help."
    ]
