"""The result of a cross-validated run where an image has several labels.

Average precision is not additive over images: that of all images, each by the network that was not
trained on it, is the mean over the folds by their number of images. Counts are added up.

Shape letters: K labels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ravine.core.wilson_interval import wilson_interval

_Z95 = 1.959963984540054
_MEANS = ("mean_ap", "macro_f1", "micro_f1")
_OF_LABELS = ("average_precision", "f1")


def pooled_labels(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the evaluation of all images.

    Args:
        folds: evaluation.json of each fold.
    """
    sizes = [int(one["count"]) for one in folds]
    count = sum(sizes)
    exact = round(sum(one["exact_match"] * one["count"] for one in folds))
    losses = [one["loss"] for one in folds]
    fair = [one["thresholds"]["macro_f1_cross_fitted"] for one in folds]
    known = None not in fair
    return {
        "split": f"{len(folds)} folds",
        "count": count,
        "labels_per_image": "several",
        **_means(folds, sizes),
        "exact_match": exact / count,
        "exact_match_interval": wilson_interval(exact, count),
        "hamming_loss": _mean([one["hamming_loss"] for one in folds], sizes),
        "chance": _mean([one["chance"] for one in folds], sizes),
        "loss": None if None in losses else _mean(losses, sizes),
        "classes": list(folds[0]["classes"]),
        "thresholds": {
            "from": folds[0]["thresholds"]["from"],
            "chosen_on_these_images": any(
                one["thresholds"]["chosen_on_these_images"] for one in folds
            ),
            "macro_f1_cross_fitted": _mean(fair, sizes) if known else None,
        },
        "labels": [
            _label([one["labels"][k] for one in folds], sizes)
            for k in range(len(folds[0]["classes"]))
        ],
        "tta": _means([one["tta"] for one in folds], sizes)
        if all(one.get("tta") for one in folds)
        else None,
        "folds": [
            {name: one[name] for name in ("mean_ap", "mean_ap_interval", "count", "loss")}
            for one in folds
        ],
    }


def _mean(values: Sequence[float], sizes: Sequence[int]) -> float:
    return math.fsum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)


def _means(folds: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in _MEANS:
        if all(name in one for one in folds):
            intervals = [one[f"{name}_interval"] for one in folds]
            rows |= _with_interval(name, [one[name] for one in folds], intervals, sizes)
    return rows


def _with_interval(
    name: str,
    values: Sequence[float],
    intervals: Sequence[Sequence[float]],
    sizes: Sequence[int],
) -> dict[str, Any]:
    """Returns a weighted mean, and its interval from those of its parts, which are independent."""
    value = _mean(values, sizes)
    errors = [(high - low) / (2 * _Z95) for low, high in intervals]
    error = math.sqrt(math.fsum((e * n) ** 2 for e, n in zip(errors, sizes, strict=True)))
    half = _Z95 * error / sum(sizes)
    return {name: value, f"{name}_interval": (max(0.0, value - half), min(1.0, value + half))}


def _label(rows: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Returns the row of one label, from its rows in the folds."""
    hits, yes, count = (sum(row[name] for row in rows) for name in ("hits", "predicted", "count"))
    found: dict[str, Any] = {
        "name": rows[0]["name"],
        "count": count,
        "predicted": yes,
        "hits": hits,
        "threshold": _mean([row["threshold"] for row in rows], sizes),
        "precision": hits / yes if yes else None,
        "precision_interval": wilson_interval(hits, yes),
        "recall": hits / count if count else None,
        "recall_interval": wilson_interval(hits, count),
    }
    for name in _OF_LABELS:
        known = [
            (row[name], row[f"{name}_interval"], size)
            for row, size in zip(rows, sizes, strict=True)
            if row[name] is not None
        ]
        found |= {name: None, f"{name}_interval": None}
        if known:
            found |= _with_interval(name, *map(list, zip(*known, strict=True)))
    return found
