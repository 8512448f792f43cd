"""The largest similarity that a network can give two examples, whatever its weights.

Similarities (N, N) of the examples of a batch, by one network or by two, are logits of a softmax
over the batch. Where they are cosines a factor bounds them, and no weight moves that bound. Which
it is shows where all examples are made one: by weights of 0, or by training towards it.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.larger_weights import LARGER, with_larger, with_other_weights
from ravine.core.preserve_training import preserve_training

_VARIES = 1e-3  # of similarities, beyond which they are not one
_NEAR_ONE = 0.5  # that a cosine comes to among the pairs of a batch
_FOLLOWED = 30.0  # factor of similarities, from which they follow the weights
_EXAMPLES, _STEPS, _RATE = 16, 30, 0.05  # of the training towards one
_ALIKE, _STAYS = 0.9, 1.1  # mean over largest similarity then, and growth with larger weights


def largest_similarity(context: CheckContext, logits: Tensor) -> float | None:
    """Returns the bound of similarities (N, N) by size; None where they have none, or not sure.

    One number that learns may be a scale.
    """
    if any(p.requires_grad and p.numel() == 1 for p in context.model.parameters()):
        return None
    alike = _of_one_example(context, logits)
    if alike is not None:
        return alike
    outs = [with_larger(context, m, len(logits), LARGER) for m in context.model.modules()]
    made = _sizes([logits, *(t for t in outs if t is not None)], logits)
    if made is None or len(made) < 2:
        return None
    if _NEAR_ONE < max(made) <= 1 + _VARIES:  # of an example with itself they come near 1
        return 1.0
    return None if max(made) > _FOLLOWED * made[0] else _trained_towards_one(context)


def _of_one_example(context: CheckContext, logits: Tensor) -> float | None:
    """Returns the similarity of all examples without weights in the last layer: all are one.

    None where they are not, or weights that are larger bring similarities beyond it.
    """
    found = [with_other_weights(context, len(logits), by) for by in (LARGER, 0.0)]
    sizes = _sizes([logits, *found], logits)
    if sizes is None:
        return None
    most = float(found[1].abs().mean())
    is_one = float(found[1].std()) < _VARIES * most
    return most if is_one and max(sizes[:2]) <= most * (1 + _VARIES) else None


def _sizes(outs: Sequence[Any], like: Tensor) -> list[float] | None:
    """Returns the largest number in each output; None where one has another shape."""
    if not all(isinstance(t, Tensor) and t.shape == like.shape for t in outs):
        return None
    sizes = [float(t.detach().abs().max()) for t in outs]
    return sizes if all(map(math.isfinite, sizes)) else None


def _trained_towards_one(context: CheckContext) -> float | None:
    """Returns what similarities come to where training makes them all large; all is put back.

    None where they do not become one, or grow with the weights of any layer from there on.
    """
    sample = context.samples[0].first(_EXAMPLES)
    learning = [p for p in context.model.parameters() if p.requires_grad]
    with preserve_training(context.model), torch.enable_grad():
        optimizer = torch.optim.Adam(learning, lr=_RATE)
        for _ in range(_STEPS):
            out = context.output(sample)
            if not isinstance(out, Tensor) or not out.requires_grad:
                return None
            optimizer.zero_grad()
            (-out.mean()).backward()
            optimizer.step()
        with torch.no_grad():
            out = context.output(sample)
            most, mean = float(out.abs().max()), float(out.mean())
            is_one = math.isfinite(most) and mean > _ALIKE * most
            return most if is_one and not _grows(context, out, most) else None


def _grows(context: CheckContext, like: Tensor, most: float) -> bool:
    """Returns whether larger numbers in a layer, biases too, bring similarities beyond `most`."""
    sample = context.samples[0].first(len(like))
    for module in context.model.modules():
        own = [p for p in module.parameters(recurse=False) if p.dim()]
        before = [p.detach().clone() for p in own]
        for p in own:
            p.mul_(LARGER)
        sizes = _sizes([context.output(sample)], like) if own else [0.0]
        for p, w in zip(own, before, strict=True):
            p.copy_(w)
        if sizes is None or sizes[0] > _STAYS * most:
            return True
    return False
