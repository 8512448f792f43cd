"""Puts trained tensors into a network of other classes or channels.

Stem. The trained filters of S channels meet images of C channels so that the output keeps its
scale: for C = 1 the filters of all channels are summed, which for grey images is what their copies
in every channel would give; else channel c takes filter c mod S, times S/C. It is timm's rule.

Head. A class that the weights know by its name keeps its row; the others keep fresh ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ravine.weights.tensor_matching import Match, match_tensors
from ravine.weights.trained_weights import TrainedWeights


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A network's tensors after trained ones were put in, and what was done.

    Attributes:
        tensors: the whole state dict.
        match: which trained tensor became which.
        kept: the classes whose rows of the head were kept.
        head: name of the module that gives the logits; None where there is none.
        notes: what was done, in sentences.
    """

    tensors: Mapping[str, Tensor]
    match: Match
    kept: tuple[str, ...]
    head: str | None
    notes: tuple[str, ...]


def stem_weight(weight: Tensor, channels: int) -> Tensor:
    """Returns filters (O, S, H, W) for images of C channels, (O, C, H, W); see the head.

    >>> stem_weight(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1), 1).flatten()
    tensor([6.])
    >>> stem_weight(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1), 5).flatten()
    tensor([0.6000, 1.2000, 1.8000, 0.6000, 1.2000])
    """
    trained = weight.shape[1]
    if channels == trained:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    index = torch.arange(channels, device=weight.device) % trained
    return weight[:, index] * (trained / channels)


def class_rows(classes: Sequence[str], trained: Sequence[str]) -> dict[int, int]:
    """Returns the row of each class that the weights know by its name, by its row here.

    Case and surrounding blanks do not count, where that leaves one class only.

    >>> class_rows(["Cat", "emu"], ["dog", "cat"])
    {0: 1}
    """
    exact = {name: row for row, name in enumerate(trained)}
    loose: dict[str, int | None] = {}
    for row, name in enumerate(trained):
        key = name.strip().casefold()
        loose[key] = None if key in loose else row
    found = {row: exact.get(n, loose.get(n.strip().casefold())) for row, n in enumerate(classes)}
    return {row: there for row, there in found.items() if there is not None}


@torch.no_grad()
def adapt(
    model: nn.Module, weights: TrainedWeights, *, classes: Sequence[str], head: str | None
) -> Adapted:
    """Returns the state dict of a network with trained tensors in it; the network stays.

    Args:
        model: with fresh weights, which stay where the trained ones have nothing.
        weights: the trained tensors.
        classes: names of the K classes here.
        head: name of the module that gives the logits; None where there is none.

    Raises:
        RunError: the weights do not fit the network.
    """
    own = model.state_dict()
    match = match_tensors(
        {name: tuple(value.shape) for name, value in own.items()},
        {name: tuple(value.shape) for name, value in weights.tensors.items()},
        head=head,
        source=weights.source,
        model=weights.model,
    )
    tensors = {name: value.detach().clone() for name, value in own.items()}
    for here, there in match.names.items():
        trained = weights.tensors[there].to(tensors[here])
        if here == match.stem:
            trained = stem_weight(trained, tensors[here].shape[1])
        tensors[here].copy_(trained)
    rows = class_rows(classes, weights.classes) if match.head else {}
    for here, there in match.head.items():
        for row, trained_row in rows.items():
            if trained_row < len(weights.tensors[there]):
                tensors[here][row] = weights.tensors[there][trained_row].to(tensors[here])
    kept = tuple(classes[row] for row in rows)
    notes = (*_stem_note(match, own, weights), _match_note(match), _head_note(classes, kept))
    return Adapted(tensors=tensors, match=match, kept=kept, head=head, notes=notes)


def _match_note(match: Match) -> str:
    total = len(match.names)
    left = f"; left out: {', '.join(match.left)}" if match.left else ""
    if match.by == "name":
        return f"{total} tensors taken by name{left}"
    first = ", ".join(match.lines()[:3])
    return f"{total} tensors taken by shape and order: {first}, … (weights.json lists them){left}"


def _stem_note(match: Match, own: Mapping[str, Tensor], weights: TrainedWeights) -> tuple[str, ...]:
    if match.stem is None:
        return ()
    here = own[match.stem].shape[1]
    there = weights.tensors[match.names[match.stem]].shape[1]
    how = (
        "the sum of the filters of all channels"
        if here == 1
        else f"channel c takes filter c mod {there}, times {there}/{here}"
    )
    return (f"stem {match.stem}: trained on {there} channels, here {here}: {how}",)


def _head_note(classes: Sequence[str], kept: Sequence[str]) -> str:
    if len(kept) == len(classes):
        return f"head kept: all {len(classes)} classes are known by name"
    if not kept:
        return f"head made anew for {len(classes)} classes"
    few = ", ".join(kept[:5]) + (", …" if len(kept) > 5 else "")
    return f"head: {len(kept)} of {len(classes)} classes kept by name ({few}), the others made anew"
