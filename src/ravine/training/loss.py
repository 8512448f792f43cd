"""From logits and targets to the loss: of one class an image, or of several labels."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LeastLoss = Callable[[torch.Tensor, int], torch.Tensor]
_LEAST_SHARE = 1e-30  # whose logarithm is finite: what is 0 times it is 0


def cross_entropy(*, label_smoothing: float, class_weights: torch.Tensor | None) -> Loss:
    """Returns the mean cross-entropy of logits (B, K) float32 and targets.

    Targets are labels (B,) int64 or shares (B, K) float32.

    Args:
        label_smoothing: share of each target spread over all classes (Szegedy et al. 2016).
        class_weights: (K,) float32 factors of the classes' losses, or None.
    """
    return partial(F.cross_entropy, label_smoothing=label_smoothing, weight=class_weights)


def least_cross_entropy(*, label_smoothing: float, class_weights: torch.Tensor | None) -> LeastLoss:
    """Returns the function of targets and K to the least cross-entropy that any logits have, 0-dim.

    With shares q and weights w it is that of the probabilities w·q over their sum.

    Args:
        label_smoothing: as in `cross_entropy`.
        class_weights: as in `cross_entropy`.
    """
    loss = cross_entropy(label_smoothing=label_smoothing, class_weights=class_weights)

    def least(targets: torch.Tensor, classes: int) -> torch.Tensor:
        shares = F.one_hot(targets, classes).float() if targets.dim() == 1 else targets
        shares = shares * (1 - label_smoothing) + label_smoothing / classes
        weighted = shares if class_weights is None else shares * class_weights
        return loss(weighted.clamp_min(_LEAST_SHARE).log(), targets)

    return least


def binary_cross_entropy(
    *, label_smoothing: float, positive_weights: torch.Tensor | None, reduction: str = "mean"
) -> Loss:
    """Returns the binary cross-entropy of logits (B, K) float32 and targets (B, K) in 0..1.

    Of an image it is the sum over its K labels, with σ the logistic function,

        L = -Σ_k [w_k y_k ln σ(z_k) + (1 − y_k) ln (1 − σ(z_k))]

    the negative log-likelihood of its labels where each is a Bernoulli variable of its own (Bishop,
    "Pattern Recognition and Machine Learning", 2006, section 5.2). The slope by a logit is σ(z) − y
    as that of the cross-entropy is softmax(z) − y, so that learning rates found for one fit the
    other; torch's `binary_cross_entropy_with_logits` with its mean over labels is L/K.

    Label smoothing s makes y into (1 − s)·y + s/2: of K = 2 answers to each question. Mixed images
    have the mean of both images' labels as y, in which L is linear.

    Args:
        label_smoothing: s in [0, 1).
        positive_weights: w, (K,) float32, or None for 1.
        reduction: mean over images, or none for the loss of each, (B,).
    """

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        y = targets.to(logits.dtype)
        if label_smoothing:
            y = y * (1 - label_smoothing) + label_smoothing / 2
        each = F.binary_cross_entropy_with_logits(
            logits, y, pos_weight=positive_weights, reduction="none"
        ).sum(1)
        return each.mean() if reduction == "mean" else each

    return loss


def least_binary_cross_entropy(
    *, label_smoothing: float, positive_weights: torch.Tensor | None
) -> LeastLoss:
    """Returns the function of targets and K to the least binary cross-entropy, 0-dim.

    With a target y and weight w it is that of the probability w·y / (w·y + 1 − y).

    Args:
        label_smoothing: as in `binary_cross_entropy`.
        positive_weights: as in `binary_cross_entropy`.
    """
    loss = binary_cross_entropy(label_smoothing=label_smoothing, positive_weights=positive_weights)

    def least(targets: torch.Tensor, _: int) -> torch.Tensor:
        y = targets.float() * (1 - label_smoothing) + label_smoothing / 2
        yes = y if positive_weights is None else y * positive_weights
        logits = yes.clamp_min(_LEAST_SHARE).log() - (1 - y).clamp_min(_LEAST_SHARE).log()
        return loss(logits, targets)

    return least


def loss_of(*, several: bool, label_smoothing: float, weights: torch.Tensor | None) -> Loss:
    """Returns the mean loss of logits (B, K) and targets.

    Args:
        several: whether an image has several labels, and not one class.
        label_smoothing: s in [0, 1).
        weights: (K,) of the classes, or of the labels that an image has; or None.
    """
    if several:
        return binary_cross_entropy(label_smoothing=label_smoothing, positive_weights=weights)
    return cross_entropy(label_smoothing=label_smoothing, class_weights=weights)


def least_loss_of(
    *, several: bool, label_smoothing: float, weights: torch.Tensor | None
) -> LeastLoss:
    """Returns the function of targets and K to the least that `loss_of` the same can be, 0-dim."""
    if several:
        return least_binary_cross_entropy(label_smoothing=label_smoothing, positive_weights=weights)
    return least_cross_entropy(label_smoothing=label_smoothing, class_weights=weights)


def plain_loss_of_each(*, several: bool) -> Loss:
    """Returns the loss of each image, (B,), without smoothing and weights.

    Args:
        several: whether targets are rows of 0 and 1, (B, K), and not classes (B,).
    """
    if several:
        return binary_cross_entropy(label_smoothing=0.0, positive_weights=None, reduction="none")
    return partial(F.cross_entropy, reduction="none")
