"""Outputs that are made up to ask a loss: how sure they are, and what a loss refuses them with."""

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

SURE: Final = 10.0  # a logit that leaves no doubt
# What a loss raises that was written for other outputs, such as probabilities.
REFUSALS: Final = (RuntimeError, ValueError, IndexError, TypeError, AssertionError)


def value_of(loss: Callable[[Any, Any], Tensor], out: Any, targets: Any) -> float:
    """Returns the loss of made-up outputs of any shape, 0-dim; NaN where it refuses them."""
    try:
        with torch.no_grad():
            return float(loss(out, targets))
    except REFUSALS:
        return math.nan


def slope_of(loss: Callable[[Any, Any], Tensor], out: Tensor, targets: Any) -> Tensor | None:
    """Returns the slope of a loss by made-up outputs, in their shape; None where it refuses."""
    out = out.detach().requires_grad_()
    try:
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(out, targets), out)
    except REFUSALS:
        return None
    return slope


def slopes_in_parts(
    loss: Callable[[Any, Any], Tensor], out: Tensor, targets: Tensor, *, size: int
) -> Tensor | None:
    """Returns the slopes by outputs (N, …) in parts of `size`, the examples of a batch.

    A loss that compares the examples of a batch in pairs or triplets was never meant for
    thousands. N is a multiple of `size`, or less than it.
    """
    parts = zip(out.split(size), targets.split(size), strict=True)
    slopes = [slope_of(loss, one, its) for one, its in parts]
    known = [slope for slope in slopes if slope is not None]
    return torch.cat(known) if known and len(known) == len(slopes) else None


def whole_parts(targets: Tensor, *, size: int, most: int) -> Tensor:
    """Returns the first of targets (N,), as many parts of `size` as fit in `most`, one at least."""
    count = min(most, len(targets)) // size * size
    return targets[: max(count, min(size, len(targets)))]
