"""Tensors in nested tuples, lists and dictionaries: what networks are called with and return."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Returns `value` with `change` applied to each of its tensors; anything else stays.

    >>> map_tensors({"x": (torch.ones(2), "y")}, lambda t: t + 1)
    {'x': (tensor([2., 2.]), 'y')}
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: map_tensors(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a NamedTuple
        return type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(item, change) for item in value)
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """Returns the tensors in nested tuples, lists and dictionaries, in their order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, keep)
    return found


def batch_size(value: Any) -> int:
    """Returns the length of the first tensor; 0 where there is none or it has no dimension."""
    found = tensors_in(value)
    return len(found[0]) if found and found[0].dim() else 0


def slice_examples(value: Any, count: int, *, start: int = 0, size: int) -> Any:
    """Returns `count` examples from `start` on of each tensor whose length is `size`."""

    def cut(tensor: Tensor) -> Tensor:
        is_batched = tensor.dim() > 0 and len(tensor) == size
        return tensor[start : start + count] if is_batched else tensor

    return map_tensors(value, cut)


def to_device(value: Any, device: torch.device) -> Any:
    """Returns `value` with its tensors on `device`, without their gradients' history."""
    return map_tensors(value, lambda tensor: tensor.detach().to(device))
