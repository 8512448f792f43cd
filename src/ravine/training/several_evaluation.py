"""evaluation.json where an image has several labels: means over labels, and a row for each.

Shape letters: N images, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ravine.core.wilson_interval import wilson_interval
from ravine.training.label_scores import LabelScores, interval, standard_errors, whole_scores
from ravine.training.label_thresholds import DEFAULT_THRESHOLD, cross_fitted_f1

CHOSEN_HERE = "validation"
"""Where thresholds come from: the validation images, `given` by the user, or the `default`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The thresholds of K labels, and where they come from.

    Attributes:
        values: (K,) float64 in [0, 1].
        source: validation, given or default.
    """

    values: np.ndarray
    source: str

    @classmethod
    def default(cls, labels: int) -> "Thresholds":
        """Returns 0.5 for each of K labels."""
        return cls(values=np.full(labels, DEFAULT_THRESHOLD), source="default")


def mean_log_loss(log_probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Returns the mean over images of the sum of the binary cross-entropies of their labels.

    Args:
        log_probabilities: (N, K), ln σ(z).
        truth: (N, K) of 0 and 1.
    """
    logs = log_probabilities.astype(np.float64)
    with np.errstate(divide="ignore"):
        others = np.log(-np.expm1(np.minimum(logs, 0.0)))
    chosen = np.where(truth > 0, logs, np.maximum(others, -110.0))
    return float(-chosen.sum(1).mean())


def several_evaluation(
    log_probabilities: np.ndarray,
    with_mirrored: np.ndarray | None,
    truth: np.ndarray,
    *,
    split: str,
    classes: Sequence[str],
    thresholds: Thresholds,
    chosen_here: bool = False,
) -> dict[str, Any]:
    """Returns the plain content of evaluation.json, without the mistakes' pictures.

    Args:
        log_probabilities: (N, K), ln σ(z).
        with_mirrored: (N, K), those of the mean with the mirror image; or None.
        truth: (N, K) of 0 and 1.
        split: name of the split.
        classes: the names of the K labels.
        thresholds: of the labels.
        chosen_here: whether they were chosen on these images, so that F1 is too good.
    """
    probabilities = np.exp(log_probabilities.astype(np.float64))
    values = thresholds.values
    found = whole_scores(probabilities, truth, values)
    errors = standard_errors(probabilities, truth, values)
    says = probabilities >= values
    exact = int((says == (truth > 0)).all(1).sum())
    shares = truth.mean(0)
    return {
        "split": split,
        "count": len(truth),
        "labels_per_image": "several",
        **_means(found, errors),
        "exact_match": exact / len(truth),
        "exact_match_interval": wilson_interval(exact, len(truth)),
        "hamming_loss": float((says != (truth > 0)).mean()),
        "chance": float(shares[shares > 0].mean()) if (shares > 0).any() else 0.0,
        "loss": mean_log_loss(log_probabilities, truth),
        "classes": list(classes),
        "thresholds": {
            "from": thresholds.source,
            "chosen_on_these_images": chosen_here,
            "macro_f1_cross_fitted": cross_fitted_f1(probabilities, truth) if chosen_here else None,
        },
        "labels": _rows(found, errors, says, truth, classes, values),
        "tta": None if with_mirrored is None else _mirrored(with_mirrored, truth, values),
    }


def _means(found: LabelScores, errors: LabelScores) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in ("mean_ap", "macro_f1", "micro_f1"):
        value, error = float(getattr(found, name)), float(getattr(errors, name))
        known = np.isfinite(value)
        rows[name] = value if known else 0.0
        rows[f"{name}_interval"] = interval(value, error) if known else (0.0, 1.0)
    return rows


def _mirrored(logs: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> dict[str, Any]:
    probabilities = np.exp(logs.astype(np.float64))
    found = whole_scores(probabilities, truth, thresholds)
    return _means(found, standard_errors(probabilities, truth, thresholds))


def _rows(
    found: LabelScores,
    errors: LabelScores,
    says: np.ndarray,
    truth: np.ndarray,
    classes: Sequence[str],
    thresholds: np.ndarray,
) -> list[dict[str, Any]]:
    """Returns a row for each label: counts and figures, None where one is not defined."""
    has = truth > 0
    hits, answers, positives = (says & has).sum(0), says.sum(0), has.sum(0)
    rows = []
    for k, name in enumerate(classes):
        hit, yes, count = int(hits[k]), int(answers[k]), int(positives[k])
        area, f1 = float(found.average_precision[k]), float(found.f1[k])
        rows.append(
            {
                "name": name,
                "count": count,
                "predicted": yes,
                "hits": hit,
                "threshold": float(thresholds[k]),
                "average_precision": area if count else None,
                "average_precision_interval": interval(area, float(errors.average_precision[k]))
                if count
                else None,
                "precision": hit / yes if yes else None,
                "precision_interval": wilson_interval(hit, yes),
                "recall": hit / count if count else None,
                "recall_interval": wilson_interval(hit, count),
                "f1": f1 if count else None,
                "f1_interval": interval(f1, float(errors.f1[k])) if count else None,
            }
        )
    return rows


def worst_answers(log_probabilities: np.ndarray, truth: np.ndarray, most: int) -> np.ndarray:
    """Returns (image, label) of the surest wrong answers, each image once, (M, 2) int64.

    Args:
        log_probabilities: (N, K).
        truth: (N, K) of 0 and 1.
        most: M at most.
    """
    probabilities = np.exp(log_probabilities.astype(np.float64))
    wrong = np.where(truth > 0, 1 - probabilities, probabilities)
    wrong = np.where(np.isfinite(wrong), wrong, 0.0)
    label = wrong.argmax(1)
    size = wrong[np.arange(len(wrong)), label]
    order = np.argsort(-size, kind="stable")[:most]
    order = order[size[order] > DEFAULT_THRESHOLD]
    return np.stack([order, label[order]], axis=1)
