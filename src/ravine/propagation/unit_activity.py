"""How alive the units of each activation are on a batch: dead, or at the ends of their range.

Every call of an activation function is seen as it is made, as a layer or as a plain function.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

_ENDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0)}
KINDS = ("relu", *_ENDS)
_NEAR_END = 0.02  # of the range


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitActivity:
    """One call of an activation.

    Attributes:
        layer: dotted name of the module in which it ran.
        kind: relu, sigmoid, tanh or hardtanh.
        units: channels or features.
        dead: share of them that are 0 on the whole batch; of relu only.
        saturated: share of all values at the ends of the range; not of relu.
    """

    layer: str
    kind: str
    units: int
    dead: float
    saturated: float


@final
class Activity(TorchFunctionMode):
    """Collects the activity of the functions that run inside `watching()`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found: list[UnitActivity] = []
        self._names = {module: name for name, module in model.named_modules()}
        self._stack: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Calls the function, and looks at its result where it is an activation."""
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in KINDS and isinstance(out, Tensor) and out.dim() > 1 and out.is_floating_point():
            layer = self._stack[-1] if self._stack else ""
            self.found.append(unit_activity(out.detach(), name, layer))
        return out

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks at what runs inside."""

        def enter(module: nn.Module, _inputs: Any) -> None:
            self._stack.append(self._names.get(module, ""))

        def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            self._stack.pop()

        hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()


@torch.no_grad()
def unit_activity(out: Tensor, kind: str, layer: str) -> UnitActivity:
    """Returns the activity of an activation's result (N, D), (N, T, D) or (N, C, …)."""
    silent = silent_units(out)
    return UnitActivity(
        layer=layer,
        kind=kind,
        units=len(silent),
        dead=float(silent.double().mean()) if kind == "relu" else 0.0,
        saturated=float(saturation(out, kind)) if kind in _ENDS else 0.0,
    )


def silent_units(out: Tensor) -> Tensor:
    """Returns which units of (N, D), (N, T, D) or (N, C, …) are 0 on the whole batch, (units,)."""
    return (_by_unit(out) == 0).all(1)


def saturation(out: Tensor, kind: str) -> Tensor:
    """Returns the share of values at the ends of the range of sigmoid, tanh or hardtanh, 0-dim."""
    low, high = _ENDS[kind]
    near = (high - low) * _NEAR_END
    return ((out < low + near) | (out > high - near)).double().mean()


def _by_unit(out: Tensor) -> Tensor:
    units = out if out.dim() != 3 else out.transpose(1, 2)
    return units.transpose(0, 1).flatten(1)
