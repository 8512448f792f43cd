"""Checks of integer labels: their range, their balance and their order."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.check_batch import take_batches
from ravine.checks.class_weights import are_passed_over, weighs_rarer_more
from ravine.checks.context import CheckContext
from ravine.checks.label_meaning import are_no_indices, corrects_frequency
from ravine.checks.label_order import are_composed, are_groups
from ravine.checks.labels_ahead import labels_ahead
from ravine.findings.finding import Finding
from ravine.findings.thresholds import IMBALANCE, IMBALANCE_FROM, UNSHUFFLED

IGNORED = -100  # the label that torch's losses pass over
_RARE_IN_A_BATCH = 0.5  # examples of a kind, on average


def check_labels(context: CheckContext) -> Iterator[Finding]:
    """Yields what is wrong with integer labels, their range first.

    The number of classes is that of the columns of the output, where it is a row for each label.
    """
    classes = context.measured.columns
    batches = [sample.labels for sample in context.samples]
    found = [b[b != IGNORED] for b in batches if b is not None]
    if not found:
        yield from _rare_targets(context)
        return
    labels = torch.cat(found)
    if classes is not None:
        beyond = labels[(labels < 0) | (labels >= classes)].unique()
        if len(beyond) and are_no_indices(context, beyond, classes):
            classes = None
        elif len(beyond) and not are_passed_over(context, beyond, classes):
            yield _out_of_range(int(labels.min()), int(labels.max()), classes)
            return
    if classes is not None:
        found = [b[(b >= 0) & (b < classes)] for b in found]
        labels = torch.cat(found)
    is_met = classes is not None and (
        weighs_rarer_more(context, labels, classes) or corrects_frequency(context, labels, classes)
    )
    if context.measured.columns != 1 or len(labels.unique()) == 2:  # else they are numbers
        yield from _balance(_with_later(context, labels), is_met=is_met)
    yield from _shuffling(context, found, labels)


def _with_later(context: CheckContext, labels: Tensor, *, kept: bool = True) -> Tensor:
    """Returns labels with those of batches from a whole list: some kinds may come later.

    Of the kinds that came before alone, where these are `kept`.
    """
    source, first = context.source, len(context.samples)
    if not isinstance(source, list | tuple) or len(source) < 2 * first:
        return labels
    spread = source[first :: max(1, len(source) // first)]
    later = [one.labels for one in take_batches(spread, labels.device)]
    kinds = labels.unique()
    known = [b[torch.isin(b, kinds)] if kept else b for b in later if b is not None]
    return torch.cat([labels, *known])


def _out_of_range(low: int, high: int, classes: int) -> Finding:
    from_one = low >= 1 and high == classes
    return Finding(
        severity="critical",
        code="labels-out-of-range",
        seen=f"labels run from {low} to {high}, and the network has {classes} outputs, "
        f"0 to {classes - 1}",
        cause="the labels are counted from 1" if from_one else "labels and last layer do not fit",
        cure="subtract 1 from the labels"
        if from_one
        else f"give the last layer {high + 1} outputs",
        evidence={"lowest": low, "highest": high, "classes": classes},
    )


def _balance(labels: Tensor, *, is_met: bool) -> Iterator[Finding]:
    kinds, counts = labels.unique(return_counts=True)
    if len(labels) < IMBALANCE_FROM or len(kinds) < 2:
        return
    ratio = float(counts.max() / counts.min())
    if ratio > IMBALANCE:
        common, rare = int(kinds[counts.argmax()]), int(kinds[counts.argmin()])
        yield Finding(
            severity="note" if is_met else "warning",
            code="imbalance",
            seen=f"class {common} is {ratio:.0f} times as frequent as class {rare}"
            + ("; the loss makes up for it" if is_met else ""),
            cause="the data holds few examples of some classes",
            cure="weigh the loss by class (--balance loss), or draw rare ones more often "
            "(--balance sample), and judge by recall of each class",
            evidence={"ratio": ratio, "labels": len(labels)},
            changes={"balance": "loss"},
        )


def _rare_targets(context: CheckContext) -> Iterator[Finding]:
    """Yields targets of 0 and 1, one an example, of which one kind is in few batches."""
    targets = [s.targets for s in context.samples]
    known = [t for t in targets if isinstance(t, Tensor) and t.is_floating_point()]
    if len(known) < len(targets) or any(t.numel() != len(t) for t in known):
        return
    whole = torch.cat([t.flatten() for t in known])
    if len(whole) < IMBALANCE_FROM or not bool(((whole == 0) | (whole == 1)).all()):
        return
    ones = int(whole.sum())
    rare = min(ones, len(whole) - ones)
    if 0 < rare < _RARE_IN_A_BATCH * len(known):
        kind = int(ones == rare)
        yield Finding(
            severity="warning",
            code="imbalance",
            seen=f"{rare} of {len(whole)} targets are {kind}, the others {1 - kind}: most batches "
            f"hold no {kind}",
            cause="examples or pairs were drawn so that one kind is hardly among them",
            cure="draw both kinds about as often (as many pairs that differ as pairs that are "
            "alike), or weigh the rare one (pos_weight)",
            evidence={"rare": float(rare), "targets": float(len(whole))},
            changes={"balance": "sample"},
        )


def _is_one_in_all(context: CheckContext, labels: Tensor) -> bool:
    """Returns whether one label is that of all there is: a place (the match), or one class."""
    source, seen = context.source, len(context.samples)
    if bool((labels != labels[:1]).any()):
        return False
    if isinstance(source, list | tuple):
        more = len(source) >= 2 * seen
        return more and not bool((_with_later(context, labels, kept=False) != labels[:1]).any())
    later = labels_ahead(source, labels.device, seen=seen)
    return later is not None and not bool((later != labels[0]).any())


def _shuffling(
    context: CheckContext, batches: Sequence[Tensor], labels: Tensor
) -> Iterator[Finding]:
    """χ² of the labels by batch: shuffled batches all have the same mixture."""
    if len(batches) < 2 or len(labels) < 4 * len(batches) or _is_one_in_all(context, labels):
        return
    kinds = labels.unique()  # any whole numbers
    classes = len(kinds)
    places = [torch.searchsorted(kinds, b) for b in batches]
    table = torch.stack([b.bincount(minlength=classes) for b in places]).double()
    if classes > 1:
        expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        freedom = (len(batches) - 1) * (classes - 1)
        ratio = float(((table - expected).square() / expected).sum()) / freedom
    else:
        ratio = math.inf
    if ratio > UNSHUFFLED and not (are_composed(context, table) or are_groups(table, ratio)):
        each = float((table > 0).sum(1).double().mean())
        yield Finding(
            severity="critical",
            code="not-shuffled",
            seen=f"a batch holds {each:.1f} classes on average, and {len(batches)} batches hold "
            + (f"{classes} together" if classes > 1 else "one and the same"),
            cause="the examples come in the order of their classes",
            cure="shuffle them before every epoch: DataLoader(..., shuffle=True)",
            evidence={"chi_square_ratio": min(ratio, 1e9), "classes_per_batch": each},
        )
