"""From logits and targets to the loss."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(*, label_smoothing: float, class_weights: torch.Tensor | None) -> Loss:
    """Returns the mean cross-entropy of logits (B, K) float32 and targets.

    Targets are labels (B,) int64 or shares (B, K) float32.

    Args:
        label_smoothing: share of each target spread over all classes (Szegedy et al. 2016).
        class_weights: (K,) float32 factors of the classes' losses, or None.
    """
    return partial(F.cross_entropy, label_smoothing=label_smoothing, weight=class_weights)
