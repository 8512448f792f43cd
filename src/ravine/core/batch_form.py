"""The forms in which a loop's batches come: pairs, several inputs and the targets, or an object."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ravine.core.errors import SettingError
from ravine.core.nested import tensors_in


def check_batches(batches: Any) -> None:
    """Raises `SettingError` unless `batches` can be gone through."""
    if isinstance(batches, Tensor) or not isinstance(batches, Iterable):
        raise SettingError(
            f"batches must be an iterable of (inputs, targets), got {type(batches).__name__}; "
            "pass a DataLoader, or a list such as [(images, labels)]"
        )


def inputs_and_targets(batch: Any) -> tuple[Any, Any]:
    """Returns what the model and the loss take of a batch.

    Args:
        batch: a pair (inputs, targets), several inputs and then the targets, or an object with
            `images` and `targets`. Inputs may be nested: a tuple of arguments, a dictionary.

    Raises:
        SettingError: it is of another form, or its inputs hold no tensor.

    >>> inputs_and_targets([Tensor([1.0]), Tensor([2.0])])
    (tensor([1.]), tensor([2.]))
    """
    if hasattr(batch, "images") and hasattr(batch, "targets"):
        inputs, targets = batch.images, batch.targets
    elif isinstance(batch, tuple | list) and len(batch) >= 2:
        inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        targets = batch[-1]
    else:
        raise SettingError(
            f"a batch is {type(batch).__name__}, not (inputs, targets); pass pairs, "
            "for example ((batch['x'], batch['y']) for batch in loader)"
        )
    if not tensors_in(inputs):
        raise SettingError(
            f"a batch's inputs are {type(inputs).__name__} without a tensor; pass tensors"
        )
    return inputs, targets
