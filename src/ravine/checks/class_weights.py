"""Which classes a loss passes over, or counts for little: by its slopes on made-up outputs."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.easy_examples import find_easy_in_loss
from ravine.checks.made_up_outputs import slope_of, slopes_in_parts, value_of, whole_parts
from ravine.core.nested import map_tensors, tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import WEIGHED_APART

_IGNORED = -100  # the label that torch's losses pass over
_MOST = 1024  # labels of examples that are tried
_TRIES = 2
_MOST_KINDS, _FEWEST = 20, 4  # of targets, and examples of one
# Counts of the commoner of 0 and 1 over the other, and its weight over that: focal losses are right
# to count the rarer one for a third.
_OFTENER, _COLUMN_APART = 2.0, 4.0
_WAYS = 4  # of being another output
# Counts that are taken for equal, the least of them, and weights that are far apart.
_EQUAL, _ENOUGH, _TWICE = 2.0, 16, 4.0
_SAME_ORDER = 0.8  # correlation of the logarithms of weights and counts


def check_class_weights(context: CheckContext) -> Iterator[Finding]:
    """Yields classes without a gradient, and weights that are larger the commoner a class is."""
    measured = context.measured
    yield from find_easy_in_loss(context)
    if measured.logits is not None:
        known = [one.labels for one in context.samples if one.labels is not None]
        labels = torch.cat(known)
        classes = measured.logits.shape[1]
        labels = labels[(labels >= 0) & (labels < classes)]  # the others are passed over
        some = whole_parts(labels, size=len(context.samples[0]), most=_MOST)
        silent = list(_ignored(context, some, torch.Size((len(some), classes))))
        yield from silent or _turned(context, labels, classes)
        yield from _weighed_twice(context, labels, classes)
    elif measured.dense is not None:
        labels = context.samples[0].targets[: len(measured.dense)]
        if not bool((labels == _IGNORED).any()):
            yield from _ignored(context, labels, measured.dense.shape)
    else:
        yield from list(_unheard(context)) or _turned_columns(context)


def _turned_columns(context: CheckContext) -> Iterator[Finding]:
    """Yields a column of zeros and ones of which the loss counts the commoner one for more."""
    out, targets = context.measured.output, context.samples[0].targets
    if out is None or not isinstance(targets, Tensor) or not targets.is_floating_point():
        return
    targets = targets[: len(out)]
    if out.shape != targets.shape or bool(((targets != 0) & (targets != 1)).any()):
        return
    middle = torch.full_like(out, 0.5 if context.measured.last_function == "sigmoid" else 0.0)
    slope = slope_of(context.loss, middle, targets)
    if slope is None or not _is_by_number(context, middle, targets, slope):
        return
    size, y = (t.double().reshape(len(t), -1) for t in (slope.abs(), targets))
    whole = torch.cat([one.targets.reshape(len(one), -1) for one in context.samples]).double()
    for column in range(y.shape[1]):
        share = float(whole[:, column].mean())
        counts = (share, 1 - share)
        weights = [float(size[y[:, column] == k, column].mean()) for k in (1, 0)]
        common = int(counts[1] > counts[0])
        if not all(w > 0 for w in weights) or counts[common] < _OFTENER * counts[1 - common]:
            continue
        apart = weights[common] / weights[1 - common]
        if apart > _COLUMN_APART:
            yield _commoner_counts(apart)
            return


def _is_by_number(context: CheckContext, at: Tensor, targets: Tensor, slope: Tensor) -> bool:
    """Returns whether the loss's slope by each output stays as others are changed, half of them.

    In a ratio of sums (Dice, F1, a correlation) the part of each depends on all others, those of
    its example or of the batch, and its size is no weight.
    """
    changed = torch.rand(at.shape, generator=_generator()).to(at) < 0.5
    beside = slope_of(context.loss, torch.where(changed, at + 0.25, at), targets)
    return beside is not None and torch.allclose(slope[~changed], beside[~changed])


def _ignored(context: CheckContext, labels: Tensor, shape: torch.Size) -> Iterator[Finding]:
    """Yields classes on whose examples the loss has no gradient, whatever the outputs are.

    Args:
        context: of the checks.
        labels: (N, …).
        shape: (N, K, …) of the outputs.
    """
    generator, size = torch.Generator().manual_seed(0), len(context.samples[0])
    silent: Tensor | None = None
    for _ in range(_TRIES):
        drawn = torch.randn(shape, generator=generator).to(labels.device)
        slope = slopes_in_parts(context.loss, drawn, labels, size=size)
        if slope is None or not bool(slope.any()):
            return
        rests = (slope == 0).all(1)
        silent = rests if silent is None else silent & rests
    assert silent is not None
    present = [k for k in labels.unique().tolist() if 0 <= k < shape[1]]  # 255 is no class
    classes = [k for k in present if bool(silent[labels == k].all())]
    if classes and int(silent.sum()) > 1:
        shown = ", ".join(str(k) for k in classes[:5])
        yield Finding(
            severity="warning",
            code="loss-ignores-examples",
            seen=f"the loss has no gradient on the examples of class {shown} "
            f"({float(silent.double().mean()):.0%} of all labels), whatever the outputs are",
            cause="ignore_index is the number of a real class, or its weight is 0",
            cure="take ignore_index=-100 (no class has it); give every class a weight above 0",
            evidence={"classes": float(len(classes)), "share": float(silent.double().mean())},
        )


def _unheard(context: CheckContext) -> Iterator[Finding]:
    """Yields targets of one kind with which the loss stays the same, whatever the outputs are."""
    outputs, targets = context.measured.outputs, context.samples[0].targets
    found = [t for t in tensors_in(outputs) if t.is_floating_point() and t.dim()]
    if not found or not isinstance(targets, Tensor) or not targets.dim():
        return
    targets = targets[: len(found[0])]
    if targets.numel() != len(targets):
        return
    kinds, each = targets.unique(), targets.flatten()
    if not 2 <= len(kinds) <= _MOST_KINDS or bool((kinds < 0).any()):  # below 0: to be passed over
        return
    at = value_of(context.loss, outputs, targets)
    for kind in kinds.tolist():
        rows = each == kind
        if int(rows.sum()) < _FEWEST:
            continue
        values = [
            value_of(context.loss, _changed(outputs, rows, how), targets) for how in range(_WAYS)
        ]
        if all(math.isclose(value, at, rel_tol=1e-6) for value in values):
            yield Finding(
                severity="warning",
                code="loss-ignores-examples",
                seen=f"the loss stays the same whatever the outputs are for the targets {kind:g} "
                f"({float(rows.double().mean()):.0%} of them)",
                cause="the loss expects other numbers for the kinds (1 and −1, not 1 and 0), or "
                "their weight is 0",
                cure="pass what the loss's documentation asks for: 2 * y - 1 for labels 0 and 1",
                evidence={"target": float(kind), "share": float(rows.double().mean())},
            )
            return


def _changed(outputs: Any, rows: Tensor, how: int) -> Any:
    """Returns nested outputs with other values in some rows (N,): one of `_WAYS`."""
    generator = torch.Generator().manual_seed(0)

    def change(t: Tensor) -> Tensor:
        if not t.is_floating_point() or not t.dim() or len(t) != len(rows):
            return t
        drawn = torch.randn(t.shape, generator=generator).to(t)
        other = (torch.zeros_like(t), t.roll(1, 0), drawn, 10 * drawn)[how]
        return torch.where(rows.reshape(-1, *[1] * (t.dim() - 1)), other, t)

    return map_tensors(outputs, change)


def _turned(context: CheckContext, labels: Tensor, classes: int) -> Iterator[Finding]:
    """Yields weights of classes that rise with their counts, where they should fall or be equal."""
    found = _weights_and_counts(context, labels, classes)
    if found is None:
        return
    weights, seen = found
    apart = float(weights.max() / weights.min())
    if apart > WEIGHED_APART and _correlation(weights.log(), seen.log()) > _SAME_ORDER:
        yield _commoner_counts(apart)


def _weighed_twice(context: CheckContext, labels: Tensor, classes: int) -> Iterator[Finding]:
    """Yields weights of classes that come equally often: what they shall correct is corrected."""
    counts = labels.bincount(minlength=classes)
    present = counts.nonzero().flatten()
    seen = counts[present].double()
    if len(present) < 2 or float(seen.min()) < _ENOUGH or float(seen.max() / seen.min()) > _EQUAL:
        return
    slope = slope_of(context.loss, torch.zeros(len(present), classes).to(labels.device), present)
    weights = None if slope is None else slope.norm(dim=1).double()
    if weights is None or not bool((weights > 0).all()):
        return
    apart = float(weights.max() / weights.min())
    if apart > _TWICE:
        yield Finding(
            severity="warning",
            code="loss-ignores-examples",
            seen=f"classes come equally often in the batches ({int(seen.min())} to "
            f"{int(seen.max())} times), and the loss counts an example of one of them {apart:.1f} "
            "times as much as one of another",
            cause="rare classes are drawn more often already, and the loss weighs them again: the "
            "common ones hardly count",
            cure="correct once: draw by class (--balance sample) or weigh the loss, not both; keep "
            "it where a mistake in one class costs more",
            evidence={"apart": apart},
        )


def are_passed_over(context: CheckContext, labels: Tensor, classes: int) -> bool:
    """Returns whether a loss has no gradient on labels (k,) outside its classes, and takes them.

    Asked on the processor, where such a label ends no device's work.
    """
    other = torch.arange(len(labels)) % classes
    asked = torch.cat([labels.cpu(), other])
    slope = slope_of(context.loss, torch.randn(len(asked), classes, generator=_generator()), asked)
    if slope is None or not bool(slope.isfinite().all()):
        return False
    silent, heard = slope[: len(labels)], slope[len(labels) :]
    return not bool(silent.any()) and bool(heard.any(1).all())


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def weighs_rarer_more(context: CheckContext, labels: Tensor, classes: int) -> bool:
    """Returns whether the loss of labels (N,) counts classes for more the rarer they are."""
    found = _weights_and_counts(context, labels, classes)
    if found is None:
        return False
    weights, seen = found
    apart = float(weights.max() / weights.min())
    return apart > WEIGHED_APART and _correlation(weights.log(), seen.log()) < -_SAME_ORDER


def _weights_and_counts(
    context: CheckContext, labels: Tensor, classes: int
) -> tuple[Tensor, Tensor] | None:
    """Returns what the loss counts an example of each class for, and how often it is there.

    None where it cannot be decided, or classes are about equally frequent.
    """
    counts = labels.bincount(minlength=classes)[:classes]
    present = counts.nonzero().flatten()
    if len(present) < 2:
        return None
    slope = slope_of(context.loss, torch.zeros(len(present), classes).to(labels.device), present)
    if slope is None:
        return None
    weights, seen = slope.norm(dim=1).double(), counts[present].double()
    if not bool((weights > 0).all()) or float(seen.max() / seen.min()) < WEIGHED_APART:
        return None
    return weights, seen


def _commoner_counts(apart: float) -> Finding:
    return Finding(
        severity="warning",
        code="loss-ignores-examples",
        seen=f"the loss counts an example of the commonest class {apart:.1f} times as much as "
        "one of the rarest",
        cause="the classes' frequencies were given as their weights, and not the inverse",
        cure="take weights proportional to 1 / frequency (pos_weight: negatives / positives), or "
        "none",
        evidence={"apart": apart},
    )


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])
