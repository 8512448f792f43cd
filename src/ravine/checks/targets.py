"""Checks of loss and targets together, by outputs that are made up for the purpose.

The loss is called on outputs of which the right answer is known: fitting the targets, with the
targets in another order, at random. So it needs no name and no source.
"""

import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ravine.checks.broadcast_terms import find_broadcast_terms
from ravine.checks.context import CheckContext
from ravine.checks.labels import IGNORED
from ravine.checks.made_up_outputs import SURE, value_of
from ravine.checks.part_ranges import check_part_ranges
from ravine.checks.target_form import RANGES
from ravine.core.nested import batch_size, tensors_in
from ravine.findings.finding import Finding
from ravine.findings.target_floor import measured_floor
from ravine.findings.thresholds import LARGE_TARGETS, UNINFORMATIVE

_SIZES_DIFFER = re.compile(  # what torch warns of
    r"target size \(torch\.Size\(\[(.*?)\]\)\) that is different to the input size "
    r"\(torch\.Size\(\[(.*?)\]\)\)"
)
_ENOUGH_MASKS = 16
_DROPOUTS = ("dropout", "alpha_dropout", "feature_alpha_dropout", "feature_dropout")


def check_targets(context: CheckContext) -> Iterator[Finding]:
    """Yields outputs and targets that do not fit each other, and losses that pass over some."""
    found = list(_between(context))
    yield from found
    if all(one.code != "targets-broadcast" for one in found):
        yield from find_broadcast_terms(context)


def _between(context: CheckContext) -> Iterator[Finding]:
    if context.measured.last_function in _DROPOUTS:
        yield _dropped()
    out, targets = context.measured.output, context.samples[0].targets
    if out is None:
        return
    yield from check_part_ranges(context)
    if not isinstance(targets, Tensor):
        yield from _warned(context)
        yield from _large_parts(out, targets)
        return
    targets = targets[: len(out)] if targets.dim() else targets
    if context.measured.last_function == "softmax" and out.dim() > 1 and out.shape[1] == 1:
        yield _softmax_of_one()
    elif targets.dim() and targets.numel() == out.numel():  # whole numbers too
        numbers = targets if targets.is_floating_point() else targets.to(out).reshape(out.shape)
        yield from _sigmoid_twice(context, out, numbers, targets)
        yield from _one_sided(context, numbers, targets)
    if targets.is_floating_point():
        found = list(_broadcast(context, out, targets))
        yield from found or _warned(context)
        yield from _large(out, targets)
    yield from _all_alike(context, targets)
    yield from _uninformative(context, out, targets)


def _value(context: CheckContext, out: Tensor, targets: Tensor) -> float | None:
    """Returns the loss of made-up outputs, None where it refuses them or is not finite."""
    found = value_of(context.loss, out, targets)
    return found if math.isfinite(found) else None


def _dropped() -> Finding:
    return Finding(
        severity="warning",
        code="dropout-on-logits",
        seen="the network ends in dropout, and the loss takes what it leaves",
        cause="answers are set to 0 at random, and the loss is asked to repair that",
        cure="put dropout before the last layer, not after it",
    )


def _softmax_of_one() -> Finding:
    return Finding(
        severity="critical",
        code="activation-on-logits",
        seen="the network ends in a softmax over one output, which is 1 whatever comes before it",
        cause="a softmax shares 1 among several outputs; of a single one it leaves nothing",
        cure="leave out the softmax and train with BCEWithLogitsLoss, or give the network two "
        "outputs and train with CrossEntropyLoss",
    )


def _sigmoid_twice(
    context: CheckContext, out: Tensor, targets: Tensor, given: Tensor
) -> Iterator[Finding]:
    """A loss of logits is near 0 at sure logits; one of probabilities refuses or punishes them.

    Args:
        context: of the checks.
        out: the network's output.
        targets: as floating numbers.
        given: as the loss takes them.
    """
    is_squashed = bool((out >= 0).all() and (out <= 1).all())
    ends = context.measured.last_function in ("sigmoid", "softmax")
    shares = bool((targets >= 0).all() and (targets <= 1).all())
    if not (is_squashed and ends and shares and out.shape == targets.shape):
        return
    hard = given.round() if given.is_floating_point() else given
    sure = _value(context, SURE * (2 * targets.round() - 1), hard)
    fitted = _value(context, targets.round(), hard)
    moved = _value(context, targets.round() + 3.0, hard)
    if fitted is not None and moved is not None and math.isclose(fitted, moved, rel_tol=1e-4):
        return  # a softmax, which check_target_form names
    if sure is not None and fitted is not None and sure < 0.01 and fitted > 0.1:
        yield Finding(
            severity="critical",
            code="sigmoid-twice",
            seen="the network's outputs are probabilities, and the loss takes a sigmoid of them "
            f"again: with every answer right it is still {fitted:.2g}",
            cause="sigmoid or softmax stands before a loss that holds a sigmoid itself "
            "(BCEWithLogitsLoss)",
            cure="leave out what stands at the network's end, or take BCELoss",
            evidence={"fitted": fitted, "sure": sure},
        )


def _one_sided(context: CheckContext, targets: Tensor, given: Tensor) -> Iterator[Finding]:
    """Yields an end that cannot reach the outputs at which a loss of zeros and ones is near 0.

    Args:
        context: of the checks.
        targets: as floating numbers.
        given: as the loss takes them.
    """
    last = context.measured.last_function
    low, high = RANGES.get(last, (-math.inf, math.inf))
    is_binary = bool(((targets == 0) | (targets == 1)).all())
    if not is_binary or (low, high) in ((-math.inf, math.inf), (0.0, 1.0)):
        return
    sure = SURE * (2 * targets - 1)
    free, held = (_value(context, out, given) for out in (sure, sure.clamp(low, high)))
    if free is not None and held is not None and free < 0.01 and held > 0.1:
        yield Finding(
            severity="critical",
            code="activation-on-logits",
            seen=f"the network ends in {last}, whose results lie between {low:g} and {high:g}: "
            f"with every answer right the loss is still {held:.2g}, and {free:.2g} without it",
            cause="part of the range of the outputs is cut off",
            cure=f"leave out the {last} at the network's end",
            evidence={"held": held, "free": free},
        )


def _broadcast(context: CheckContext, out: Tensor, targets: Tensor) -> Iterator[Finding]:
    """With (N, 1) against (N,) every output meets every target: their order is lost."""
    if out.shape == targets.shape or targets.dim() == 0 or len(targets) < 3:
        return
    varies = bool((targets != targets[:1]).any())
    # Far from the targets, losses of absolute values do not depend on their order either.
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(out.shape, generator=generator).to(out)
    near = targets.mean().to(out) + targets.std().to(out) * drawn
    known = _values_in_orders(context, near, targets) if varies else []
    same = _value(context, near, 0.5 * targets) if known else None
    is_read = same is not None and abs(same - known[0]) > 1e-5 * abs(known[0])
    if known and is_read and max(known) - min(known) <= 1e-5 * abs(known[0]):
        yield Finding(
            severity="critical",
            code="targets-broadcast",
            seen=f"outputs {tuple(out.shape)} and targets {tuple(targets.shape)} are broadcast: "
            "the loss stays the same when the targets are put in another order",
            cause="every output is compared with every target, so that the network can learn "
            "their mean alone",
            cure="bring both to one shape: out.squeeze(1), or targets[:, None]",
            evidence={"loss": known[0]},
        )


def _warned(context: CheckContext) -> Iterator[Finding]:
    """Yields what torch itself says of a term of the loss that broadcasts its targets."""
    outputs, sample = context.measured.outputs, context.samples[0]
    targets = sample.first(batch_size(outputs) or len(sample)).targets
    with warnings.catch_warnings(record=True) as said, torch.no_grad():
        warnings.simplefilter("always")
        context.loss(outputs, targets)
    for one in said:
        if sizes := _SIZES_DIFFER.search(str(one.message)):
            theirs, ours = sizes.groups()
            yield Finding(
                severity="critical",
                code="targets-broadcast",
                seen=f"a term of the loss is given outputs ({ours}) and targets ({theirs}), "
                "which torch itself warns of",
                cause="every output is compared with every target, so that the network can learn "
                "their mean alone",
                cure="bring both to one shape: out.squeeze(1), or targets[:, None]",
            )
            return


def _values_in_orders(context: CheckContext, out: Tensor, targets: Tensor) -> list[float]:
    """Returns the losses of outputs against targets in three orders; none where one is unknown."""
    count = len(targets)
    orders = [torch.arange(count), torch.arange(count - 1, -1, -1), torch.arange(count).roll(1)]
    values = [_value(context, out, targets[order.to(targets.device)]) for order in orders]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def _large_parts(out: Tensor, targets: Any) -> Iterator[Finding]:
    """Yields the first of several targets that is large against all outputs."""
    parts = [t for t in tensors_in(targets) if t.is_floating_point() and t.dim()]
    for part in parts:
        found = list(_large(out, part))
        if found:
            yield found[0]
            return


def _large(out: Tensor, targets: Tensor) -> Iterator[Finding]:
    size = float(targets.double().square().mean().sqrt())
    ours = float(out.double().square().mean().sqrt())
    if size > LARGE_TARGETS and ours < 0.1 * size:
        yield Finding(
            severity="warning",
            code="targets-not-scaled",
            seen=f"targets have root mean square {size:.3g}, and outputs {ours:.3g}",
            cause="the network begins far from its targets, and gradients are as large as they",
            cure="subtract the targets' mean and divide by their standard deviation; undo it in "
            "the prediction",
            evidence={"targets": size, "outputs": ours},
        )


def _all_alike(context: CheckContext, targets: Tensor) -> Iterator[Finding]:
    """Yields masks that are all of one class, in all batches that were looked at."""
    if context.measured.dense is None or targets.is_floating_point():
        return
    masks = [s.targets for s in context.samples if isinstance(s.targets, Tensor)]
    values = torch.cat([mask.flatten() for mask in masks])
    kinds = values[values != IGNORED].unique()
    images = sum(len(mask) for mask in masks)
    if len(kinds) == 1 and images >= _ENOUGH_MASKS:
        yield Finding(
            severity="critical",
            code="targets-uninformative",
            seen=f"every place of {images} masks holds class {int(kinds[0])}, of "
            f"{context.measured.dense.shape[1]} that the network tells apart",
            cause="the masks were scaled as images are (divided by 255) before they were made "
            "integers, or resized by mixing neighbours",
            cure="read masks as integers, and resize them with the nearest neighbour; print "
            "mask.unique()",
            evidence={"masks": float(images)},
        )


def _uninformative(context: CheckContext, out: Tensor, targets: Tensor) -> Iterator[Finding]:
    """Yields targets on which the best network is hardly better than one constant answer."""
    form = context.measured.loss_form
    if form is None or not (form.takes_softmax and form.per_example and form.separate):
        return
    constant = measured_floor(context.loss, out, targets, alike=True)
    if constant is None or constant < 0.1:
        return
    least = min(constant, math.log(max(2, out.shape[-1])))  # whatever is added to the loss
    enough = constant - UNINFORMATIVE * least
    floor = measured_floor(context.loss, out, targets, enough=enough)
    if floor is None:
        return
    if constant - floor < UNINFORMATIVE * least:
        yield Finding(
            severity="warning",
            code="targets-uninformative",
            seen=f"the least loss that these targets allow is {floor:.4g}, and one constant answer "
            f"reaches {constant:.4g}",
            cause="label smoothing or mixing leaves next to nothing of the labels",
            cure="take label smoothing near 0.1",
            evidence={"floor": floor, "constant": constant},
            changes={"label_smoothing": 0.1},
        )
