"""Which classes a loss passes over, or counts for little: by its slopes on made-up outputs."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.findings.finding import Finding
from ravine.findings.thresholds import WEIGHED_APART

_IGNORED = -100  # the label that torch's losses pass over
_MOST = 1024  # labels of examples that are tried
_TRIES = 2
_SAME_ORDER = 0.8  # correlation of the logarithms of weights and counts


def check_class_weights(context: CheckContext) -> Iterator[Finding]:
    """Yields classes without a gradient, and weights that are larger the commoner a class is."""
    measured = context.measured
    if measured.logits is not None:
        known = [one.labels for one in context.samples if one.labels is not None]
        labels = torch.cat(known)
        labels = labels[labels != _IGNORED]
        shape = (min(_MOST, len(labels)), measured.logits.shape[1])
        silent = list(_ignored(context, labels[:_MOST], torch.Size(shape)))
        yield from silent or _turned(context, labels, measured.logits.shape[1])
    elif measured.dense is not None:
        labels = context.samples[0].targets[: len(measured.dense)]
        if not bool((labels == _IGNORED).any()):
            yield from _ignored(context, labels, measured.dense.shape)


def _ignored(context: CheckContext, labels: Tensor, shape: torch.Size) -> Iterator[Finding]:
    """Yields classes on whose examples the loss has no gradient, whatever the outputs are.

    Args:
        context: of the checks.
        labels: (N, …).
        shape: (N, K, …) of the outputs.
    """
    generator = torch.Generator().manual_seed(0)
    silent: Tensor | None = None
    for _ in range(_TRIES):
        drawn = torch.randn(shape, generator=generator).to(labels.device)
        slope = _slope(context, drawn, labels)
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


def _turned(context: CheckContext, labels: Tensor, classes: int) -> Iterator[Finding]:
    """Yields weights of classes that rise with their counts, where they should fall or be equal."""
    counts = labels.bincount(minlength=classes)[:classes]
    present = counts.nonzero().flatten()
    if len(present) < 2:
        return
    slope = _slope(context, torch.zeros(len(present), classes).to(labels.device), present)
    if slope is None:
        return
    weights, seen = slope.norm(dim=1).double(), counts[present].double()
    if not bool((weights > 0).all()) or float(seen.max() / seen.min()) < WEIGHED_APART:
        return
    apart = float(weights.max() / weights.min())
    if apart > WEIGHED_APART and _correlation(weights.log(), seen.log()) > _SAME_ORDER:
        yield Finding(
            severity="warning",
            code="loss-ignores-examples",
            seen=f"the loss counts an example of the commonest class {apart:.1f} times as much as "
            "one of the rarest",
            cause="the classes' frequencies were given as their weights, and not the inverse",
            cure="take weights proportional to 1 / frequency, or none",
            evidence={"apart": apart},
        )


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def _slope(context: CheckContext, out: Tensor, labels: Tensor) -> Tensor | None:
    out = out.detach().requires_grad_()
    try:
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(context.loss(out, labels), out)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
        return None
    return slope
