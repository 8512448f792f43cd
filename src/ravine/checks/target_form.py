"""How a loss takes targets that are no labels: shares, zeros and ones, or values.

As in `targets.py` it is called on outputs that are made up: sure right and sure wrong ones, and
the network's own with a constant added.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from ravine.checks.constant_reach import find_beyond_range
from ravine.checks.context import CheckContext
from ravine.checks.loss_function import (
    no_log_probabilities,
    no_logarithm,
    out_of_reach,
    softmax_twice,
    wrong_sign,
)
from ravine.checks.made_up_outputs import SURE, value_of
from ravine.findings.finding import Finding

_SIZES = tuple(k / 50 for k in range(51))  # of outputs that are all alike and negative
_TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 20.0)
_BELOW = 2.0  # below 0, where a loss of 0 and 1 has no business
_LINEAR = ("linear", "addmm", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "sigmoid")
# What a function's results lie between.
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "relu": (0.0, math.inf), "softplus": (0.0, math.inf), "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0), "softsign": (-1.0, 1.0),
}  # fmt: skip
_OUTSIDE = 0.1  # share of targets that no output can reach
_BEYOND = 0.05  # how far beyond an end a target lies, over the targets' deviation


def check_target_form(context: CheckContext) -> Iterator[Finding]:
    """Yields ends of the network that do not fit a loss of targets that are no class labels."""
    measured, sample = context.measured, context.samples[0]
    out, targets = measured.output, sample.targets
    if out is None or not isinstance(targets, Tensor) or not len(out):
        return
    targets = targets[: len(out)] if targets.dim() else targets
    if measured.loss_form is not None or measured.dense_form is not None:
        return
    if out.numel() != targets.numel() or targets.dim() == 0:
        return
    if out.shape == targets.shape and targets.is_floating_point():
        yield from _shares(context, out, targets)
        yield from _sum_to_one(context, out, targets)
        yield from _out_of_reach(context, out, targets)
    yield from _turned_round(context, out, targets)


def _shares(context: CheckContext, out: Tensor, targets: Tensor) -> Iterator[Finding]:
    """Yields probabilities where the loss takes a softmax, or logarithms, of rows of shares."""
    are_shares = out.dim() == 2 and out.shape[1] > 1 and bool((targets >= 0).all())
    if not are_shares or bool(((targets.sum(1) - 1).abs() > 1e-3).any()):
        return
    at, once, twice = (value_of(context.loss, out + shift, targets) for shift in (0.0, 3.0, 6.0))
    if not all(map(math.isfinite, (at, once, twice))):
        return
    evidence = {"loss": at, "classes": float(out.shape[1])}
    scale = max(1.0, abs(at))
    are_probabilities = bool((out >= 0).all()) and bool(((out.sum(1) - 1).abs() < 1e-3).all())
    if abs(once - at) < 1e-4 * scale and (
        are_probabilities or context.measured.last_function == "softmax"
    ):
        yield softmax_twice(evidence)
    elif abs(once - at) < 1e-4 * scale and _is_straight(context, out, targets):
        yield no_logarithm(evidence)
    falls = at - once > 1e-3 and math.isclose(twice - at, 2 * (once - at), rel_tol=1e-3)
    sums = out.double().exp().sum(1)
    if falls and bool(((sums - 1).abs() > 1e-2).any()):
        yield no_log_probabilities(float(sums.mean()), evidence)


def _sum_to_one(context: CheckContext, out: Tensor, targets: Tensor) -> Iterator[Finding]:
    """Yields a softmax over several labels (N, K, …) of 0 and 1 that may be on together.

    A multinomial likelihood asks nothing of the labels that are off, and may be meant.
    """
    last, are_labels = (
        context.measured.last_function,
        out.dim() > 1 and bool(((targets == 0) | (targets == 1)).all()),
    )
    if last != "softmax" or not are_labels or bool(((out.sum(1) - 1).abs() > 1e-3).any()):
        return
    several = float((targets.sum(1) > 1).double().mean())
    sure, generous = (
        value_of(context.loss, targets.to(out).clamp(low, 1 - 1e-3), targets) for low in (1e-3, 0.3)
    )
    if several > _OUTSIDE and generous > sure + 1e-2 * abs(sure) + 1e-6:
        yield Finding(
            severity="critical",
            code="activation-on-logits",
            seen=f"the network ends in softmax, whose probabilities sum to 1, and {several:.0%} of "
            f"the examples have several labels ({float(targets.sum(1).mean()):.2g} on average)",
            cause="a softmax shares one probability among all labels: of k labels none can have "
            "more than 1/k with certainty",
            cure="take the softmax away and train with BCEWithLogitsLoss; ask each label by "
            "sigmoid(out) > 0.5",
            evidence={"several": several},
        )


def _is_straight(context: CheckContext, out: Tensor, targets: Tensor) -> bool:
    """Returns whether the loss of rows of shares (N, K) is straight in the softmax of outputs.

    Divided by a temperature before it, of which some are tried.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn((2, *out.shape), generator=generator, dtype=torch.float64).to(out.device)
    one, other = (2 * drawn).softmax(2)
    mixed = [(share * one + (1 - share) * other).log() for share in (1.0, 0.5, 0.0)]
    for degrees in _TEMPERATURES:
        values = [value_of(context.loss, (degrees * x).to(out), targets) for x in mixed]
        first, middle, last = values
        if all(map(math.isfinite, values)) and (
            abs(middle - (first + last) / 2) < 1e-3 * abs(first - last)
        ):
            return True
    return False


def _out_of_reach(context: CheckContext, out: Tensor, targets: Tensor) -> Iterator[Finding]:
    """Yields a last function that cannot reach the targets, or what the loss makes of them."""
    last = context.measured.last_function
    if last not in RANGES:
        return
    low, high = RANGES[last]
    slack = _BEYOND * float(targets.double().std())
    beyond = (targets < low - slack) | (targets > high + slack)
    share = float(beyond.double().mean())
    if share > _OUTSIDE:
        yield out_of_reach(last, {"share": share, "low": low, "high": high})
    else:
        yield from find_beyond_range(context, out, last, low=low, high=high)


def _unbounded(context: CheckContext, right: Tensor, targets: Tensor) -> Iterator[Finding]:
    """Yields a loss of zeros and ones that falls without limit as outputs grow, or is no loss."""
    near, far, farther = (
        value_of(context.loss, size * right, targets) for size in (10.0, 1e2, 1e3)
    )
    small = [value_of(context.loss, -size * right.abs(), targets) for size in _SIZES]
    least = min([near, far, farther, *small])
    if not all(map(math.isfinite, (near, far, farther, *small))):
        return
    if least < -_BELOW and (farther < far - _BELOW or least < min(near, far, farther) - _BELOW):
        yield Finding(
            severity="critical",
            code="loss-unbounded",
            seen=f"the loss of targets 0 and 1 falls to {least:.3g} on outputs that are made up, "
            f"and is {near:.3g} for right ones of size 10",
            cause="a loss of probabilities (Dice, IoU) is given logits: outside 0 to 1 it has no "
            "least value",
            cure="write out.sigmoid() before the loss, or take one with logits",
            evidence={"least": least, "right": near},
        )


def _turned_round(context: CheckContext, out: Tensor, targets: Tensor) -> Iterator[Finding]:
    """Yields a loss that is lower for sure wrong outputs than for sure right ones.

    Only where outputs are logits, probabilities or values: of distances the sign is their own.
    """
    last = context.measured.last_function
    if last not in _LINEAR:
        return
    wanted = targets.to(out).reshape(out.shape)
    is_binary = bool(((wanted == 0) | (wanted == 1)).all()) and bool((wanted != wanted[:1]).any())
    if is_binary:
        right, wrong = (wanted, 1 - wanted) if last == "sigmoid" else (
            SURE * (2 * wanted - 1), SURE * (1 - 2 * wanted)
        )  # fmt: skip
        others = [value_of(context.loss, wrong, targets)]
    elif targets.is_floating_point() and float(wanted.std()) > 0:
        right, apart = wanted, wanted.std()
        others = [value_of(context.loss, wanted + sign * apart, targets) for sign in (1, -1)]
    else:
        return
    fitted, again = (value_of(context.loss, right, targets) for _ in range(2))
    if math.isfinite(fitted) and not math.isclose(fitted, again, rel_tol=1e-5):
        return  # a loss that draws (actions of a policy): its values tell nothing one by one
    if is_binary and last != "sigmoid":
        yield from _unbounded(context, right / SURE, targets)
    highest = max(others)
    if math.isfinite(fitted) and all(map(math.isfinite, others)):
        scale = max(abs(fitted), *map(abs, others))
        if fitted - highest > 0.05 * scale:
            yield wrong_sign(fitted - highest, {"fitted": fitted, "wrong": highest})
