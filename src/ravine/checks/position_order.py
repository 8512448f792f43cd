"""Whether a sequence network tells positions apart, and whether the labels need that.

The positions of all inputs are put into another order: a network without positions gives the same
outputs. That is meant where a label depends on what is there and not on where; two linear probes
tell, one of counts alone and one of counts by position and of neighbours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import ORDER_TELLS

_EXAMPLES, _FEWEST = 16, 128  # that are permuted; labels of the probes
_LENGTH = 4  # positions, fewer of which are no sequence
_STAYS = 1e-3  # difference of outputs over their deviation between examples
_MOST_KINDS, _MOST_NUMBERS = 64, 4096  # of tokens; of features of a probe
_RIDGE = 1.0


def check_order(context: CheckContext) -> Iterator[Finding]:
    """Yields outputs that stay the same when positions are put into another order."""
    sample = context.samples[0].first(_EXAMPLES)
    axis = _axis(tensors_in(sample.inputs)[0])
    if axis is None or len(sample) < 4:
        return
    length = tensors_in(sample.inputs)[0].shape[axis]
    order = torch.arange(length - 1, -1, -1)
    order = torch.cat([order[1::2], order[::2]])

    def permuted(t: Tensor) -> Tensor:
        fits = t.dim() > axis and len(t) == len(sample) and t.shape[axis] == length
        return t.index_select(axis, order.to(t.device)) if fits else t

    inputs = map_tensors(sample.inputs, permuted)
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        try:
            one, other = context.output(sample), context.output(replace(sample, inputs=inputs))
        except REFUSALS:
            return
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.shape != other.shape:
        return
    if one.dim() != 2 or not one.is_floating_point() or not _is_same(one.double(), other.double()):
        return
    probes = _probes(context, length, axis)
    if probes is not None and probes.is_order_needed:
        yield _ignored(probes)
    elif any(isinstance(m, nn.MultiheadAttention | nn.RNNBase) for m in context.model.modules()):
        yield _perhaps()


def _axis(x: Tensor) -> int | None:
    """Returns the axis of positions: of tokens (N, T), vectors (N, T, D) or signals (N, C, T).

    None where it is none of these.
    """
    if not _holds_sequences(x):
        return None
    return next((axis for axis in range(1, x.dim()) if x.shape[axis] >= _LENGTH), None)


def _holds_sequences(x: Tensor) -> bool:
    return x.dim() == 2 if not x.is_floating_point() else x.dim() == 3


def _is_same(one: Tensor, other: Tensor) -> bool:
    between = float(one.var(0).mean().sqrt())
    apart = float((one - other).square().mean().sqrt())
    return between > 1e-6 * float(one.abs().max()) and apart < _STAYS * between


@dataclass(frozen=True, slots=True)
class _Probes:
    """Accuracies of linear probes on examples that they were not fitted to.

    Attributes:
        counts: of what an example holds.
        order: the better one of counts by position, and of counts of neighbours.
        examples: that they were tried on.
    """

    counts: float
    order: float
    examples: int

    @property
    def is_order_needed(self) -> bool:
        """Whether order takes away a good part of the errors, beyond chance."""
        error = (max(self.counts * (1 - self.counts), 0.01) / self.examples) ** 0.5
        gain = self.order - self.counts
        return gain > max(ORDER_TELLS * (1 - self.counts), 0.05, 4 * error)


def _probes(context: CheckContext, length: int, axis: int) -> _Probes | None:
    """Returns both probes of labels (N,); None where there are too few, or too many features."""
    rows = [(tensors_in(one.inputs)[0].movedim(axis, 1), one.labels) for one in context.samples]
    known = [(x, y) for x, y in rows if y is not None and x.shape[1] == length and len(x) == len(y)]
    if len(known) < len(rows):
        return None
    x, labels = torch.cat([one for one, _ in known]), torch.cat([one for _, one in known])
    if len(labels) < _FEWEST or int(labels.min()) < 0 or len(labels.unique()) < 2:
        return None
    if x.is_floating_point():
        counts = torch.cat([x.mean(1), x.std(1), x.amax(1), x.amin(1)], 1)
        steps = x.diff(dim=1)
        orders = [x.flatten(1), (x[:, 1:] * x[:, :-1]).flatten(1)]
        orders += [torch.cat([steps.mean(1), steps.std(1), steps.amax(1), steps.amin(1)], 1)]
    else:
        kinds, x = x.unique(return_inverse=True)
        if len(kinds) > _MOST_KINDS:
            return None
        at = torch.nn.functional.one_hot(x, len(kinds)).double()
        counts = torch.cat([at.sum(1), (at.sum(1) > 0).double()], 1)
        follows = torch.einsum("nta,ntb->nab", at[:, :-1], at[:, 1:]).flatten(1)
        orders = [at.flatten(1), follows]
    orders = [torch.cat([counts, one], 1).double() for one in orders]
    fitting = [one for one in orders if one.shape[1] <= _MOST_NUMBERS]
    if not fitting:
        return None
    return _Probes(
        counts=_accuracy(counts.double(), labels),
        order=max(_accuracy(one, labels) for one in fitting),
        examples=len(labels),
    )


def _accuracy(features: Tensor, labels: Tensor) -> float:
    """Returns the accuracy of a ridge regression on (N, D), each half predicted from the other."""
    x = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    y = torch.nn.functional.one_hot(labels, int(labels.max()) + 1).double()
    y = y - y.mean(0)
    half, right = len(x) // 2, 0.0
    for part, rest in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        a, b = x[rest], y[rest]
        # The kernel form: features may be more than examples.
        kernel = a @ a.mT + _RIDGE * x.shape[1] * torch.eye(len(a), dtype=a.dtype, device=a.device)
        found = x[part] @ (a.mT @ torch.linalg.solve(kernel, b))
        right += float((found.argmax(1) == labels[part]).double().sum())
    return right / len(x)


def _ignored(probes: _Probes) -> Finding:
    return Finding(
        severity="warning",
        code="order-ignored",
        seen="the outputs stay the same when the positions of the inputs are put into another "
        f"order, and the labels depend on it: a linear probe with positions has {probes.order:.1%} "
        f"accuracy, one of counts alone {probes.counts:.1%}",
        cause="attention, pooling and convolutions of width 1 do not tell positions apart",
        cure="add positions to the embeddings (learnt, sine, or rotary ones), mask later ones, or "
        "take wider convolutions",
        evidence={"order": probes.order, "counts": probes.counts},
    )


def _perhaps() -> Finding:
    return Finding(
        severity="note",
        code="order-ignored",
        seen="the outputs stay the same when the positions of the inputs are put into another "
        "order; cannot tell whether the labels depend on it",
        cause="attention, pooling and convolutions of width 1 do not tell positions apart",
        cure="nothing, where only what is there counts; else add positions to the embeddings",
    )
