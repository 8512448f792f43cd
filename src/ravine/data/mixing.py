"""Mixup and cutmix: images and targets of a batch, mixed with those of its reverse.

Mixup: Zhang, Cissé, Dauphin, Lopez-Paz, ICLR 2018. Cutmix: Yun et al., ICCV 2019.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mixup(images: Tensor, labels: Tensor, classes: int, *, share: float) -> tuple[Tensor, Tensor]:
    """Returns λ·images + (1−λ)·reversed images, and the targets mixed alike.

    Args:
        images: (B, C, H, W).
        labels: (B,) int64.
        classes: K.
        share: λ in [0, 1].

    Returns:
        Images (B, C, H, W) and targets (B, K) float32 that sum to 1.
    """
    mixed = torch.lerp(images.flip(0), images, share)
    return mixed, _mixed_targets(labels, classes, share)


def cutmix(
    images: Tensor, labels: Tensor, classes: int, *, share: float, centre: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Returns images with a box from the reversed batch, and targets by the areas as they are.

    The box has the area (1−λ)·H·W around `centre` and is cut off at the edges.

    Args:
        images: (B, C, H, W).
        labels: (B,) int64.
        classes: K.
        share: λ in [0, 1].
        centre: of the box, in shares of height and width.
    """
    height, width = images.shape[2:]
    half = (1 - share) ** 0.5 / 2
    top, bottom = (round((centre[0] + s * half) * height) for s in (-1, 1))
    left, right = (round((centre[1] + s * half) * width) for s in (-1, 1))
    top, bottom = max(0, top), min(height, bottom)
    left, right = max(0, left), min(width, right)
    mixed = images.clone(memory_format=torch.preserve_format)
    mixed[:, :, top:bottom, left:right] = images.flip(0)[:, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, _mixed_targets(labels, classes, kept)


def _mixed_targets(labels: Tensor, classes: int, share: float) -> Tensor:
    hot = F.one_hot(labels, classes).float()
    return share * hot + (1 - share) * hot.flip(0)


def mix(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    mixup_alpha: float,
    cutmix_alpha: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Returns the batch mixed by one of both, by even chance where both are on.

    λ ~ Beta(α, α), one for the batch.

    Args:
        images: (B, C, H, W).
        labels: (B,) int64.
        classes: K.
        mixup_alpha: α of mixup, 0 for off.
        cutmix_alpha: α of cutmix, 0 for off; not both 0.
        seed: of this batch.
    """
    chance = np.random.default_rng(seed)
    with_mixup = mixup_alpha > 0 and (cutmix_alpha == 0 or chance.random() < 0.5)
    alpha = mixup_alpha if with_mixup else cutmix_alpha
    share = float(chance.beta(alpha, alpha))
    if with_mixup:
        return mixup(images, labels, classes, share=share)
    centre = (float(chance.random()), float(chance.random()))
    return cutmix(images, labels, classes, share=share, centre=centre)
