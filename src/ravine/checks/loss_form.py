"""How an unknown loss takes logits, from its values alone.

A constant added to all logits of an example shows what the loss does with them: a loss that takes
the softmax itself stays the same, one that expects log-probabilities falls by the constant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossForm:
    """How a loss takes logits (N, K).

    Attributes:
        value: on the batch, per example.
        takes_softmax: it stays the same when a constant is added.
        takes_logarithms: it falls by the constant.
        per_example: it is a mean and not a sum over the batch.
        slope: mean derivative by the target class's output, times N where it is a mean.
    """

    value: float
    takes_softmax: bool
    takes_logarithms: bool
    per_example: bool
    slope: float


def form_of(loss: Loss, logits: Tensor, targets: Tensor) -> LossForm | None:
    """Returns how the loss takes logits (N, K) and labels (N,); None where it is not finite."""
    out = logits.detach().float().requires_grad_()
    with torch.enable_grad():
        value = loss(out, targets)
        slope = torch.autograd.grad(value, out)[0] if value.requires_grad else None
    if not bool(value.isfinite()):
        return None
    at = float(value.detach())
    with torch.no_grad():
        moved = float(loss(out + 3.0, targets)) - at
        twice = float(loss(torch.cat([out, out]), torch.cat([targets, targets])))
    scale = max(1.0, abs(at))
    per_example = abs(twice - at) < 1e-3 * scale
    count = 1 if per_example else len(targets)
    target_class = targets.clamp_min(0)[:, None]
    return LossForm(
        value=at / count,
        takes_softmax=abs(moved) < 1e-3 * scale,
        takes_logarithms=abs(moved / count + 3.0) < 1e-2,
        per_example=per_example,
        slope=0.0 if slope is None else float(slope.gather(1, target_class).sum()) / count,
    )
