"""The batches that are checked, in one form.

A batch is a pair (inputs, targets), several inputs and then the targets, or an object with
`images` and `targets`. Inputs may be a tensor, a tuple of arguments or a dictionary of named ones.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ravine.core.batch_form import check_batches, inputs_and_targets
from ravine.core.errors import SettingError
from ravine.core.nested import (
    batch_size,
    join_examples,
    slice_examples,
    tensors_in,
    to_device,
)

_BATCHES = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckBatch:
    """One batch of N examples.

    Attributes:
        inputs: a tensor (N, …), a tuple of arguments, or a dictionary of named ones.
        targets: second argument of the loss.
        original: the batch as the iterable gave it, for the user's own step.
        is_whole: the network takes no part of it.
    """

    inputs: Any
    targets: Any
    original: Any
    is_whole: bool = False

    def __len__(self) -> int:
        return batch_size(self.inputs)

    def first(self, count: int, *, start: int = 0) -> "CheckBatch":
        """Returns `count` examples of this batch, from `start` on.

        All of them where there are more or fewer targets than inputs: an episode, whose inputs
        hold what its targets are told from. All of a batch that is taken as a whole, too.
        """
        targets = self.targets
        if self.is_whole:
            return self
        if isinstance(targets, Tensor) and targets.dim() and len(targets) != len(self):
            return self
        inputs, targets = slice_examples(
            (self.inputs, self.targets), count, start=start, size=len(self)
        )
        return CheckBatch(inputs=inputs, targets=targets, original=self.original)

    @property
    def float_inputs(self) -> list[Tensor]:
        """The floating inputs of two dimensions or more, (N, …) each."""
        return [t for t in tensors_in(self.inputs) if t.is_floating_point() and t.dim() > 1]

    @property
    def labels(self) -> Tensor | None:
        """The integer labels (N,), None where targets are something else."""
        targets = self.targets
        if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.dim() != 1:
            return None
        return targets

    @property
    def label_rows(self) -> Tensor | None:
        """Several labels an example as rows of 0 and 1, (N, K); None where targets are not that."""
        targets = self.targets
        if not isinstance(targets, Tensor) or targets.dim() != 2 or targets.shape[1] < 2:
            return None
        return targets if bool(((targets == 0) | (targets == 1)).all()) else None


def joined(samples: Sequence[CheckBatch]) -> CheckBatch:
    """Returns small batches as one; the first alone where they cannot be put together."""
    inputs, targets = join_examples([(one.inputs, one.targets) for one in samples])
    return CheckBatch(inputs=inputs, targets=targets, original=None)


def logits_of(output: object, sample: CheckBatch) -> Tensor | None:
    """Returns the output of a batch where it is a row (N, K) per label with K > 1, else None."""
    rows = rows_of(output, sample)
    return None if rows is None or rows.shape[1] < 2 else rows


def rows_of(output: object, sample: CheckBatch) -> Tensor | None:
    """Returns the output of a batch where it is one row (N, K) per label, else None."""
    labels = sample.labels
    if labels is None or not isinstance(output, Tensor):
        return None
    fits = output.dim() == 2 and output.is_floating_point() and len(output) == len(labels)
    return output if fits else None


def dense_logits_of(output: object, sample: CheckBatch) -> Tensor | None:
    """Returns the output of a batch where it is (N, K, …) for labels (N, …), else None."""
    labels = sample.targets
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dim() < 2:
        return None
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() < 3:
        return None
    fits = output.shape[1] > 1 and labels.shape == (len(output), *output.shape[2:])
    return output if fits else None


def take_batches(batches: Iterable[Any], device: torch.device) -> tuple[CheckBatch, ...]:
    """Returns the first batches on a device.

    Raises:
        SettingError: there are none, or one is not of a form that is known.
    """
    check_batches(batches)
    found = tuple(_check_batch(one, device) for one in itertools.islice(batches, _BATCHES))
    if not found:
        raise SettingError("batches is empty; pass at least one (inputs, targets)")
    return found


def _check_batch(batch: Any, device: torch.device) -> CheckBatch:
    inputs, targets = inputs_and_targets(batch)
    return CheckBatch(
        inputs=to_device(inputs, device), targets=to_device(targets, device), original=batch
    )
