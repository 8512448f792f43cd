"""Labels of which each kind of example has two, one number apart: parts were counted differently.

A folder that lacks a class counts on without it. Examples of one kind then have the labels k and
k − 1 in fixed shares, so that no neighbourhood has one label alone, for several classes in a row.
Classes that are hard to tell apart, or an order of sizes, leave some neighbourhoods pure; labels
drawn at random leave none with two labels and no more.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ravine.findings.finding import Finding
from ravine.findings.thresholds import DOUBLED, DOUBLED_PURE

_NEIGHBOURS = 20
_FEWEST, _EACH = 10, 20  # neighbourhoods of a label, and examples of a class on average
_QUANTILE = 0.8  # of the neighbourhoods of a label
_SIZES = 0.92  # correlation of classes' distance with that of their numbers, of an order of sizes
_CLASSES, _MOSTLY = 3, 0.75  # labels in a row, and of all that have two


def find_two_numberings(inputs: Tensor, labels: Tensor) -> Iterator[Finding]:
    """Yields labels (N,) from 0 on, of inputs (N, D), that are mixed with their neighbours' number.

    Args:
        inputs: of all examples.
        labels: that go with them, each once.
    """
    present = len(labels.unique())
    if present < _CLASSES + 1 or len(labels) < _EACH * present:
        return
    partners = _partners(inputs, labels)
    beside = [k for k, other in partners.items() if abs(other - k) == 1]
    if len(beside) < max(_CLASSES, _MOSTLY * len(partners)) or _order(inputs, labels) > _SIZES:
        return
    shown = ", ".join(f"{k} and {partners[k]}" for k in beside[:4])
    yield Finding(
        severity="warning",
        code="label-noise",
        seen=f"examples that are alike have two labels, one number apart, in every neighbourhood "
        f"({shown}): so in {len(beside)} of {present} classes",
        cause="a part of the data numbers its classes differently: a folder lacks one, and counts "
        "on without it",
        cure="take one table of classes for all parts; count the labels of each part, and look at "
        "examples of one label in each",
        evidence={"labels": float(len(beside)), "classes": float(present)},
    )


def _partners(inputs: Tensor, labels: Tensor) -> dict[int, int]:
    """Returns the labels of which no neighbourhood is pure, each with the one beside it there."""
    x = inputs.double() - inputs.double().mean(0)
    near = torch.cdist(x, x).topk(min(_NEIGHBOURS, len(x)), largest=False).indices
    shares = one_hot(labels[near], int(labels.max()) + 1).double().mean(1)
    values, places = shares.topk(2, 1)
    found: dict[int, int] = {}
    for k in labels.unique().tolist():
        own = places[:, 0] == k
        if int(own.sum()) < _FEWEST:
            continue
        purest = float(values[own, 0].quantile(_QUANTILE))
        both = float(values[own].sum(1).quantile(_QUANTILE))
        if purest < DOUBLED_PURE and both > DOUBLED:
            found[k] = int(places[own, 1].mode().values)
    return found


def _order(inputs: Tensor, labels: Tensor) -> float:
    """Returns how far the distances of the classes' mean inputs go with those of their numbers.

    Of classes that are no neighbours, whose examples a change of numbers does not mix.
    """
    classes = labels.unique()
    means = torch.stack([inputs[labels == k].double().mean(0) for k in classes])
    apart = (classes[:, None] - classes[None]).abs().double()
    pairs = (apart > 1).triu(1)
    both = torch.stack([torch.cdist(means, means)[pairs], apart[pairs]])
    return float(torch.corrcoef(both)[0, 1])
