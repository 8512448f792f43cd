"""The output of a network with larger weights in one layer: a norm behind it takes them away."""

from typing import Any, Final

import torch
from torch import nn

from ravine.checks.context import CheckContext

LARGER: Final = 100.0  # factor to a layer's weights


def with_other_weights(context: CheckContext, count: int, factor: float) -> Any:
    """Returns the output of some examples with the last layer's weights times a factor."""
    profile = context.measured.variance
    names = [one.layer for one in profile.layers if one.weighted] if profile else []
    if not names:  # the network could not be followed
        return None
    return with_larger(context, context.model.get_submodule(names[-1]), count, factor)


def with_larger(context: CheckContext, module: nn.Module, count: int, factor: float) -> Any:
    """Returns the output of some examples with the weights of a module times a factor."""
    weights = [p for p in module.parameters(recurse=False) if p.dim() > 1]
    if not weights:
        return None
    before = [p.detach().clone() for p in weights]
    with torch.no_grad():
        try:
            for p in weights:
                p.mul_(factor)
            return context.output(context.samples[0].first(count))
        finally:
            for p, w in zip(weights, before, strict=True):
                p.copy_(w)
