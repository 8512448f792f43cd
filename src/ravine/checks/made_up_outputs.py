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
    """Returns the slope of a loss by made-up outputs, of their shape; None where it refuses them."""
    out = out.detach().requires_grad_()
    try:
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(out, targets), out)
    except REFUSALS:
        return None
    return slope
