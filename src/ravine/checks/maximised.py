"""Optimizers that maximise: their steps climb, so that the loss of a step is a likelihood.

What such a step follows downhill is the negative of its gradient, and whoever gives `check` the
likelihood itself means its negative as the loss.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from ravine.checks.context import CheckContext, Measurements
from ravine.checks.step_record import StepPair, Tensors


def maximises(optimizer: Optimizer | None) -> bool:
    """Returns whether all groups of an optimizer climb."""
    groups = [] if optimizer is None else optimizer.param_groups
    return bool(groups) and all(group.get("maximize") for group in groups)


def minimise_(optimizer: Optimizer) -> None:
    """Turns an optimizer that climbs round, so that it lowers a loss."""
    for group in optimizer.param_groups:
        if "maximize" in group:
            group["maximize"] = False


def as_descended(pair: StepPair) -> StepPair:
    """Returns a pair whose gradients are those that its steps follow downhill."""
    if not maximises(pair.first.optimizer):
        return pair
    other = None if pair.other is None else (_negative(pair.other[0]), pair.other[1])
    first = replace(pair.first, gradients=_negative(pair.first.gradients))
    return replace(pair, first=first, other=other)


def _negative(tensors: Tensors) -> Tensors:
    return {n: -t for n, t in tensors.items()}


def with_negative_loss(context: CheckContext) -> CheckContext:
    """Returns a context in which nothing is measured yet, and the loss has the other sign."""
    return replace(context, loss=_negated(context.loss), measured=Measurements())


def _negated(loss: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda output, targets: -loss(output, targets)
