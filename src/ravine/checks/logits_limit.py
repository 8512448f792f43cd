"""Whether logits can become as large as the loss needs them: what normalises or divides them.

A softmax of logits of norm 1 is never sure: with ten classes its cross-entropy stays above 1.4.
The loss is called on sure right answers of growing size, and the network with larger weights in
its last layer.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.larger_weights import LARGER, with_larger, with_other_weights
from ravine.checks.similarity_bound import largest_similarity
from ravine.findings.finding import Finding
from ravine.findings.thresholds import FAR_LOGITS, LIMITED

_SIZES = tuple(10 ** (k / 4) for k in range(17))  # 1 to 10,000
_FALLEN = 0.9  # of the loss's fall, at which it has done so
_EXAMPLES = 16  # that run through the larger weights
_VARIES = 1e-3  # of the outputs' deviation, between examples
_GREW = 1.5  # factor of the outputs' range, below which it stays
_FOLLOWED = 10.0  # factor of it, from which it follows the weights

Values = Callable[[float], float]


def check_logits(context: CheckContext) -> Iterator[Finding]:
    """Yields a loss or a network's end that keeps the softmax from being sure."""
    form, logits = context.measured.loss_form, context.measured.logits
    labels = context.samples[0].labels
    if form is None or form.slope >= 0 or not form.separate or logits is None or labels is None:
        return
    classes = logits.shape[1]
    if classes < 2:
        return
    labels = labels[: len(logits)]
    right = F.one_hot(labels.clamp(0, classes - 1), classes).to(logits)

    def value(size: float) -> float:
        with torch.no_grad():
            return float(context.loss(size * right, labels))

    yield from _in_the_loss(value, is_softmax=form.takes_softmax)
    varies = len(logits) > 1 and float(logits.std(0).max()) > _VARIES * float(logits.std())
    if form.takes_softmax and varies and len(logits) == classes:
        yield from _in_similarities(context, logits, value)
    elif form.takes_softmax and varies:
        yield from _in_the_network(context, logits, value)


def _in_the_loss(value: Values, *, is_softmax: bool) -> Iterator[Finding]:
    """Yields what the loss of sure right answers tells, by their size.

    What another loss than of a softmax asks for is its own: evidence for a class, or a margin.
    """
    unsure, values = value(0.0), [value(size) for size in _SIZES]
    least = min(values)
    if not all(map(math.isfinite, (unsure, *values))) or least >= unsure:
        return
    if max(values) - least < 1e-3 * (unsure - least) and least > LIMITED * unsure:
        yield _limited(
            f"the loss of right answers is {least:.3g} at any size of the outputs, and {unsure:.3g}"
            " of equal ones",
            "the loss normalises its outputs, and multiplies them by nothing",
            {"least": least, "unsure": unsure},
        )
        return
    needed = next(
        size
        for size, found in zip(_SIZES, values, strict=True)
        if unsure - found >= _FALLEN * (unsure - least)
    )
    if needed > FAR_LOGITS and is_softmax:
        yield _limited(
            f"outputs must differ by {needed:.2g} before the loss has fallen, and by 5 in a plain "
            "cross-entropy",
            "the outputs are divided by a temperature, or by the size of something",
            {"needed": needed},
        )


def _in_the_network(context: CheckContext, logits: Tensor, value: Values) -> Iterator[Finding]:
    """Yields outputs whose range stays when the weights behind them grow."""
    logits = logits[:_EXAMPLES]
    out = with_other_weights(context, len(logits), LARGER)
    if not isinstance(out, Tensor) or out.shape != logits.shape or not bool(out.isfinite().all()):
        return
    ours, theirs = _range(logits), _range(out)
    unsure, least = value(0.0), value(theirs)
    is_limited = 0 < theirs < _GREW * ours and least > LIMITED * unsure > 0
    if is_limited and not _becomes_sure(context, logits, value):
        yield _limited(
            f"the outputs of an example differ by at most {theirs:.2g}, whatever the weights: the "
            f"loss cannot fall below {least:.2g}",
            "the network normalises its outputs (a cosine, a norm of length 1), and multiplies "
            "them by nothing",
            {"range": theirs, "least": least},
        )


def are_cosines(context: CheckContext) -> bool:
    """Returns whether no layer's weights make the logits larger: they are cosines, times a scale.

    The start of such a head (ArcFace, Deng et al. 2019, s = 64) is as large as that scale.
    """
    logits = context.measured.logits
    if logits is None:
        return False
    logits = logits.detach()[:_EXAMPLES]
    ours = _range(logits)
    for module in reversed(list(context.model.modules())):
        out = with_larger(context, module, len(logits), LARGER)
        if out is not None and not _is_within(out, logits, _FOLLOWED * ours):
            return False
    return 0 < ours < math.inf


def _is_within(out: Any, like: Tensor, most: float) -> bool:
    """Returns whether outputs have the shape of others, and differ by less than `most`."""
    is_like = isinstance(out, Tensor) and out.shape == like.shape and bool(out.isfinite().all())
    return is_like and _range(out) < most


def _becomes_sure(context: CheckContext, logits: Tensor, value: Values) -> bool:
    """Returns whether outputs (N, K) become sure by larger weights in any one layer.

    The last one that could be followed is not the last where an operation in between is none of
    torch's own, such as the sign that is differentiated straight through.
    """
    for module in context.model.modules():
        if any(p.dim() > 1 for p in module.parameters(recurse=False)):
            out = with_larger(context, module, len(logits), LARGER)
            is_like = isinstance(out, Tensor) and out.shape == logits.shape
            if is_like and value(_range(out)) <= LIMITED * value(0.0):
                return True
    return False


def _range(out: Tensor) -> float:
    """Returns the most by which outputs (N, K) of an example differ."""
    return float((out.amax(1) - out.amin(1)).max())


def _in_similarities(context: CheckContext, logits: Tensor, value: Values) -> Iterator[Finding]:
    """Yields similarities of the examples of a batch (N, N) that stay small whatever is alike."""
    most = largest_similarity(context, logits)
    if most is None:
        return
    unsure, least = value(0.0), value(2 * most)
    if least > LIMITED * unsure > 0:
        yield _limited(
            f"the similarities lie between {-most:.2g} and {most:.2g}, whatever the weights: the "
            f"loss cannot fall below {least:.2g}",
            "the similarities of normalised outputs are multiplied by the temperature, and not "
            "divided by it, or by nothing",
            {"range": 2 * most, "least": least},
        )


def _limited(seen: str, cause: str, evidence: dict[str, float]) -> Finding:
    return Finding(
        severity="warning",
        code="logits-limited",
        seen=seen,
        cause=cause,
        cure="multiply what is normalised by a scale of 10 to 30, or by one that is learnt; leave "
        "out what divides the outputs",
        evidence=evidence,
    )
