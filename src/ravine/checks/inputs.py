"""Checks of what is fed in: inputs and labels. They look at the batches and run nothing."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.context import Sample
from ravine.core.nested import tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import (
    IMBALANCE,
    IMBALANCE_FROM,
    LARGE_INPUTS,
    SMALL_INPUTS,
    UNSHUFFLED,
)

_IGNORED = -100  # the label that torch's losses pass over


def check_inputs(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Yields what is wrong with the inputs' values."""
    for place, tensors in enumerate(zip(*(_floats(s) for s in samples), strict=False)):
        name = f"input {place + 1}" if len(_floats(samples[0])) > 1 else "the inputs"
        yield from _values(name, tensors)


def _floats(sample: Sample) -> list[Tensor]:
    return [t for t in tensors_in(sample.inputs) if t.is_floating_point() and t.dim() > 1]


def _values(name: str, tensors: Sequence[Tensor]) -> Iterator[Finding]:
    for number, x in enumerate(tensors):
        lost = int((~x.isfinite()).sum())
        if lost:
            yield Finding(
                severity="critical",
                code="inputs-not-finite",
                seen=f"{lost} values of {name} are NaN or infinite, first in batch {number + 1}",
                cause="the data, or its normalisation (a division by a standard deviation of 0)",
                cure="find the examples with torch.isfinite and leave them out or mend them",
                evidence={"values": lost, "batch": number + 1},
            )
            return
    x = torch.cat([t.flatten(1).float() for t in tensors if t[0].shape == tensors[0][0].shape])
    rms, mean = float(x.square().mean().sqrt()), float(x.mean())
    first = tensors[0]
    if len(first) > 1 and bool((first == first[:1]).all()):
        yield Finding(
            severity="critical",
            code="inputs-alike",
            seen=f"all {len(first)} examples of the first batch are the same in {name}",
            cause="the loader returns one example again and again, or an empty picture",
            cure="look at a batch: print its first two examples, and mend the data set",
            evidence={"examples": len(first)},
        )
        return
    if not SMALL_INPUTS < rms < LARGE_INPUTS:
        small = rms <= SMALL_INPUTS
        yield Finding(
            severity="warning",
            code="inputs-not-scaled",
            seen=f"{name} have mean {mean:.3g} and root mean square {rms:.3g}; near 1 is expected",
            cause="the values come as they lie on disk"
            if not small
            else "the values are divided more than once",
            cure="subtract the mean of each channel and divide by its standard deviation",
            evidence={"mean": mean, "rms": rms},
        )


def check_labels(samples: Sequence[Sample], classes: int | None) -> Iterator[Finding]:
    """Yields what is wrong with integer labels, their range first.

    Args:
        samples: batches.
        classes: K outputs of the network, None where it is not known.
    """
    batches = [labels_of(sample) for sample in samples]
    found = [b[b != _IGNORED] for b in batches if b is not None]
    if not found:
        return
    labels = torch.cat(found)
    if classes is not None and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            yield _out_of_range(low, high, classes)
            return
    yield from _balance(labels)
    yield from _shuffling(found, labels)


def labels_of(sample: Sample) -> Tensor | None:
    """Returns the integer labels (N,) of a batch, None where targets are something else."""
    targets = sample.targets
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.dim() != 1:
        return None
    return targets


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


def _balance(labels: Tensor) -> Iterator[Finding]:
    counts = labels.bincount()
    present = counts[counts > 0]
    if len(labels) < IMBALANCE_FROM or len(present) < 2:
        return
    ratio = float(present.max() / present.min())
    if ratio > IMBALANCE:
        common, rare = int(counts.argmax()), int((counts == present.min()).nonzero()[0])
        yield Finding(
            severity="warning",
            code="imbalance",
            seen=f"class {common} is {ratio:.0f} times as frequent as class {rare}",
            cause="the data holds few examples of some classes",
            cure="weigh the loss by class (--balance loss), or draw rare ones more often "
            "(--balance sample), and judge by recall of each class",
            evidence={"ratio": ratio, "labels": len(labels)},
            changes={"balance": "loss"},
        )


def _shuffling(batches: Sequence[Tensor], labels: Tensor) -> Iterator[Finding]:
    """χ² of the labels by batch: shuffled batches all have the same mixture."""
    if len(batches) < 2 or len(labels) < 4 * len(batches):
        return
    size = int(labels.max()) + 1
    table = torch.stack([b.bincount(minlength=size) for b in batches]).double()
    table = table[:, table.sum(0) > 0]
    classes = table.shape[1]
    if classes > 1:
        expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        freedom = (len(batches) - 1) * (classes - 1)
        ratio = float(((table - expected).square() / expected).sum()) / freedom
    else:
        ratio = math.inf
    if ratio > UNSHUFFLED:
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
