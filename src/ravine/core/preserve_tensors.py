"""Tensors that somebody else's code may write into: put back afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def preserve_tensors(tensors: Sequence[Tensor]) -> Iterator[list[bool]]:
    """Puts tensors of any shapes back bitwise; the list says afterwards which were changed.

    A NaN that stays where it was is no change.
    """
    kept = [t.detach().clone() for t in tensors]
    changed: list[bool] = []
    try:
        yield changed
    finally:
        with torch.no_grad():
            for tensor, old in zip(tensors, kept, strict=True):
                changed.append(bool(_differs(tensor, old).any()))
                if changed[-1]:
                    tensor.copy_(old)


def _differs(one: Tensor, other: Tensor) -> Tensor:
    """Returns where two tensors (…) have other numbers, of the same shape."""
    return (one != other) & ((one == one) | (other == other))
