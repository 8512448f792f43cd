"""Mixup and cutmix: a batch of images and targets, mixed with the same batch in reverse order.

Mixup: Zhang, Cissé, Dauphin, Lopez-Paz, ICLR 2018. Cutmix: Yun et al., ICCV 2019.

Shape letters: B batch, C channels, H height, W width, K classes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mixup(images: Tensor, labels: Tensor, classes: int, *, lam: float) -> tuple[Tensor, Tensor]:
    """Returns λ·images + (1−λ)·reversed images, and the targets mixed likewise.

    Args:
        images: (B, C, H, W) float.
        labels: (B,) int64 in 0..K-1, or (B, K) uint8 of 0 and 1.
        classes: K.
        lam: λ in [0, 1].

    Returns:
        Images (B, C, H, W) and targets (B, K) float32; shares that sum to 1, of one class each.
    """
    mixed = torch.lerp(images.flip(0), images, lam)
    return mixed, _mixed_targets(labels, classes, lam)


def cutmix(
    images: Tensor, labels: Tensor, classes: int, *, lam: float, centre: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Returns images with a box from the reversed batch, and targets weighted by the areas.

    The box has the area (1−λ)·H·W around `centre` and is clipped at the edges; the targets follow
    the clipped area.

    Args:
        images: (B, C, H, W).
        labels: (B,) int64 in 0..K-1, or (B, K) uint8 of 0 and 1.
        classes: K.
        lam: λ in [0, 1].
        centre: of the box, as fractions of height and width in [0, 1].

    Returns:
        Images (B, C, H, W) and targets (B, K) float32; shares that sum to 1, of one class each.
    """
    height, width = images.shape[2:]
    half = (1 - lam) ** 0.5 / 2
    top, bottom = (round((centre[0] + s * half) * height) for s in (-1, 1))
    left, right = (round((centre[1] + s * half) * width) for s in (-1, 1))
    top, bottom = max(0, top), min(height, bottom)
    left, right = max(0, left), min(width, right)
    mixed = images.clone(memory_format=torch.preserve_format)
    mixed[:, :, top:bottom, left:right] = images.flip(0)[:, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, _mixed_targets(labels, classes, kept)


def _mixed_targets(labels: Tensor, classes: int, lam: float) -> Tensor:
    rows = as_targets(labels, classes)
    return lam * rows + (1 - lam) * rows.flip(0)


def as_targets(labels: Tensor, classes: int) -> Tensor:
    """Returns labels (B,) int64 or (B, K) uint8 as targets (B, K) float32."""
    rows = labels if labels.dim() == 2 else F.one_hot(labels, classes)
    return rows.float()


def mix(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    mixup_alpha: float,
    cutmix_alpha: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Returns the batch after mixup or cutmix; where both are on, each has probability 1/2.

    λ ~ Beta(α, α), one for the batch.

    Args:
        images: (B, C, H, W) float.
        labels: (B,) int64 in 0..K-1, or (B, K) uint8 of 0 and 1.
        classes: K.
        mixup_alpha: α of mixup, 0 for off.
        cutmix_alpha: α of cutmix, 0 for off; not both 0.
        seed: of this batch.

    Returns:
        Images (B, C, H, W) and targets (B, K) float32; shares that sum to 1, of one class each.
    """
    rng = np.random.default_rng(seed)
    with_mixup = mixup_alpha > 0 and (cutmix_alpha == 0 or rng.random() < 0.5)
    alpha = mixup_alpha if with_mixup else cutmix_alpha
    lam = float(rng.beta(alpha, alpha))
    if with_mixup:
        return mixup(images, labels, classes, lam=lam)
    centre = (float(rng.random()), float(rng.random()))
    return cutmix(images, labels, classes, lam=lam, centre=centre)
