"""How an unknown loss takes logits, from its values alone.

A constant added to all logits of an example shows what the loss does with them: a loss that takes
the softmax itself stays the same, one that expects log-probabilities falls by the constant.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.checks.made_up_outputs import REFUSALS, SURE

_WRONG = 4  # ways of being wrong that are tried
_SPREAD, _SAME = 2.0, 0.9999  # of drawn outputs; cosine of slopes that are the same

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossForm:
    """How a loss takes logits (N, K).

    Attributes:
        value: on the batch, per example.
        of_equal: the same where all outputs are equal.
        takes_softmax: it stays the same when a constant is added.
        takes_logarithms: it falls by the constant.
        per_example: it is a mean and not a sum over the batch.
        slope: mean derivative by the target class's output, times N where it is a mean.
        uphill: cosine of the slopes with those of the probability of the label, above 0 where the
            loss grows with it; 0 where a sure wrong answer has the higher loss.
        is_probability: it falls as the probability of the label rises, and not as its logarithm:
            the negative log-likelihood of what are probabilities already. 1 − p is another loss.
        is_complement: it is −log(1 − p) of the label: what the label says is which class it is not.
        separate: the slope of an example does not depend on the outputs of the others.
        answers: whether output k is the answer k: sure right answers have clearly another loss
            than sure wrong ones. It is not so for features that the loss compares itself.
    """

    value: float
    of_equal: float
    takes_softmax: bool
    takes_logarithms: bool
    per_example: bool
    slope: float
    uphill: float
    is_probability: bool
    is_complement: bool
    separate: bool
    answers: bool


def form_of(loss: Loss, logits: Tensor, targets: Tensor) -> LossForm | None:
    """Returns how the loss takes logits (N, K, …) for labels (N, …).

    None where it is not finite, or refuses outputs that are made up, as a loss of probabilities
    does.
    """
    try:
        return _form_of(loss, logits, targets)
    except REFUSALS:
        return None


def _form_of(loss: Loss, logits: Tensor, targets: Tensor) -> LossForm | None:
    out = logits.detach().float().requires_grad_()
    with torch.enable_grad():
        value = loss(out, targets)
        slope = torch.autograd.grad(value, out)[0] if value.requires_grad else None
    if not bool(value.isfinite()):
        return None
    at = float(value.detach())
    with torch.no_grad():
        moved = float(loss(out + 3.0, targets)) - at
        equal = float(loss(torch.zeros_like(out), targets))
        twice = float(loss(torch.cat([out, out]), torch.cat([targets, targets])))
    scale = max(1.0, abs(at))
    per_example = abs(twice - at) < 1e-3 * scale
    count = 1 if per_example else len(targets)
    target_class = targets.clamp(0, logits.shape[1] - 1)[:, None]
    return LossForm(
        value=at / count,
        of_equal=equal / count,
        takes_softmax=abs(moved) < 1e-3 * scale,
        takes_logarithms=abs(moved / count + 3.0) < 1e-2,
        per_example=per_example,
        slope=0.0 if slope is None else float(slope.gather(1, target_class).sum()) / count,
        uphill=0.0 if slope is None else _uphill(loss, out.detach(), targets, slope, at),
        is_probability=_has_slopes(loss, out.detach(), targets, lambda p: -p, sign=-1),
        is_complement=_has_slopes(loss, out.detach(), targets, lambda p: p / (1 - p), sign=1),
        separate=slope is None or _is_separate(loss, out.detach(), targets, slope),
        answers=_takes_answers(loss, out.detach(), targets),
    )


def _uphill(loss: Loss, out: Tensor, targets: Tensor, slope: Tensor, value: float) -> float:
    """Returns `LossForm.uphill` of outputs (N, K, …) at which the loss has a value and slopes."""
    classes = out.shape[1]
    labels = targets.clamp(0, classes - 1)
    with torch.no_grad():
        wrong = float(loss(SURE * _one_hot((labels + 1) % classes, classes).to(out), targets))
    if not wrong < value:
        return 0.0
    rising = _one_hot(labels, classes).to(out) - out.softmax(1)
    return float(F.cosine_similarity(slope.flatten(), rising.flatten(), dim=0))


def _has_slopes(
    loss: Loss, out: Tensor, targets: Tensor, factor: Callable[[Tensor], Tensor], *, sign: int
) -> bool:
    """Returns whether the loss has a sign, and slopes `factor` (of p) · (label − p), when drawn.

    Of −p the factor is −p, of −log p it is −1, of −log(1 − p) it is p / (1 − p), each with p of
    the label: they differ example by example.
    """
    drawn = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    made = (_SPREAD * drawn).to(out).requires_grad_()
    with torch.enable_grad():
        try:
            value = loss(made, targets)
            (slope,) = torch.autograd.grad(value, made)
        except REFUSALS:
            return False
    p = made.detach().softmax(1)
    right = _one_hot(targets.clamp(0, out.shape[1] - 1), out.shape[1]).to(p)
    expected = factor((p * right).sum(1, keepdim=True)) * (right - p)
    if sign * float(value.detach()) < 0:
        return False
    return float(F.cosine_similarity(slope.flatten(), expected.flatten(), dim=0)) > _SAME


def _is_separate(loss: Loss, out: Tensor, targets: Tensor, slope: Tensor) -> bool:
    """Returns whether the first half's slopes stay when the outputs of the second half turn."""
    half = len(out) // 2
    other = torch.cat([out[:half], -out[half:]]).requires_grad_()
    with torch.enable_grad():
        value = loss(other, targets)
        found = torch.autograd.grad(value, other)[0] if value.requires_grad else slope
    apart = float((found - slope)[:half].abs().max()) if half else 0.0
    return apart <= 1e-3 * float(slope.abs().max())


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """Returns (N, K, …) of labels (N, …)."""
    return F.one_hot(labels, classes).movedim(-1, 1)


def _takes_answers(loss: Loss, out: Tensor, targets: Tensor) -> bool:
    classes, clamped = out.shape[1], targets.clamp(0, out.shape[1] - 1)
    shifts = range(min(classes, _WRONG + 1))
    with torch.no_grad():
        values = [
            float(loss(SURE * _one_hot((clamped + k) % classes, classes).to(out), targets))
            for k in shifts
        ]
    right, wrong = values[0], values[1:]
    if not wrong or not all(map(math.isfinite, values)):
        return True  # nothing is known against it
    middle, spread = sum(wrong) / len(wrong), max(wrong) - min(wrong)
    return abs(right - middle) > max(3 * spread, 0.1 * abs(middle))
