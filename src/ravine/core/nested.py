"""Values in nested tuples, lists and mappings: what networks are called with and return."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """Returns `value` with `change` applied to whatever is no tuple, list or mapping in it.

    A mapping becomes a dictionary; a NamedTuple stays one.

    >>> map_leaves({"x": (1, [2])}, lambda number: number + 1)
    {'x': (2, [3])}
    """
    if isinstance(value, Mapping):
        return {key: map_leaves(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a NamedTuple
        # Not by the class: torch's PackedSequence asks more of what it is made from.
        make: Callable[[Any], Any] = type(value)._make  # type: ignore[attr-defined]
        return make(map_leaves(item, change) for item in value)
    if isinstance(value, tuple | list):
        items = [map_leaves(item, change) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return change(value)


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Returns `value` with `change` applied to its tensors, of any shape; all else stays.

    >>> map_tensors({"x": (torch.ones(2), "y")}, lambda t: t + 1)
    {'x': (tensor([2., 2.]), 'y')}
    """
    return map_leaves(value, lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf)


def leaves_in(value: Any) -> list[Any]:
    """Returns what is no tuple, list or mapping in a nested value, in its order."""
    found: list[Any] = []
    map_leaves(value, found.append)
    return found


def tensors_in(value: Any) -> list[Tensor]:
    """Returns the tensors, of any shape, in nested tuples, lists and mappings, in their order."""
    return [leaf for leaf in leaves_in(value) if isinstance(leaf, Tensor)]


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


def pick_examples(value: Any, indices: Tensor, *, size: int) -> Any:
    """Returns the examples at `indices` (n,) of each tensor whose length is `size`."""
    return map_tensors(
        value, lambda t: t[indices.to(t.device)] if t.dim() > 0 and len(t) == size else t
    )


def join_examples(values: Sequence[Any]) -> Any:
    """Returns nested values of one form as one, their examples one behind the other.

    The first alone where shapes, or what is no tensor, differ. Tensors that are as long as the
    first one of their value hold examples; of others that of the first value stays.

    >>> join_examples([(torch.zeros(2), "a"), (torch.ones(1), "a")])
    (tensor([0., 0., 1.]), 'a')
    """
    sizes = [batch_size(value) for value in values]
    rows = [tensors_in(value) for value in values]
    shapes = [[t.shape[1:] for t in row] for row in rows]
    others = [[leaf for leaf in leaves_in(v) if not isinstance(leaf, Tensor)] for v in values]
    if any(one != shapes[0] for one in shapes) or any(one != others[0] for one in others):
        return values[0]
    parts = iter(zip(*rows, strict=True))

    def joined(first: Tensor) -> Tensor:
        found = next(parts)
        are_batched = all(t.dim() and len(t) == n for t, n in zip(found, sizes, strict=True))
        return torch.cat(found) if are_batched else first

    return map_tensors(values[0], joined)


def to_device(value: Any, device: torch.device) -> Any:
    """Returns `value` with its tensors on `device`, without their gradients' history."""
    return map_tensors(value, lambda tensor: tensor.detach().to(device))


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Returns the model's output: a tuple or list holds its arguments, a mapping named ones.

    Or any of them is its one argument, where `forward` cannot take them apart and can take them
    whole: such as a pair of `forward(self, pair)`.
    """
    is_named = isinstance(inputs, Mapping)
    if not is_named and not isinstance(inputs, tuple | list):
        return model(inputs)
    args, kwargs = ((), inputs) if is_named else (inputs, {})
    if not _takes(model, args, kwargs) and _takes(model, (inputs,), {}):
        return model(inputs)
    return model(*args, **kwargs)


def _takes(model: nn.Module, args: Sequence[Any], kwargs: Mapping[Any, Any]) -> bool:
    """Returns whether `forward` has places for these arguments; True where that is not known.

    A switch or a number by default, such as `scale=1.0`, is no place for a tensor.
    """
    try:
        form = inspect.signature(model.forward)
    except (TypeError, ValueError):  # of a scripted module, perhaps
        return True
    try:
        given = form.bind(*args, **kwargs).arguments
    except TypeError:
        return False
    plain = [n for n, one in form.parameters.items() if isinstance(one.default, int | float | str)]
    return not any(name in given and tensors_in(given[name]) for name in plain)
