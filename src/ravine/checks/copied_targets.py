"""Sequence targets that are the inputs themselves: a causal network copies, and never predicts.

Which target a loss compares an output with is asked of it: the target of one position is exchanged,
and the slopes by the outputs tell the position. That the network sees no later inputs, and its own,
is asked likewise. An autoencoder, whose outputs are told by the whole sequence, copies on purpose.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import NEXT_IN_INPUT

_EXAMPLES = 32
_FEWEST = 4  # positions, and different tokens
_SAME = 1e-4  # change of an output over its size, below which it stays


def check_copied_targets(context: CheckContext) -> Iterator[Finding]:
    """Yields targets of a causal network that are the inputs of the same positions."""
    sample = context.samples[0].first(_EXAMPLES)
    index = _copied(sample)
    if index is None:
        return
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        try:
            is_copied = _copies(context, sample, index)
        except REFUSALS:
            return
    if is_copied:
        yield Finding(
            severity="critical",
            code="label-in-input",
            seen="the target of each position is the input of the same position, which the output "
            "depends on; inputs of later positions it does not depend on",
            cause="targets were not moved by one: a network that is to tell what comes next copies "
            "what it is given",
            cure="take inputs = tokens[:, :-1] and targets = tokens[:, 1:]",
        )


def _copied(sample: CheckBatch) -> int | None:
    """Returns which input is the targets (N, T) of whole numbers; None where none is."""
    targets = sample.targets
    if not isinstance(targets, Tensor) or targets.is_floating_point() or len(sample) < _FEWEST:
        return None
    for index, x in enumerate(tensors_in(sample.inputs)):
        is_alike = x.dim() == 2 and not x.is_floating_point() and x.numel() == targets.numel()
        if not is_alike or x.shape[1] < _FEWEST or len(x.unique()) < _FEWEST:
            continue
        wanted = targets.reshape(x.shape)
        known = wanted >= 0  # the others are passed over
        if bool(known.any()) and float((wanted == x)[known].double().mean()) > NEXT_IN_INPUT:
            return index
    return None


def _copies(context: CheckContext, sample: CheckBatch, index: int) -> bool:
    """Returns whether outputs are compared with, and see, the input of their own position."""
    inputs = tensors_in(sample.inputs)[index]
    length = inputs.shape[1]
    out = context.output(sample)
    if not isinstance(out, Tensor) or not out.is_floating_point() or len(out) != len(inputs):
        return False
    axes = [axis for axis in range(1, out.dim()) if out.shape[axis] == length]
    if len(axes) != 1:
        return False
    middle = length // 2
    targets = sample.targets.reshape(inputs.shape).clone()
    targets[:, middle] = targets[:, middle].roll(1, 0)
    slopes = [
        _slope(context, out, t) for t in (sample.targets, targets.reshape(sample.targets.shape))
    ]
    compared = _places(slopes[1] - slopes[0], axes[0], 0.0)
    other = inputs.clone()
    other[:, middle] = other[:, middle].roll(1, 0)
    numbers = iter(range(len(tensors_in(sample.inputs))))
    given = map_tensors(sample.inputs, lambda t: other if next(numbers) == index else t)
    theirs = context.output(replace(sample, inputs=given))
    moved = _places(theirs - out, axes[0], _SAME * float(out.double().std()))
    return compared == [middle] and bool(moved) and min(moved) == middle


def _slope(context: CheckContext, out: Tensor, targets: Tensor) -> Tensor:
    """Returns the slope of the loss by outputs (N, T, …), with other targets."""
    free = out.detach().clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(context.loss(free, targets), free)
    return slope


def _places(change: Tensor, axis: int, least: float) -> list[int]:
    """Returns the positions at which a change (N, …) is larger than `least`."""
    others = [one for one in range(change.dim()) if one != axis]
    return (change.abs().amax(others) > least).nonzero()[:, 0].tolist()
