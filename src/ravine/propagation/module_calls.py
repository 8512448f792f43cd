"""The modules that run at a moment, seen by hooks that stand for all modules.

A model's own hooks stay as they are. The variance recording, the unit activity and the monitor's
probe all follow a forward pass by it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


@final
@dataclass(frozen=True, slots=True)
class ModuleCall:
    """A call of a module that has not returned yet.

    Attributes:
        module: what is called.
        name: its dotted name in the model; empty for the model itself and for strangers.
        inputs: the positional arguments, by reference.
    """

    module: nn.Module
    name: str
    inputs: tuple[Any, ...]

    @property
    def is_leaf(self) -> bool:
        """Whether the module holds no other module."""
        return is_leaf(self.module)


def is_leaf(module: nn.Module) -> bool:
    """Returns whether a module holds no other module."""
    return next(module.children(), None) is None


@final
class ModuleStack:
    """The calls of modules that run at a moment, the innermost last.

    Args:
        model: whose names the modules get.
    """

    def __init__(self, model: nn.Module) -> None:
        self.calls: list[ModuleCall] = []
        self._names = {module: name for name, module in model.named_modules()}

    @property
    def name(self) -> str:
        """Dotted name of the innermost module that runs; empty where none does."""
        return self.calls[-1].name if self.calls else ""

    @property
    def in_leaf(self) -> bool:
        """Whether the innermost module that runs holds no other module."""
        return bool(self.calls) and self.calls[-1].is_leaf

    @contextmanager
    def following(
        self, on_return: Callable[[ModuleCall, Any], None] | None = None
    ) -> Iterator[None]:
        """Follows the calls of all modules inside.

        Args:
            on_return: called with a call that has returned, and its output.
        """

        def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.calls.append(ModuleCall(module, self._names.get(module, ""), inputs))

        def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
            call = self.calls.pop()
            if on_return is not None:
                on_return(call, output)

        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
