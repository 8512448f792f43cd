"""Checks of what the network says against what the loss expects.

Nothing is known of the user's loss but its value. Adding a constant to all logits of an example
tells what it does with them: a loss that takes the softmax itself stays the same, one that
expects logarithms of probabilities falls by the constant.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.checks.context import Loss, Sample
from ravine.checks.inputs import labels_of
from ravine.findings.finding import Finding
from ravine.findings.thresholds import INITIAL_LOSS, INITIAL_LOSS_NATS

_SQUASHED = ("relu", "sigmoid", "tanh", "hardtanh", "relu6", "leaky_relu", "silu", "gelu")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossForm:
    """How a loss takes logits (N, K).

    Attributes:
        value: on the batch.
        takes_softmax: it stays the same when a constant is added.
        takes_logarithms: it falls by the constant.
        per_example: it is a mean and not a sum over the batch.
        slope: mean derivative by the right class's output, times N where it is a mean.
    """

    value: float
    takes_softmax: bool
    takes_logarithms: bool
    per_example: bool
    slope: float


def logits_of(output: object, sample: Sample) -> Tensor | None:
    """Returns the output where it is one row (N, K) per label, else None."""
    labels = labels_of(sample)
    fits = isinstance(output, Tensor) and output.dim() == 2 and output.is_floating_point()
    if labels is None or not fits or len(output) != len(labels):  # type: ignore[arg-type]
        return None
    return output  # type: ignore[return-value]


def form_of(loss: Loss, logits: Tensor, targets: Tensor) -> LossForm | None:
    """Returns how the loss takes these logits, None where its value is not finite."""
    out = logits.detach().float().requires_grad_()
    with torch.enable_grad():
        value = loss(out, targets)
        slope = torch.autograd.grad(value, out)[0] if value.requires_grad else None
    if not bool(value.isfinite()):
        return None
    at = float(value.detach())
    with torch.no_grad():
        moved = float(loss(out + 3.0, targets)) - at
        twice = float(loss(torch.cat([out, out]), torch.cat([targets, targets])))
    scale = max(1.0, abs(at))
    per_example = abs(twice - at) < 1e-3 * scale
    count = 1 if per_example else len(targets)
    right = targets.clamp_min(0)[:, None]
    return LossForm(
        value=at / count,
        takes_softmax=abs(moved) < 1e-3 * scale,
        takes_logarithms=abs(moved / count + 3.0) < 1e-2,
        per_example=per_example,
        slope=0.0 if slope is None else float(slope.gather(1, right).sum()) / count,
    )


def check_loss(form: LossForm, logits: Tensor, last: str) -> Iterator[Finding]:
    """Yields what does not fit between the network's end and the loss.

    Args:
        form: of the loss.
        logits: (N, K), what the network says at the start.
        last: the function that made them, such as linear or softmax.
    """
    out = logits.detach().double()
    sums = out.exp().sum(1)
    probabilities = bool((out >= 0).all()) and bool(((out.sum(1) - 1).abs() < 1e-3).all())
    evidence = {"loss": form.value, "classes": float(out.shape[1])}
    if form.slope > 0:
        yield Finding(
            severity="critical",
            code="loss-of-wrong-sign",
            seen="the loss grows with the output of the right class "
            f"(slope {form.slope:.3g}; it must be below 0)",
            cause="the sign of the loss is turned round",
            cure="return the loss itself and not its negative",
            evidence={**evidence, "slope": form.slope},
        )
    elif form.takes_softmax and (last == "softmax" or probabilities):
        yield Finding(
            severity="critical",
            code="softmax-twice",
            seen="the network's outputs are probabilities, and the loss takes a softmax of them "
            "again",
            cause="softmax stands before a cross-entropy that holds one itself",
            cure="leave out the softmax at the network's end",
            evidence=evidence,
        )
    elif form.takes_logarithms and not bool(((sums - 1).abs() < 1e-2).all()):
        yield Finding(
            severity="critical",
            code="loss-expects-log-probabilities",
            seen="the loss falls without limit when a constant is added to the outputs, which are "
            f"no logarithms of probabilities (they sum to {float(sums.mean()):.3g})",
            cause="nll_loss is given logits",
            cure="take cross_entropy in place of nll_loss, or log_softmax at the network's end",
            evidence={**evidence, "sum": float(sums.mean())},
        )
    elif form.takes_softmax and last in _SQUASHED:
        yield Finding(
            severity="critical",
            code="activation-on-logits",
            seen=f"the network ends in {last}, and the loss takes a softmax of that",
            cause=f"{last} cuts off what the logits could say",
            cure=f"leave out the {last} at the network's end",
            evidence={**evidence, "zeros": float((out == 0).double().mean())},
        )
    elif form.takes_softmax or form.takes_logarithms:
        yield from _at_the_start(form, out)


def _at_the_start(form: LossForm, out: Tensor) -> Iterator[Finding]:
    expected = math.log(max(2, out.shape[1]))
    if form.value > expected * INITIAL_LOSS + INITIAL_LOSS_NATS:
        yield Finding(
            severity="warning",
            code="initial-loss-high",
            seen=f"the loss is {form.value:.3g} before training; ln({out.shape[1]}) = "
            f"{expected:.3g} is that of a network that knows nothing",
            cause=f"the logits are large (standard deviation {float(out.std()):.3g})",
            cure="make the last layer's initial weights smaller, or scale the inputs",
            evidence={"loss": form.value, "expected": expected, "logits_std": float(out.std())},
        )
