"""The lines about an evaluation: accuracy, what it may be compared with, and its classes."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ravine.cli.several_lines import several_lines
from ravine.core.counted import counted
from ravine.core.lazy import lazy_module
from ravine.reports.baseline_text import baseline_text
from ravine.reports.class_tables import ClassRow, class_rows
from ravine.workflows.screens import loss_text, share

if TYPE_CHECKING:
    from ravine.runs import confusion
else:
    confusion = lazy_module("ravine.runs.confusion")

_MOST = 40  # classes; of more, the weakest are shown
_WEAKEST = 10


def evaluation_lines(found: dict[str, Any], *, per_class: bool) -> list[str]:
    """Returns the lines about an evaluation.

    Args:
        found: as evaluation.json holds it.
        per_class: with a line for each class.
    """
    if "mean_ap" in found:
        return several_lines(found, per_label=per_class)
    loss = "not finite" if found["loss"] is None else loss_text(found["loss"], decimals=4)
    images = counted(found["count"], "image")
    lines = [
        f"accuracy {_accuracy(found)} on {images} ({found['split']}), loss {loss}",
        *_fold_lines(found),
    ]
    if known := found.get("trained_on"):
        lines.append(f"{known:,} of {images} were trained on; --held-out leaves them out")
    if rows := found.get("baselines"):
        lines.append(f"without a network, on the pixels: {baseline_text(rows, found['count'])}")
    if found.get("top5"):
        lines.append(f"true class among the first five: {_accuracy(found['top5'])}")
    if found.get("tta"):
        lines.append(f"with test-time flip {_accuracy(found['tta'])}")
    if best := found.get("best"):
        lines += _best_lines(best)
    return [*lines, *_class_lines(found)] if per_class else lines


def _accuracy(found: dict[str, Any]) -> str:
    return share(found["accuracy"], tuple(found["interval"]))


def _fold_lines(found: dict[str, Any]) -> list[str]:
    """Returns the lines about the folds of a cross-validated run."""
    lines = []
    if folds := found.get("folds"):
        accuracies = [one["accuracy"] for one in folds]
        lines.append(
            f"each image by the network of {len(folds)} that was not trained on it; by fold: "
            f"{share(min(accuracies))} to {share(max(accuracies))}"
        )
    if test := found.get("test"):
        lines.append(
            f"mean of the {len(folds or ())} networks: accuracy {_accuracy(test)} on "
            f"{counted(test['count'], 'image')} (test)"
        )
    return lines


def _best_lines(best: dict[str, Any]) -> list[str]:
    """Returns the line about better weights along the way, and what their number is worth."""
    if best["is_last"]:
        return []
    luck = f"{100 * best['luck']:.1f}"
    chosen = f", up to {luck} points of it by luck" if float(luck) else ""
    return [
        f"best of {counted(best['evaluations'], 'evaluation')}: {share(best['accuracy'])} of "
        f"{counted(best['images'], 'validation image')} after epoch {best['epoch']:.4g}{chosen}; "
        "those weights: --weights-of best"
    ]


def _class_lines(found: dict[str, Any]) -> list[str]:
    """Returns a line for each class, or for the weakest of many, after their mean F1."""
    table = confusion.dense_confusion(found["confusion"]).tolist()
    rows = class_rows({"classes": found["classes"], "confusion": table})
    known = [row.f1 for row in rows if row.f1 is not None and row.count]
    lines = [f"mean F1 of {len(known)} classes {fmean(known):.4f}"] if known else []
    if len(rows) > _MOST:
        rows = sorted(rows, key=lambda row: -1.0 if row.f1 is None else row.f1)[:_WEAKEST]
        lines.append(f"the {_WEAKEST} weakest classes (--out keeps all):")
    return [*lines, *_rows(rows)]


def _rows(rows: Sequence[ClassRow]) -> list[str]:
    width = max(len(row.name) for row in rows)
    digits = max(len(f"{row.count:,}") for row in rows)
    lines = []
    for row in rows:
        recall = "no image" if row.recall is None else share(row.recall)
        precision = "never said" if row.precision is None else share(row.precision)
        f1 = "–" if row.f1 is None else f"{row.f1:.3f}"
        lines.append(
            f"  {row.name:{width}}  images {row.count:{digits},}  recall {recall:>9}  "
            f"precision {precision:>10}  F1 {f1:>5}"
        )
    return lines
