"""Pairs and triplets that a loss pulls the wrong way: those that are alike are driven apart.

Which label means "alike" is asked of the inputs: pairs of it lie nearer together. Whether the loss
drives pairs together is its slope by their distance. No name of a loss is needed, and nothing is
said where inputs do not tell, or where the network's end is no distance.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training

_FEWEST = 16  # pairs
_CERTAIN = 4.0  # standard errors
_NOTHING = 1e-3  # distance of an input from itself, over that of pairs
_CLEARLY, _HARDLY = 0.2, 0.02  # of the sizes of slopes, that their mean is


def drives_alike_apart(context: CheckContext) -> Iterator[tuple[float, float]]:
    """Yields the slope of the loss by the distance of what is alike, and of what is not."""
    slopes = _triplet_slopes(context)
    if slopes is None:
        slopes = _pair_slopes(context)
    if slopes is None:
        return
    alike, unlike = slopes
    size = float(torch.cat([alike, unlike]).abs().mean())
    ours, theirs = float(alike.mean()), float(unlike.mean())
    together, apart = ours < -_CLEARLY * size, theirs > _CLEARLY * size
    if (together and theirs > -_HARDLY * size) or (apart and ours < _HARDLY * size):
        yield ours, theirs


def _parts(inputs: Any, count: int) -> list[Tensor] | None:
    """Returns `count` inputs (N, …) of one shape: several, or stacked along the second axis."""
    tensors = [t for t in tensors_in(inputs) if t.is_floating_point() and t.dim() > 1]
    if len(tensors) == count and len({t.shape for t in tensors}) == 1:
        return tensors
    if len(tensors) == 1 and tensors[0].dim() > 2 and tensors[0].shape[1] == count:
        return list(tensors[0].unbind(1))
    return None


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Returns the root mean square difference (N,) of (N, …)."""
    return (one - other).double().flatten(1).square().mean(1).sqrt()


def _certainty(one: Tensor, other: Tensor) -> float:
    """Returns how far the mean of (n,) lies below that of (m,), in standard errors."""
    error = one.var() / len(one) + other.var() / len(other)
    return float((other.mean() - one.mean()) / error.sqrt().clamp_min(1e-12))


def _all_examples(context: CheckContext, count: int) -> tuple[list[Tensor], Tensor] | None:
    """Returns the inputs of all batches and their targets (M,); None where they are not so."""
    rows = [(_parts(one.inputs, count), one.targets) for one in context.samples]
    known = [(x, y.reshape(-1)) for x, y in rows if x is not None and isinstance(y, Tensor)]
    if len(known) < len(rows) or any(len(x[0]) != len(y) for x, y in known):
        return None
    parts = [torch.cat([x[k] for x, _ in known]) for k in range(count)]
    return parts, torch.cat([y for _, y in known])


def _slopes_of_outputs(
    context: CheckContext, sample: CheckBatch
) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the floating outputs (N, …) of a batch and the slopes of the loss by them."""
    with preserve_training(context.model):
        context.model.eval()
        with torch.no_grad():
            out = context.output(sample)
    free: list[Tensor] = []

    def freed(t: Tensor) -> Tensor:
        if not t.is_floating_point():
            return t
        free.append(t.detach().clone().requires_grad_())
        return free[-1]

    with torch.enable_grad():
        value = context.loss(map_tensors(out, freed), sample.targets)
        slopes = torch.autograd.grad(value, free, allow_unused=True)
    return free, [
        torch.zeros_like(f) if s is None else s for f, s in zip(free, slopes, strict=True)
    ]


def _growing(free: list[Tensor], slopes: list[Tensor], one: int, other: int) -> Tensor:
    """Returns the slopes (N,) of the loss as two outputs (N, D) move apart, each its own way."""
    apart = (free[one] - free[other]).detach().flatten(1)
    way = apart / apart.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return ((slopes[one] - slopes[other]).flatten(1) * way).sum(1)


def _pair_slopes(context: CheckContext) -> tuple[Tensor, Tensor] | None:
    """Returns the slopes by the distance of pairs that are alike, and of the others."""
    found = _all_examples(context, 2)
    if found is None:
        return None
    (a, b), y = found
    values = y.unique()
    if len(values) != 2 or min(int((y == v).sum()) for v in values) < _FEWEST:
        return None
    apart = _apart(a, b)
    certain = _certainty(apart[y == values[1]], apart[y == values[0]])
    if abs(certain) < _CERTAIN:
        return None
    alike = values[1] if certain > 0 else values[0]
    sample = context.samples[0]
    is_alike = sample.targets.reshape(-1) == alike
    try:
        free, slopes = _slopes_of_outputs(context, sample)
        if len(free) == 2 and free[0].shape == free[1].shape and free[0].dim() > 1:
            rising = _growing(free, slopes, 0, 1)
        elif len(free) == 1 and free[0].numel() == len(sample):
            if not _is_distance(context, sample, free[0]):
                return None
            rising = slopes[0].reshape(-1)
        else:
            return None
    except REFUSALS:
        return None
    if not bool(is_alike.any()) or bool(is_alike.all()):
        return None
    return rising[is_alike].detach(), rising[~is_alike].detach()


def _is_distance(context: CheckContext, sample: CheckBatch, out: Tensor) -> bool:
    """Returns whether an output (N,) is never below 0, and 0 where both inputs are the same."""
    parts = _parts(sample.inputs, 2)
    out = out.detach()
    if parts is None or bool((out < 0).any()):
        return False
    first = parts[0]
    tensors = tensors_in(sample.inputs)
    if len(tensors) == 1:
        same: Any = torch.stack([first, first], 1)
    else:
        same = map_tensors(sample.inputs, lambda t: first if t.shape == first.shape else t)
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        nothing = context.output(replace(sample, inputs=same))
    return float(nothing.abs().max()) < max(_NOTHING * float(out.abs().mean()), 1e-4)


def _triplet_slopes(context: CheckContext) -> tuple[Tensor, Tensor] | None:
    """Returns the slopes by the distances of anchors from their nearer and farther partners."""
    rows = [_parts(one.inputs, 3) for one in context.samples]
    known = [x for x in rows if x is not None]
    if len(known) < len(rows):
        return None
    anchor, one, other = (torch.cat([x[k] for x in known]) for k in range(3))
    if len(anchor) < _FEWEST:
        return None
    certain = _paired(_apart(anchor, one), _apart(anchor, other))
    if abs(certain) < _CERTAIN:
        return None
    try:
        free, slopes = _slopes_of_outputs(context, context.samples[0])
    except REFUSALS:
        return None
    if len(free) == 1 and free[0].dim() > 2 and free[0].shape[1] == 3:  # stacked, as inputs may be
        free, slopes = list(free[0].unbind(1)), list(slopes[0].unbind(1))
    if len(free) != 3 or len({t.shape for t in free}) != 1 or free[0].dim() < 2:
        return None
    near, far = (1, 2) if certain > 0 else (2, 1)
    return (
        _growing(free, slopes, 0, near).detach(),
        _growing(free, slopes, 0, far).detach(),
    )


def _paired(one: Tensor, other: Tensor) -> float:
    """Returns how far (N,) lies below its partner (N,), in standard errors of the difference."""
    apart = other - one
    return float(apart.mean() / (apart.std() / len(apart) ** 0.5).clamp_min(1e-12))
