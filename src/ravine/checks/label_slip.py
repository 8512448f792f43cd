"""Targets that slipped against their examples: whether they fit the ones before or after better."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from ravine.core.preserve_random import preserve_random
from ravine.findings.thresholds import LABELS_RELATED

_CERTAIN = 6.0  # standard deviations above chance, of another order
_ROWS, _SECONDS = 512, 2.0  # of a data set in its own order


@dataclass(frozen=True, slots=True)
class Slip:
    """Another order of targets that fits the inputs.

    Attributes:
        words: which examples they belong to.
        own: how well they go with their own examples, in standard deviations above chance.
        other: how well with those.
    """

    words: str
    own: float
    other: float


def find_slip(
    related: Callable[[Sequence[Tensor]], float], targets: Sequence[Tensor]
) -> Slip | None:
    """Returns the order of the batches' targets (N, …) that fits their inputs, if one does.

    Args:
        related: how well targets go with the inputs, in standard deviations above chance.
        targets: of each batch, in the order of the inputs.
    """
    own = related(targets)
    if abs(own) > LABELS_RELATED:  # below chance neighbours tell of something else
        return None
    found = {words: related(other) for words, other in _orders(targets)}
    best, second = sorted(found, key=lambda words: found[words], reverse=True)[:2]
    # Where several orders fit, it is the order of the examples that tells something.
    is_one = found[best] > max(_CERTAIN, 2 * found[second])
    return Slip(best, own, found[best]) if is_one else None


def _orders(targets: Sequence[Tensor]) -> Iterator[tuple[str, Sequence[Tensor]]]:
    for shift in (1, -1, 2, -2):
        where = "before" if shift < 0 else "after"
        rows = "the example" if abs(shift) == 1 else f"that {abs(shift)} rows"
        yield f"{rows} {where} it in the batch", [y.roll(-shift, 0) for y in targets]
    yield "the batch in reverse order", [y.flip(0) for y in targets]
    if len(targets) > 2 and len({len(y) for y in targets}) == 1:
        for shift, name in ((1, "the next batch"), (-1, "the batch before")):
            yield name, [targets[(n - shift) % len(targets)] for n in range(len(targets))]


def rows_in_order(batches: Any) -> tuple[Tensor, Tensor] | None:
    """Returns the first rows of a loader's data set in its own order, (M, …) and labels (M,).

    None where `batches` has no data set of pairs of a tensor and a number. Random states stay.
    """
    rows = getattr(batches, "dataset", None)
    while isinstance(rows, Subset):
        rows = rows.dataset
    if rows is None or not hasattr(rows, "__getitem__") or not hasattr(rows, "__len__"):
        return None
    inputs, labels, began = list[Tensor](), list[int](), time.monotonic()
    try:
        with preserve_random():
            for n in range(min(_ROWS, len(rows))):
                pair = rows[n]
                inputs.append(torch.as_tensor(pair[0]))
                labels.append(int(pair[1]))
                if time.monotonic() - began > _SECONDS:
                    break
    except Exception:  # the user's data set, in an order that it may not be made for
        return None
    if not inputs or len({x.shape for x in inputs}) > 1:
        return None
    return torch.stack(inputs), torch.tensor(labels)
