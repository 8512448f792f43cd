"""How noisy the gradient of a batch is, for races of batch sizes.

McCandlish, Kaplan, Amodei et al., "An empirical model of large-batch training", 2018, appendix
A.1. The gradient of a batch of B images is G plus noise with covariance Σ/B; the noise scale
tr Σ/|G|² is the batch at which both are as large.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientNoise:
    """Of the gradient at one point.

    Attributes:
        signal: |G|², without the share that noise adds; sampling can make it negative.
        trace: tr Σ, the squared length of one image's noise.
    """

    signal: float
    trace: float

    @property
    def scale(self) -> float:
        """The batch whose noise is as large as the gradient; infinite without a gradient."""
        return self.trace / self.signal if self.signal > 0 else math.inf

    def ratio(self, batch: int) -> float:
        """Returns the length of the noise over that of the gradient, for batches of this size."""
        return math.sqrt(self.scale / batch) if self.trace > 0 else 0.0


def gradient_noise(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
) -> GradientNoise:
    """Returns the noise at the model's weights; gradients and buffers are left as they were.

    Args:
        model: in the mode in which the noise is measured.
        loss: of outputs and targets, the mean over the images of a batch.
        batches: inputs (B, ...) and targets (B, ...), at least 2 batches, all of one size.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    total = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
    squares, count, size = 0.0, 0, 0
    for inputs, targets in batches:
        found = torch.autograd.grad(
            loss(model(inputs), targets), parameters, allow_unused=True, materialize_grads=True
        )
        squares += sum(float(g.double().square().sum()) for g in found)
        for mean, g in zip(total, found, strict=True):
            mean += g
        count, size = count + 1, len(targets)
    with torch.no_grad():
        for buffer, kept in buffers:
            buffer.copy_(kept)
    small = squares / count  # E|g|² of batches of `size`
    large = sum(float(g.square().sum()) for g in total) / count**2  # of all together
    many = count * size
    return GradientNoise(
        signal=(many * large - size * small) / (many - size),
        trace=(small - large) / (1 / size - 1 / many),
    )
