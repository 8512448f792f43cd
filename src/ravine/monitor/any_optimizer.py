"""Whichever optimizer steps weights of a network, for a loop that has none to give.

    with ravine.Monitor(model, None) as monitor: ...

It has the part of an optimizer that a monitor uses. Before the first step its rate is not known.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle


@final
class AnyOptimizer:
    """Stands for the optimizer that steps weights at the time.

    Args:
        parameters: of any shape, of which it holds one at least.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters, self._ids = list(parameters), {id(p) for p in parameters}
        self._current: Optimizer | None = None

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of the one that stepped last."""
        if self._current is None:
            return [{"params": self._parameters, "lr": math.nan}]
        return self._current.param_groups

    @property
    def state(self) -> Any:
        """The state of the one that stepped last, by parameter."""
        return {} if self._current is None else self._current.state

    def covers(self, optimizer: Optimizer) -> bool:
        """Returns whether an optimizer holds one of the parameters."""
        return any(id(p) in self._ids for g in optimizer.param_groups for p in g["params"])

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook` before each step of an optimizer that holds one of the parameters."""

        def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            if self.covers(optimizer):
                self._current = optimizer
                hook(optimizer, args, kwargs)

        return register_optimizer_step_pre_hook(before)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook` after each step of an optimizer that holds one of the parameters."""

        def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            if self.covers(optimizer):
                hook(optimizer, args, kwargs)

        return register_optimizer_step_post_hook(after)
