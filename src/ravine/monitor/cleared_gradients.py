"""Whether the gradients of a step are cleared before the next one adds to them.

torch counts writes to a tensor: where a gradient is the same tensor as before the pass, held other
numbers than 0 then, and was written to once for each pass, nothing but the passes has written to
it. One small parameter tells it for all, in the first steps.
"""

from collections.abc import Sequence
from typing import NamedTuple, final

from torch import Tensor

_STEPS = 16  # that are looked at: each reads one number from the device


class _Left(NamedTuple):
    gradient: Tensor | None
    version: int
    is_something: bool


@final
class ClearedGradients:
    """Counts the steps that add to the gradients of the step before.

    Args:
        parameters: that are watched.

    Attributes:
        left: steps that began with the gradients of the one before.
        known: steps of which that is known.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        self._sampled: Tensor | None = None
        self._before: _Left | None = None
        self._passes = self.left = self.known = 0

    def on_pass(self) -> None:
        """Takes the gradients as they are before a forward pass with gradients."""
        self._passes += 1
        p = self._sampled
        if p is None or self._before is not None or self.known >= _STEPS:
            return
        version = -1 if p.grad is None else p.grad._version
        self._before = _Left(p.grad, version, p.grad is not None and bool(p.grad.any()))

    def after_step(self) -> None:
        """Compares them with the gradients that the step used."""
        before, passes = self._before, self._passes
        self._before, self._passes = None, 0
        if self._sampled is None:
            with_gradients = [p for p in self._parameters if p.grad is not None]
            self._sampled = min(with_gradients, key=lambda p: p.numel(), default=None)
        elif before is not None and self._sampled.grad is not None:
            now = self._sampled.grad
            is_same = now is before.gradient and now._version == before.version + passes
            self.known += 1
            self.left += is_same and before.is_something
