"""The training loops that Ravine's is compared with: a tutorial's, and an expert's best flags."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[], None]


def random_batch(
    batch: int, channels: int, size: int, *, classes: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns images (batch, channels, size, size) of noise and labels (batch,)."""
    images = torch.randn(batch, channels, size, size, device=device)
    return images, torch.randint(classes, (batch,), device=device)


def plain_loop(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Returns a step as a tutorial writes it: eager, float32, contiguous.

    Args:
        model: on the device of the images.
        images: (B, C, H, W).
        labels: (B,).
    """
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def flags_loop(model: nn.Module, images: Tensor, labels: Tensor, *, precision: torch.dtype) -> Step:
    """Returns a step as an expert writes it: channels_last, fused SGD, a batch that lies ready.

    Args:
        model: in channels_last, compiled or not.
        images: (B, C, H, W).
        labels: (B,).
        precision: of activations and products.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True, fused=True)
    narrow = precision.itemsize < 4

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, precision, enabled=narrow):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step
