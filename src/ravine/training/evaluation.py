"""How good a network is, on images that it was not trained on.

Shape letters in this file: N images, B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ravine.core.wilson_interval import wilson_interval
from ravine.data.label_sets import has_several
from ravine.nn.freezing import training_mode_
from ravine.runs.confusion import packed_confusion
from ravine.training.label_scores import whole_scores
from ravine.training.label_thresholds import DEFAULT_THRESHOLD
from ravine.training.several_evaluation import (
    Thresholds,
    mean_log_loss,
    several_evaluation,
    worst_answers,
)

_BINS = 15  # of the calibration, as in Guo et al. 2017
_TOP = 5
MISTAKES = 24  # most confident errors that are kept
_CLASSES_FOR_TOP = 20  # from so many classes on, the true one among the first five says something


class Images(Protocol):
    """A batch to evaluate: images (B, C, H, W) on the device."""

    @property
    def images(self) -> torch.Tensor:
        """Normalised images (B, C, H, W)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result on one split.

    Attributes:
        count: images.
        accuracy: in [0, 1]; None where an image has several labels.
        interval: its 95 % interval, or None.
        loss: mean over the images.
        scores: of several labels, mean_ap and macro_f1 (at 0.5), None where no label occurs; else
            empty.
        worst: image, class and log-probability of the most confident errors; see `wrong_answers`.
    """

    count: int
    accuracy: float | None
    interval: tuple[float, float] | None
    loss: float
    scores: Mapping[str, float | None] = field(default_factory=dict)
    worst: tuple[tuple[int, int, float], ...] = field(default=(), compare=False)

    @property
    def score(self) -> float:
        """What evaluations of a run are compared by: accuracy, or mean average precision."""
        return self.scores.get("mean_ap") or 0.0 if self.accuracy is None else self.accuracy


@torch.no_grad()
def class_probabilities(
    model: nn.Module,
    batches: Iterable[Images],
    *,
    precision: torch.dtype,
    mirrored: bool = False,
    several: bool = False,
    each: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the log-probabilities (N, K) float32 of the classes, or labels, of each image.

    The second array, None unless `mirrored`, is the logarithm of the mean of the
    probabilities of each image and of its mirror image (test-time flip).

    Args:
        model: put into evaluation mode, and left in the mode that it was in.
        batches: images on the model's device.
        precision: type of activations and products.
        mirrored: also evaluate the mirror images.
        several: whether each label has a probability of its own.
        each: called with the number of images after each batch.
    """
    plain: list[torch.Tensor] = []
    both: list[torch.Tensor] = []
    for batch in batches:
        one, two = batch_log_probabilities(
            model, batch.images, precision=precision, mirrored=mirrored, several=several
        )
        plain.append(one)
        if two is not None:
            both.append(two)
        if each:
            each(len(batch.images))
    on_host = [torch.cat(parts).cpu().numpy() if parts else None for parts in (plain, both)]
    if on_host[0] is None:
        raise ValueError("no images to evaluate")
    return on_host[0], on_host[1]


@torch.no_grad()
def batch_log_probabilities(
    model: nn.Module,
    images: torch.Tensor,
    *,
    precision: torch.dtype,
    mirrored: bool,
    several: bool = False,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns `class_probabilities` of one batch: (B, K) float32 each, on the model's device.

    Args:
        model: put into evaluation mode, and left in the mode that it was in.
        images: (B, C, H, W), normalised.
        precision: type of activations and products.
        mirrored: also evaluate the mirror images.
        several: whether each label has a probability of its own.
        forward: gives the model's logits (B, K); by default the model itself.
    """
    forward = model if forward is None else forward
    was_training = model.training
    model.eval()
    try:
        with torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
            logits = forward(images)
            flipped = forward(images.flip(3)) if mirrored else None
    finally:
        if was_training:
            training_mode_(model)
    plain = log_probabilities_of(logits, several=several)
    if flipped is None:
        return plain, None
    pair = torch.stack([plain, log_probabilities_of(flipped, several=several)])
    return plain, pair.logsumexp(0) - np.log(2.0)


def log_probabilities_of(logits: torch.Tensor, *, several: bool) -> torch.Tensor:
    """Returns ln softmax(z), or ln σ(z) with several labels, (B, K) float32."""
    return F.logsigmoid(logits.float()) if several else logits.float().log_softmax(1)


def summarise(log_probabilities: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Returns accuracy with its 95 % interval, or the scores of several labels, and mean loss.

    Args:
        log_probabilities: (N, K).
        labels: (N,) in 0..K-1, or (N, K) of 0 and 1.
    """
    if has_several(labels):
        return _summarise_several(log_probabilities, labels)
    count = len(labels)
    hits = int((log_probabilities.argmax(1) == labels).sum())
    return Evaluation(
        count=count,
        accuracy=hits / count,
        interval=wilson_interval(hits, count),
        loss=float(-log_probabilities[np.arange(count), labels].mean(dtype=np.float64)),
        worst=wrong_answers(log_probabilities, labels, MISTAKES),
    )


def _summarise_several(log_probabilities: np.ndarray, truth: np.ndarray) -> Evaluation:
    probabilities = np.exp(log_probabilities.astype(np.float64))
    found = whole_scores(probabilities, truth, np.full(truth.shape[1], DEFAULT_THRESHOLD))
    values = {"mean_ap": float(found.mean_ap), "macro_f1": float(found.macro_f1)}
    return Evaluation(
        count=len(truth),
        accuracy=None,
        interval=None,
        loss=mean_log_loss(log_probabilities, truth),
        scores={name: value if np.isfinite(value) else None for name, value in values.items()},
        worst=wrong_answers(log_probabilities, truth, MISTAKES),
    )


def within_first(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
    """Returns how often the true class is among the five likeliest, with its 95 % interval.

    None below 20 classes, where it says little. Of equal probabilities the earlier class counts as
    the likelier one.

    Args:
        log_probabilities: (N, K).
        labels: (N,) in 0..K-1.
    """
    count, classes = log_probabilities.shape
    if classes < _CLASSES_FOR_TOP:
        return None
    own = log_probabilities[np.arange(count), labels][:, None]
    before = (log_probabilities == own) & (np.arange(classes) < labels[:, None])
    # A network that answers NaN has named nothing.
    ranked = ((log_probabilities > own) | before).sum(1) < _TOP
    hits = int((ranked & np.isfinite(own[:, 0])).sum())
    return {"accuracy": hits / count, "interval": wilson_interval(hits, count)}


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns how often a true class (row) was taken for a class (column), (K, K) int64."""
    flat = np.bincount(labels * classes + predicted, minlength=classes**2)
    return flat.reshape(classes, classes)


def calibration(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
    """Returns confidence against accuracy in bins, and the expected calibration error.

    Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017,
    equation 3, with 15 bins of equal width. Bins without images hold None. A network that answers
    NaN is neither sure nor unsure: None for all of it.

    Args:
        probabilities: (N, K).
        labels: (N,) in 0..K-1.
    """
    confidence = probabilities.max(1).astype(np.float64)
    if not np.isfinite(confidence).all():
        return None
    hits = probabilities.argmax(1) == labels
    index = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    counts = np.bincount(index, minlength=_BINS)
    means = [np.bincount(index, weights=w, minlength=_BINS) for w in (confidence, hits)]

    def in_bins(sums: np.ndarray) -> list[float | None]:
        return [s / n if n else None for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]

    return {
        "edges": [k / _BINS for k in range(_BINS + 1)],
        "count": counts.tolist(),
        "confidence": in_bins(means[0]),
        "accuracy": in_bins(means[1]),
        "ece": float(np.abs(means[0] - means[1]).sum() / len(labels)),
    }


def worst_mistakes(log_probabilities: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Returns the indices of the most confident wrong answers, the most confident first.

    An answer that is no number, of a network that diverged, has no confidence and is left out.

    Args:
        log_probabilities: (N, K).
        labels: (N,) in 0..K-1.
        most: length of the result at most; its dtype is int64.
    """
    predicted = log_probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[~np.isnan(log_probabilities[wrong]).any(1)]
    sureness = log_probabilities[wrong, predicted[wrong]]
    return wrong[np.argsort(-sureness, kind="stable")][:most]


def wrong_answers(
    log_probabilities: np.ndarray, labels: np.ndarray, most: int
) -> tuple[tuple[int, int, float], ...]:
    """Returns image, class and log-probability of the most confident errors, the worst first.

    Args:
        log_probabilities: (N, K).
        labels: (N,) in 0..K-1, or (N, K) of 0 and 1.
        most: length of the result at most.
    """
    if has_several(labels):
        pairs = worst_answers(log_probabilities, labels, most)
    else:
        worst = worst_mistakes(log_probabilities, labels, most)
        pairs = np.stack([worst, log_probabilities[worst].argmax(1)], axis=1)
    return tuple((i, k, float(log_probabilities[i, k])) for i, k in pairs.tolist())


def full_evaluation(
    log_probabilities: np.ndarray,
    with_mirrored: np.ndarray | None,
    labels: np.ndarray,
    *,
    split: str,
    classes: Sequence[str],
    thresholds: Thresholds | None = None,
    chosen_here: bool = False,
) -> dict[str, Any]:
    """Returns the plain content of evaluation.json, without the mistakes' pictures.

    Args:
        log_probabilities: (N, K).
        with_mirrored: (N, K), those of the mean with the mirror image; or None.
        labels: (N,) in 0..K-1, or (N, K) of 0 and 1.
        split: name of the split.
        classes: the K names.
        thresholds: of several labels; by default 0.5.
        chosen_here: whether they were chosen on these images.
    """
    if has_several(labels):
        return several_evaluation(
            log_probabilities,
            with_mirrored,
            labels,
            split=split,
            classes=classes,
            thresholds=thresholds or Thresholds.default(len(classes)),
            chosen_here=chosen_here,
        )
    result = summarise(log_probabilities, labels)
    predicted = log_probabilities.argmax(1)
    tta = None
    if with_mirrored is not None:
        mirrored = summarise(with_mirrored, labels)
        tta = {"accuracy": mirrored.accuracy, "interval": mirrored.interval}
    return {
        "split": split,
        "count": result.count,
        "accuracy": result.accuracy,
        "interval": result.interval,
        "loss": result.loss,
        "classes": list(classes),
        "confusion": packed_confusion(confusion(predicted, labels, len(classes))),
        "calibration": calibration(np.exp(log_probabilities), labels),
        "tta": tta,
        "top5": within_first(log_probabilities, labels),
    }
