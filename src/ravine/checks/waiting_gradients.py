"""Gradients of calls of a step in which no optimizer stepped: they wait for one that does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ravine.checks.step_record import StepRecord
from ravine.core.nested import batch_size, map_tensors

_WATCHED = 4  # parameters whose gradients are seen as they are made


@final
@dataclass(slots=True)
class WaitingGradients:
    """Whether gradients are cleared before an optimizer has used them.

    Attributes:
        has_stepped: whether any optimizer did; set from outside.
        call: the last one whose gradients are finite and not 0; -1 before the first.
        part: the call in which a part of the batch has made gradients since the last pass; -1
            where none has.
    """

    has_stepped: bool = False
    call: int = -1
    part: int = -1

    def hooks(self, parameters: Sequence[Tensor], record: StepRecord) -> list[RemovableHandle]:
        """Returns hooks that see gradients as backward passes make them.

        Args:
            parameters: of the network, of any shape.
            record: of the calls, whose number it holds.
        """

        def note(parameter: Tensor) -> None:
            self.note(record.calls, parameter)

        learning = [p for p in parameters if p.requires_grad and p.is_leaf]
        return [p.register_post_accumulate_grad_hook(note) for p in learning[:_WATCHED]]

    def note(self, call: int, parameter: Tensor) -> None:
        """Takes note of the gradient of a parameter, of any shape, that a call has made."""
        if self.call == self.part == call or parameter.grad is None:
            return
        gradient = parameter.grad.detach()
        numbers = gradient.coalesce().values() if gradient.is_sparse else gradient
        size = float(numbers.abs().max()) if numbers.numel() else 0.0
        if 0 < size < math.inf:
            self.call = self.part = call

    def begin_pass(
        self, record: StepRecord, parameters: Sequence[Tensor], inputs: tuple[Any, ...]
    ) -> None:
        """Notes a pass of some inputs, and which gradients, of any shape, are gone before it."""
        record.parts.append(batch_size(inputs))
        record.fed = map_tensors(inputs, Tensor.detach)
        record.lost += self._loses(record, parameters)
        record.dropped += self._drops(record, parameters)

    def _drops(self, record: StepRecord, parameters: Sequence[Tensor]) -> bool:
        """Returns whether the gradients, of any shape, of the call before are gone."""
        if self.has_stepped or record.calls == 0 or self.call != record.calls - 1:
            return False
        self.call = -1  # once for each call
        return _are_gone(parameters)

    def _loses(self, record: StepRecord, parameters: Sequence[Tensor]) -> bool:
        """Returns whether the gradients, of any shape, of a pass before in this call are gone."""
        is_waiting, self.part = self.part == record.calls, -1
        return is_waiting and not self.has_stepped and _are_gone(parameters)


def _are_gone(parameters: Sequence[Tensor]) -> bool:
    return not any(p.grad is not None and bool(p.grad.any()) for p in parameters)
