"""The lines about an evaluation where an image has several labels."""

from collections.abc import Mapping
from typing import Any

from ravine.workflows.screens import share


def several_lines(found: Mapping[str, Any], *, per_label: bool) -> list[str]:
    """Returns the lines about an evaluation.

    Args:
        found: as in evaluation.json.
        per_label: whether a line for each label follows.
    """
    loss = "not finite" if found["loss"] is None else f"{found['loss']:.4f}"
    lines = [
        f"mAP {_share(found, 'mean_ap')} on {found['count']:,} images ({found['split']}), "
        f"loss {loss}",
        f"macro F1 {_share(found, 'macro_f1')}, micro F1 {_share(found, 'micro_f1')}, "
        f"all labels right {_share(found, 'exact_match')}",
    ]
    lines += _about_thresholds(found["thresholds"])
    if folds := found.get("folds"):
        values = [one["mean_ap"] for one in folds]
        lines.append(
            f"each image by the network of {len(folds)} that was not trained on it; mAP by fold: "
            f"{share(min(values))} to {share(max(values))}"
        )
    if test := found.get("test"):
        lines.append(
            f"mean of the {len(folds or ())} networks: mAP {_share(test, 'mean_ap')}, macro F1 "
            f"{_share(test, 'macro_f1')} on {test['count']:,} images (test)"
        )
    if known := found.get("trained_on"):
        lines.append(
            f"{known:,} of {found['count']:,} images were trained on; --held-out leaves them out"
        )
    if found.get("tta"):
        lines.append(f"with test-time flip mAP {_share(found['tta'], 'mean_ap')}")
    if (best := found.get("best")) and not best["is_last"]:
        lines.append(
            f"best of {best['evaluations']} evaluations: mAP {share(best['accuracy'])} on "
            f"{best['images']:,} validation images after epoch {best['epoch']:.4g}, some of it by "
            "luck; those weights: --weights-of best"
        )
    return [*lines, *(_label_lines(found) if per_label else [])]


def _share(found: Mapping[str, Any], name: str) -> str:
    return share(found[name], tuple(found[f"{name}_interval"]))


def _about_thresholds(facts: Mapping[str, Any]) -> list[str]:
    fair = facts.get("macro_f1_cross_fitted")
    if not facts.get("chosen_on_these_images"):
        return []
    said = "" if fair is None else f"; chosen on the other half of them it is {share(fair)}"
    return [f"thresholds were chosen on these images, so that F1 is too good{said}"]


def _label_lines(found: Mapping[str, Any]) -> list[str]:
    width = max(len(row["name"]) for row in found["labels"])
    lines = []
    for row in found["labels"]:
        precision = "never said" if row["precision"] is None else share(row["precision"])
        if not row["count"]:
            lines.append(f"  {row['name']:{width}}  no image has it; precision {precision}")
            continue
        lines.append(
            f"  {row['name']:{width}}  AP {_share(row, 'average_precision'):>22}  F1 "
            f"{_share(row, 'f1'):>22}  recall {share(row['recall']):>8}  precision "
            f"{precision:>10}  from {row['threshold']:.2f}"
        )
    return lines
