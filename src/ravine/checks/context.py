"""What is checked: somebody's network, loss, batches, optimizer and step, in one form.

A batch is a pair (inputs, targets), several inputs and then the targets, or an object with
`images` and `targets`. Inputs may be a tensor, a tuple of arguments or a dictionary of named ones.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.core.errors import SettingError
from ravine.core.nested import batch_size, slice_examples, tensors_in, to_device

Loss = Callable[[Any, Any], Tensor]
Step = Callable[[Any], Any]
_BATCHES = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One batch.

    Attributes:
        inputs: a tensor, a tuple of arguments, or a dictionary of named ones.
        targets: what the loss compares with.
        given: the batch as it came, for the user's own step.
    """

    inputs: Any
    targets: Any
    given: Any

    def __len__(self) -> int:
        return batch_size(self.inputs)

    def first(self, count: int, *, start: int = 0) -> "Sample":
        """Returns `count` examples of this batch, from `start` on."""
        inputs, targets = slice_examples(
            (self.inputs, self.targets), count, start=start, size=len(self)
        )
        return Sample(inputs=inputs, targets=targets, given=self.given)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """All that a check looks at. Nothing of it is changed.

    Attributes:
        model: any module.
        loss: (output, targets) to a 0-dim tensor.
        samples: the first batches, on the model's device.
        optimizer: of the model, if it was given.
        step: the user's own training step of a batch, if it was given.
    """

    model: nn.Module
    loss: Loss
    samples: tuple[Sample, ...]
    optimizer: Optimizer | None
    step: Step | None

    def output(self, sample: Sample) -> Any:
        """Returns what the model says of a batch."""
        return call(self.model, sample.inputs)

    def value(self, sample: Sample) -> Tensor:
        """Returns the loss of a batch."""
        return self.loss(self.output(sample), sample.targets)


def call(model: nn.Module, inputs: Any) -> Any:
    """Returns model(inputs), where a tuple is several arguments and a dictionary named ones."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def take_batches(batches: Iterable[Any], device: torch.device) -> tuple[Sample, ...]:
    """Returns the first batches on a device.

    Raises:
        SettingError: there are none, or one is not of a form that is known.
    """
    if isinstance(batches, Tensor) or not isinstance(batches, Iterable):
        raise SettingError(
            f"batches must be an iterable of (inputs, targets), got {type(batches).__name__}; "
            "pass a DataLoader, or a list such as [(images, labels)]"
        )
    found = tuple(_sample(one, device) for one in itertools.islice(batches, _BATCHES))
    if not found:
        raise SettingError("batches is empty; pass at least one (inputs, targets)")
    return found


def _sample(batch: Any, device: torch.device) -> Sample:
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
    return Sample(inputs=to_device(inputs, device), targets=to_device(targets, device), given=batch)


def layer_of(model: nn.Module, parameter: Tensor) -> str:
    """Returns the dotted name of a parameter of the model, without its last part."""
    names = [name for name, p in model.named_parameters() if p is parameter]
    return names[0].rpartition(".")[0] or names[0] if names else "?"
