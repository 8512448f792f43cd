"""The threshold of each label: the probability from which an image is said to have it.

Each is the one with the best F1 on images that were not trained on. Chosen and judged on the same
images, F1 is too good; `cross_fitted_f1` is that of thresholds chosen on other images.

Shape letters: N images, K labels.
"""

import numpy as np

from ravine.training.label_scores import f1_of

DEFAULT_THRESHOLD = 0.5
FEWEST = 10  # images with a label, below which its own threshold would be chance


def choose_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns the threshold of each label, (K,) float64 in [0, 1].

    A label that fewer than ten images have takes the threshold that is best for all labels
    together.

    Args:
        probabilities: (N, K).
        truth: (N, K) of 0 and 1.
    """
    common = best_threshold(probabilities.ravel(), truth.ravel())
    return np.array(
        [
            best_threshold(probabilities[:, k], truth[:, k])
            if truth[:, k].sum() >= FEWEST
            else common
            for k in range(truth.shape[1])
        ]
    )


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns the threshold with the highest F1: half-way between two scores; 0.5 without truth.

    Of several that are equally good the one nearest to 0.5.

    Args:
        scores: (N,), in [0, 1].
        truth: (N,) of 0 and 1.

    >>> round(best_threshold(np.array([0.9, 0.6, 0.2]), np.array([1, 1, 0])), 6)
    0.4
    """
    known = np.isfinite(scores)
    scores, truth = scores[known].astype(np.float64), truth[known]
    positives = int(truth.sum())
    if not positives:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(truth[order], dtype=np.float64)[ends]
    quality = f1_of(hits, ends + 1.0, np.full(len(ends), float(positives)))
    below = np.append(ranked[ends[:-1] + 1], 0.0)
    cuts = (ranked[ends] + below) / 2
    best = cuts[quality >= quality.max() - 1e-12]
    return float(best[np.abs(best - DEFAULT_THRESHOLD).argmin()])


def cross_fitted_f1(probabilities: np.ndarray, truth: np.ndarray, *, seed: int = 0) -> float | None:
    """Returns macro F1 where each half of the images takes the thresholds of the other half.

    Args:
        probabilities: (N, K).
        truth: (N, K) of 0 and 1.
        seed: of the halves.

    Returns:
        None where there are fewer than two images, or no label occurs.
    """
    count = len(truth)
    if count < 2:
        return None
    half = np.random.default_rng(seed).permutation(count) < count // 2
    says = np.zeros(truth.shape, bool)
    for part in (half, ~half):
        says[part] = probabilities[part] >= choose_thresholds(probabilities[~part], truth[~part])
    has = truth > 0
    f1 = f1_of((says & has).sum(0), says.sum(0), has.sum(0))
    return float(np.nanmean(f1)) if np.isfinite(f1).any() else None
