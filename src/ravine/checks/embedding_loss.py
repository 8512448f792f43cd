"""A loss of embeddings for which one point for all examples is as good as what is right.

Embeddings are made up: each class in a direction of its own, and all examples in one place. A loss
that compares examples must be lower for the first; where it is not, training gathers everything in
one point (an example that is mined as its own negative, a margin that nothing reaches).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.gathering_loss import find_gathering
from ravine.checks.made_up_outputs import value_of
from ravine.findings.finding import Finding

_FEWEST, _CLASSES = 8, 2  # examples, and classes of two or more
_SIZES = (1.0, 3.0, 10.0)  # of embeddings
_SAME = 1e-3  # of the loss


def check_embeddings(context: CheckContext) -> Iterator[Finding]:
    """Yields a loss of embeddings (N, D), or of pairs of them, that is least where all are one."""
    yield from find_gathering(context)
    measured = context.measured
    out, form, labels = measured.logits, measured.loss_form, context.samples[0].labels
    if out is None or form is None or labels is None or form.answers or form.separate:
        return
    labels = labels[: len(out)]
    kinds, counts = labels.unique(return_counts=True)
    if len(out) < _FEWEST or out.shape[1] < 2 or int((counts > 1).sum()) < _CLASSES:
        return
    directions = _directions(len(kinds), out)
    right = directions[torch.searchsorted(kinds, labels)]
    one = directions[:1].expand_as(right)
    apart, together = (
        min(value_of(context.loss, size * made, labels) for size in _SIZES) for made in (right, one)
    )
    now = value_of(context.loss, out, labels)
    if not all(map(math.isfinite, (apart, together, now))):
        return
    slack = _SAME * max(abs(now), abs(together))
    if apart > together - slack and now > together + slack:
        yield Finding(
            severity="warning",
            code="outputs-collapsed",
            seen=f"the loss of one embedding for all examples is {together:.4g}, that of each "
            f"class in a place of its own {apart:.4g}, and of the network's outputs {now:.4g}",
            cause="the loss is least where all outputs are the same: an example is compared with "
            "itself as a negative (distances that are masked by 0 are the smallest), or nothing "
            "drives classes apart",
            cure="mask with infinity before a minimum (distance.masked_fill(same, inf)), and print "
            "the loss of embeddings that are right",
            evidence={"apart": apart, "together": together, "now": now},
        )


def _directions(count: int, out: Tensor) -> Tensor:
    """Returns unit vectors (count, D): the axes where there are as many, else drawn ones."""
    if count <= out.shape[1]:
        return torch.eye(count, out.shape[1]).to(out)
    drawn = torch.randn(count, out.shape[1], generator=torch.Generator().manual_seed(0))
    return (drawn / drawn.norm(dim=1, keepdim=True)).to(out)
