"""How good answers with several labels are: average precision, F1, and their errors; in float64.

Where no image has a label, its average precision and its recall are not defined; means over labels
are over the others. Intervals are the figure ± 1.96 standard errors, from 200 bootstrap samples of
the images (Efron, Tibshirani 1993), the same samples for all labels and figures.

Shape letters: N images, K labels, R samples.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

_SAMPLES = 200
_Z95 = 1.959963984540054
_MOST_NUMBERS = 1 << 23  # in a block of samples


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """Figures of each label and of all; NaN where one is not defined.

    Attributes:
        average_precision: (K,), or (R, K) of samples.
        f1: (K,), or (R, K).
        mean_ap: mean of the first over labels that occur; 0-dim, or (R,).
        macro_f1: mean of the second over labels that occur; 0-dim, or (R,).
        micro_f1: F1 of all questions (image, label) together; 0-dim, or (R,).
    """

    average_precision: np.ndarray
    f1: np.ndarray
    mean_ap: np.ndarray
    macro_f1: np.ndarray
    micro_f1: np.ndarray


def average_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns Σ_n (R_n − R_{n−1}) P_n over thresholds n from the highest, (R,); NaN without truth.

    P_n is the precision and R_n the recall of answering yes from the n-th highest score on; equal
    scores are one threshold (scikit-learn's `average_precision_score`; Manning, Raghavan, Schütze,
    "Introduction to information retrieval", 2008, chapter 8).

    Args:
        scores: (N,).
        truth: (N,) of 0 and 1.
        weights: (R, N), how often each sample holds each image.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    weights = weights[:, order].astype(np.float64)
    hits = np.cumsum(weights * truth[order], axis=1)[:, ends]
    answers = np.cumsum(weights, axis=1)[:, ends]
    precision = np.divide(hits, answers, out=np.zeros_like(hits), where=answers > 0)
    gained = np.diff(hits, axis=1, prepend=0.0)
    total = hits[:, -1]
    area = (precision * gained).sum(1)
    return np.divide(area, total, out=np.full_like(area, np.nan), where=total > 0)


def f1_of(hits: np.ndarray, answers: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Returns 2·hits/(answers + positives), of any shape; NaN where nothing has the label.

    Args:
        hits: answers that are right.
        answers: how often yes was answered.
        positives: how many images have the label.
    """
    both = answers + positives
    safe = np.where(both > 0, both, 1)
    return np.where(positives > 0, 2 * hits / safe, np.nan)


def label_scores(
    probabilities: np.ndarray, truth: np.ndarray, thresholds: np.ndarray, weights: np.ndarray
) -> LabelScores:
    """Returns the figures of R samples.

    Args:
        probabilities: (N, K).
        truth: (N, K) of 0 and 1.
        thresholds: (K,), from which a probability is a yes.
        weights: (R, N), how often each sample holds each image.
    """
    says = probabilities >= thresholds
    known = weights.astype(np.float64)
    hits = known @ (says & (truth > 0)).astype(np.float64)
    answers = known @ says.astype(np.float64)
    positives = known @ truth.astype(np.float64)
    areas = [
        average_precision(probabilities[:, k], truth[:, k], weights) for k in range(truth.shape[1])
    ]
    found = np.stack(areas, axis=1)
    f1 = f1_of(hits, answers, positives)
    return LabelScores(
        average_precision=found,
        f1=f1,
        mean_ap=_mean(found),
        macro_f1=_mean(f1),
        micro_f1=f1_of(hits.sum(1), answers.sum(1), positives.sum(1)),
    )


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean (R,) of what is defined in each row of (R, K); NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def whole_scores(
    probabilities: np.ndarray, truth: np.ndarray, thresholds: np.ndarray
) -> LabelScores:
    """Returns the figures of all images, each counted once.

    Args:
        probabilities: (N, K).
        truth: (N, K) of 0 and 1.
        thresholds: (K,), from which a probability is a yes.
    """
    found = label_scores(probabilities, truth, thresholds, np.ones((1, len(truth))))
    return LabelScores(**{name: getattr(found, name)[0] for name in LabelScores.__slots__})


def standard_errors(
    probabilities: np.ndarray, truth: np.ndarray, thresholds: np.ndarray, *, seed: int = 0
) -> LabelScores:
    """Returns the standard error of each figure, over bootstrap samples of the images.

    Args:
        probabilities: (N, K).
        truth: (N, K) of 0 and 1.
        thresholds: (K,); their choice is not repeated in the samples.
        seed: of the samples.
    """
    count = len(truth)
    rng = np.random.default_rng(seed)
    rows = max(1, min(_SAMPLES, _MOST_NUMBERS // max(1, count)))
    parts = []
    for start in range(0, _SAMPLES, rows):
        size = min(rows, _SAMPLES - start)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=size)
        parts.append(label_scores(probabilities, truth, thresholds, weights))
    return LabelScores(
        **{
            name: _spread(np.concatenate([getattr(part, name) for part in parts]))
            for name in LabelScores.__slots__
        }
    )


def _spread(samples: np.ndarray) -> np.ndarray:
    """Returns the standard deviation over what is defined of R samples, along the first axis."""
    known = np.isfinite(samples)
    count = known.sum(0)
    values = np.where(known, samples, 0.0)
    mean = values.sum(0) / np.maximum(count, 1)
    squares = np.where(known, (samples - mean) ** 2, 0.0).sum(0)
    return np.sqrt(squares / np.maximum(count - 1, 1))


def interval(value: float, error: float) -> tuple[float, float]:
    """Returns the 95 % interval of a figure in [0, 1], cut off there."""
    return max(0.0, value - _Z95 * error), min(1.0, value + _Z95 * error)
