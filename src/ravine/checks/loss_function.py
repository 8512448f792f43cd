"""Checks of the network's output against what the loss expects."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ravine.checks.context import CheckContext
from ravine.checks.given_to_losses import find_given_to_loss
from ravine.checks.logits_limit import are_cosines
from ravine.checks.loss_form import LossForm
from ravine.checks.loss_growth import falls_ever_faster, reads_distances
from ravine.checks.made_up_outputs import SURE
from ravine.checks.pair_relation import drives_alike_apart
from ravine.checks.reshaped_head import find_reshaped
from ravine.findings.finding import Finding
from ravine.findings.thresholds import INITIAL_LOSS, INITIAL_LOSS_NATS

_SQUASHED = (
    *("relu", "sigmoid", "tanh", "hardtanh", "relu6", "leaky_relu", "silu", "gelu", "elu"),
    *("clamp", "clip", "softsign", "softplus", "hardsigmoid", "threshold"),
)
_ROWS = 4096  # of an output with a label at each place
_AT_AN_END = 0.1  # share of outputs that are exactly the least or the largest

_ROUNDED = 1e-5  # of outputs, below which their differences are few steps of float32

# Smoothed labels ask a sure network for less: at their optimum the slope is 0, of either sign.
_CLEARLY_UPHILL = 0.05
_MOSTLY_UPHILL = 0.5  # of slopes of any size, where sure wrong answers have a lower loss


def check_loss(context: CheckContext) -> Iterator[Finding]:
    """Yields what does not fit between the network's end and the loss.

    A network of which a part is frozen was trained before, and begins with the loss of what it
    was trained for; one that ends in cosines, with that of their scale.
    """
    is_adapted = any(not p.requires_grad for p in context.model.parameters())
    for one in _between(context):
        is_start = one.code == "initial-loss-high"
        if not is_start or not (is_adapted or are_cosines(context)):
            yield one


def _between(context: CheckContext) -> Iterator[Finding]:
    measured = context.measured
    yield from find_given_to_loss(context)
    yield from find_reshaped(context)
    turned = list(drives_alike_apart(context))
    for index, fall in falls_ever_faster(context):
        if not reads_distances(context):
            yield _unlimited(index, fall)
        elif not turned:
            yield _without_bound(fall)
    for alike, unlike in turned:
        yield _apart(alike, unlike)
    form = measured.loss_form
    if form is not None and form.answers and measured.logits is not None:
        out = measured.logits.detach().double()
        yield from _compare(form, out, measured.last_function)
    form = measured.dense_form
    if measured.dense is not None:
        yield from _scrambled(context, measured.dense)
    if form is not None and form.answers and measured.dense is not None:
        rows = measured.dense.detach().double().movedim(1, -1).flatten(0, -2)
        yield from _compare(form, rows[:: max(1, len(rows) // _ROWS)], measured.last_function)


def _scrambled(context: CheckContext, out: Tensor) -> Iterator[Finding]:
    """Yields a loss of labels at each place that reads outputs (N, K, …) as rows of K numbers."""
    labels, classes = context.samples[0].targets[: len(out)], out.shape[1]
    if bool(((labels < 0) | (labels >= classes)).any()):
        return
    rows = SURE * one_hot(labels, classes).to(out)  # (N, …, K)
    right, read = rows.movedim(-1, 1), rows.reshape(out.shape)
    with torch.no_grad():
        fitted, as_rows = float(context.loss(right, labels)), float(context.loss(read, labels))
    if fitted > 0.1 and abs(as_rows) < 0.1 * fitted:
        yield Finding(
            severity="critical",
            code="outputs-scrambled",
            seen=f"the loss of right answers is {fitted:.3g}, and {as_rows:.3g} when they lie in "
            "memory as rows of one number for each class",
            cause="outputs (N, K, H, W) are brought to (·, K) by view or reshape, which mixes "
            "classes and places",
            cure="write out.permute(0, 2, 3, 1).reshape(-1, K), or give the loss (N, K, H, W)",
            evidence={"fitted": fitted, "as_rows": as_rows},
        )


def _compare(form: LossForm, out: Tensor, last: str) -> Iterator[Finding]:
    """Yields the first of the faults that rule each other out.

    Args:
        form: of the loss.
        out: (N, K) float64, the network's output at the start.
        last: the function that made it, such as linear or softmax.
    """
    evidence = {"loss": form.value, "classes": float(out.shape[1])}
    probabilities = bool((out >= 0).all()) and bool(((out.sum(1) - 1).abs() < 1e-3).all())
    sums = out.exp().sum(1)
    is_uphill = form.slope > _CLEARLY_UPHILL or form.uphill > _MOSTLY_UPHILL
    if is_uphill and not form.is_complement:
        yield wrong_sign(form.slope, evidence)
    elif form.takes_softmax and (last == "softmax" or probabilities):
        yield softmax_twice(evidence)
    elif form.takes_logarithms and bool(((out.exp().sum(0) - 1).abs() < 1e-2).all()):
        return  # logarithms of a softmax along the batch, which mixes its examples
    elif form.takes_logarithms and not bool(((sums - 1).abs() < 1e-2).all()):
        yield no_log_probabilities(float(sums.mean()), evidence)
    elif form.takes_softmax and form.is_probability:
        yield no_logarithm(evidence)
    elif form.takes_softmax and (last in _SQUASHED or _is_cut(out)):
        yield _activation_on_logits(last, float((out == 0).double().mean()), evidence)
    elif form.takes_softmax or form.takes_logarithms:
        yield from _initial_loss(form, out)


def _is_cut(out: Tensor) -> bool:
    """Returns whether many outputs (N, K) lie exactly at an end of their range."""
    if len(out) < 8 or float(out.std(0).max()) <= _ROUNDED * float(out.abs().max()):
        return False
    ends = [float((out == end).double().mean()) for end in (out.min(), out.max())]
    return max(ends) > max(_AT_AN_END, 2 / out.shape[1] / len(out))


def wrong_sign(slope: float, evidence: dict[str, float]) -> Finding:
    """Returns the finding of a loss that grows with the right output, by its slope there."""
    return Finding(
        severity="critical",
        code="loss-of-wrong-sign",
        seen="the loss grows with the output of the target class "
        f"(slope {slope:.3g}; it must be below 0)",
        cause="the sign of the loss is turned round",
        cure="return the loss itself and not its negative",
        evidence={**evidence, "slope": slope},
    )


def _unlimited(index: int, fall: float) -> Finding:
    return Finding(
        severity="critical",
        code="loss-of-wrong-sign",
        seen=f"the loss falls without limit, and ever faster, as output {index + 1} grows: by "
        f"{fall:.3g} where one of its columns is 100 in size",
        cause="the sign of a term is turned round: a squared error, or a divergence such as that "
        "of a variational autoencoder, is subtracted where it must be added",
        cure="add the term; print each term of the loss over some steps: none may run to −∞",
        evidence={"fall": fall},
    )


def _without_bound(fall: float) -> Finding:
    return Finding(
        severity="critical",
        code="loss-unbounded",
        seen="the loss reads how far outputs lie from each other, and falls without limit, and "
        f"ever faster, as they move apart: by {fall:.3g} where they are 100 apart",
        cause="a distance is to grow, and nothing says how far: the hinge around the difference of "
        "two distances is missing, and its margin",
        cure="write relu(near - far + margin), as F.triplet_margin_loss does, or normalise the "
        "outputs",
        evidence={"fall": fall},
    )


def _apart(alike: float, unlike: float) -> Finding:
    return Finding(
        severity="critical",
        code="loss-of-wrong-sign",
        seen="the loss falls as examples that are alike move apart (slope by their distance "
        f"{alike:.3g}), and not as others do ({unlike:.3g})",
        cause="the labels of pairs mean the opposite of what the loss takes them for (1 for alike, "
        "or for different), or positive and negative are exchanged in a triplet",
        cure="exchange them: pass 1 − y, or (anchor, positive, negative) in this order",
        evidence={"alike": alike, "unlike": unlike},
    )


def softmax_twice(evidence: dict[str, float]) -> Finding:
    """Returns the finding of probabilities that are given to a loss of logits."""
    return Finding(
        severity="critical",
        code="softmax-twice",
        seen="the network's outputs are probabilities, and the loss takes a softmax of them again",
        cause="softmax stands before a cross-entropy that holds one itself",
        cure="leave out the softmax at the network's end",
        evidence=evidence,
    )


def no_log_probabilities(mean_sum: float, evidence: dict[str, float]) -> Finding:
    """Returns the finding of a loss of log-probabilities that is given something else.

    Args:
        mean_sum: of the outputs' exponentials.
        evidence: the numbers behind it.
    """
    return Finding(
        severity="critical",
        code="loss-expects-log-probabilities",
        seen="the loss falls without limit when a constant is added to the outputs, which are no "
        f"log-probabilities (their exponentials sum to {mean_sum:.3g})",
        cause="nll_loss is given logits, or kl_div probabilities",
        cure="take cross_entropy in place of nll_loss, or log_softmax at the network's end",
        evidence={**evidence, "sum": mean_sum},
    )


def no_logarithm(evidence: dict[str, float]) -> Finding:
    """Returns the finding of a loss that falls with a probability and not with its logarithm."""
    return Finding(
        severity="warning",
        code="loss-expects-log-probabilities",
        seen="the loss falls with the probability of the label and not with its logarithm: an "
        "example that is surely wrong has hardly a gradient",
        cause="nll_loss or kl_div is given softmax(outputs), where log_softmax belongs",
        cure="take cross_entropy of the outputs, or log_softmax in place of softmax",
        evidence=evidence,
    )


def _activation_on_logits(last: str, zeros: float, evidence: dict[str, float]) -> Finding:
    return Finding(
        severity="critical",
        code="activation-on-logits",
        seen=f"the network ends in {last}, and the loss takes a softmax of that"
        if last in _SQUASHED
        else "many outputs are exactly the least or the largest, and the loss takes a softmax of "
        "them",
        cause="part of the range of the logits is cut off",
        cure=f"leave out the {last} at the network's end"
        if last in _SQUASHED
        else "leave out what limits the outputs at the network's end",
        evidence={**evidence, "zeros": zeros},
    )


def out_of_reach(last: str, evidence: dict[str, float]) -> Finding:
    """Returns the finding of a last function that cannot reach the targets.

    Args:
        last: its name.
        evidence: low and high, the ends of its range, and the share of targets outside.
    """
    return Finding(
        severity="critical",
        code="activation-on-logits",
        seen=f"the network ends in {last}, whose results lie between {evidence['low']:g} and "
        f"{evidence['high']:g}, and {evidence['share']:.0%} of the targets lie outside",
        cause="part of the range of the outputs is cut off",
        cure=f"leave out the {last} at the network's end, or scale the targets into its range",
        evidence=evidence,
    )


def _initial_loss(form: LossForm, out: Tensor) -> Iterator[Finding]:
    expected = max(math.log(max(2, out.shape[1])), form.of_equal)  # with margins it is above ln K
    if form.value > expected * INITIAL_LOSS + INITIAL_LOSS_NATS:
        yield Finding(
            severity="warning",
            code="initial-loss-high",
            seen=f"the loss is {form.value:.3g} before training; {expected:.3g} is that of equal "
            f"probabilities for {out.shape[1]} classes",
            cause=f"the logits are large (standard deviation {float(out.std()):.3g})",
            cure="make the last layer's initial weights smaller, or scale the inputs",
            evidence={"loss": form.value, "expected": expected, "logits_std": float(out.std())},
        )
