"""A look inside beside the training: a few examples of the last batch, forward and backward again.

The network runs eagerly, layer by layer, whatever fused or compiled code the training uses.
What the loss asks of the outputs, dL/d(output), was kept from the training's own backward pass,
so that no loss has to be known. Weights, gradients, buffers, modes and random state stay.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from ravine.core.nested import batch_size, slice_examples, tensors_in
from ravine.core.preserve_state import untouched
from ravine.propagation.unit_activity import KINDS, saturation, silent_units
from ravine.propagation.variance import WEIGHTED

INPUT = "input"
_ADDS = ("add", "iadd", "radd")


@final
@dataclass(slots=True, kw_only=True)
class LayerLook:
    """What one call of a layer showed; tensors on the device, read by nobody yet.

    Attributes:
        name: dotted, with #2 and on for further calls in one pass.
        kind: the layer's class, or the function's name.
        values: 0-dim tensors: mean, var, gradient_var, saturated, increment.
        silent: (units,) bool, the units of a ReLU that are 0 on all examples.
    """

    name: str
    kind: str
    values: dict[str, Tensor] = field(default_factory=dict)
    silent: Tensor | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a network: its arguments, and the precision that it ran in."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    device: str
    autocast: torch.dtype | None

    def first(self, count: int) -> "Call":
        """Returns the call with the first `count` examples only."""
        whole = (self.args, self.kwargs)
        args, kwargs = slice_examples(whole, count, size=batch_size(whole))
        return Call(args=args, kwargs=kwargs, device=self.device, autocast=self.autocast)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return tensors_in([self.args, self.kwargs])


@dataclass(frozen=True, slots=True)
class _Frame:
    module: nn.Module
    name: str
    inputs: tuple[Any, ...]


@final
class Probe(TorchFunctionMode):
    """Looks at every layer, activation and residual sum that runs inside `watching()`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers: dict[str, LayerLook] = {}
        self._names = {module: name for name, module in model.named_modules()}
        self._stack: list[_Frame] = []
        self._pending: LayerLook | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Calls the function, and looks at its result where it is a layer's."""
        name = getattr(func, "__name__", "").strip("_")
        if name in _ADDS:
            self._look_at_sum(args)
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point() and out.dim() > 1:
            if name in KINDS:
                self._look_at_activation(name, out.detach())
            in_leaf = bool(self._stack) and _is_leaf(self._stack[-1].module)
            if not in_leaf and (name in KINDS or name in WEIGHTED):
                self._add(f"{self._place()}.{name}".lstrip("."), name, out)
        return out

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks at what runs inside."""

        def enter(module: nn.Module, inputs: Any) -> None:
            self._stack.append(_Frame(module, self._names.get(module, ""), inputs))

        def leave(module: nn.Module, _inputs: Any, output: Any) -> None:
            name = self._stack.pop().name
            floats = isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1
            if floats and _is_leaf(module) and not isinstance(module, nn.Identity):
                self._add(name or type(module).__name__, type(module).__name__, output)
            self._pending = None

        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _place(self) -> str:
        return self._stack[-1].name if self._stack else ""

    def _fresh(self, name: str) -> str:
        number = 1
        while (found := name if number == 1 else f"{name}#{number}") in self.layers:
            number += 1
        return found

    def _add(self, name: str, kind: str, output: Tensor) -> None:
        """Takes mean and variance now, and the gradient's variance when it comes."""
        look = self._pending or LayerLook(name="", kind="")
        self._pending = None
        look.name, look.kind = self._fresh(name), kind
        self.layers[look.name] = look
        look.values |= _moments(output)
        if output.requires_grad:
            # On the tensor as it is now: what works in place afterwards has a gradient of its own.
            output.register_hook(lambda g: _keep_gradient(look, g))

    def _look_at_activation(self, name: str, out: Tensor) -> None:
        self._pending = look = LayerLook(name="", kind="")
        if name == "relu":
            look.silent = silent_units(out)
        else:
            look.values["saturated"] = saturation(out, name)

    def _look_at_sum(self, args: Sequence[Any]) -> None:
        """Takes the size of a block's increment, where one of two summands is the block's input."""
        if len(args) < 2 or not all(isinstance(a, Tensor) and a.dim() > 1 for a in args[:2]):
            return
        for skip, branch in ((args[0], args[1]), (args[1], args[0])):
            place = _block_of(self._stack, skip)
            if place is None or skip.shape != branch.shape:
                continue
            ratio = branch.detach().float().square().mean() / skip.detach().float().square().mean()
            name = self._fresh(f"{place} +" if place else "+")
            look = LayerLook(name=name, kind="residual", values={"increment": ratio.sqrt()})
            self.layers[name] = look
            return


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _block_of(stack: Sequence[_Frame], tensor: Tensor) -> str | None:
    """Returns the name of the block that was given this tensor and adds it to its result."""
    found = None
    for frame in reversed(stack):
        has = any(given is tensor for given in frame.inputs)
        if has and not isinstance(frame.module, nn.Sequential):
            found = frame.name
        elif found is not None:
            break
    return found


def _moments(x: Tensor) -> dict[str, Tensor]:
    var, mean = torch.var_mean(x.detach().float(), correction=0)
    return {"mean": mean, "var": var}


def _keep_gradient(look: LayerLook, gradient: Tensor) -> None:
    look.values["gradient_var"] = gradient.detach().float().var(correction=0)


def look_inside(
    model: nn.Module, call: Call, asked: Sequence[Tensor | None] = ()
) -> list[LayerLook]:
    """Returns what every layer shows on this call, in the order of the calls.

    Args:
        model: any module, uncompiled; it is left bitwise as it was.
        call: what it is called with.
        asked: dL/d(output) of each tensor of the output; none for the forward pass alone.
    """
    with _own_chance(), untouched(model), torch.enable_grad():
        args, kwargs, leaves = _leaves(call)
        probe = Probe(model)
        for place, leaf in enumerate(leaves):
            name = INPUT if place == 0 else f"{INPUT}#{place + 1}"
            probe.layers[name] = LayerLook(name=name, kind=INPUT, values=_moments(leaf))
        with probe.watching(), _precision(call):
            output = model(*args, **kwargs)
        pairs = [
            (out, grad.to(out.dtype))
            for out, grad in zip(tensors_in(output), asked, strict=False)
            if grad is not None and out.requires_grad and out.shape == grad.shape
        ]
        sources = _sources(model, call, leaves)
        if pairs and sources:
            # The gradient of this sum by each output is what was asked of it; given apart, torch
            # would first import its symbolic shapes, a third of a second.
            total = torch.stack([(out * grad).sum().float() for out, grad in pairs]).sum()
            # Not backward(): that would add to the gradients of the training.
            torch.autograd.grad(total, sources, allow_unused=True)
    return list(probe.layers.values())


def _leaves(call: Call) -> tuple[tuple[Any, ...], dict[str, Any], list[Tensor]]:
    """Returns arguments whose floating tensors ask for gradients, and those tensors."""
    leaves: list[Tensor] = []

    def fresh(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1:
            leaves.append(value.detach().clone().requires_grad_())
            return leaves[-1].clone()  # for a layer that works in place
        if isinstance(value, dict):
            return {key: fresh(item) for key, item in value.items()}
        if type(value) in (tuple, list):
            return type(value)(fresh(item) for item in value)
        return value

    return fresh(call.args), fresh(call.kwargs), leaves


def _sources(model: nn.Module, call: Call, leaves: list[Tensor]) -> list[Tensor]:
    """Returns what gradients are asked for: the inputs, which costs no gradient of a weight."""
    if leaves and all(t.is_floating_point() for t in call.tensors):
        return leaves
    return [*leaves, *(p for p in model.parameters() if p.requires_grad)]


def _precision(call: Call) -> torch.autocast:
    # Without its cache: the training's own must not hold what is made here.
    return torch.autocast(
        call.device, call.autocast, enabled=call.autocast is not None, cache_enabled=False
    )


@contextmanager
def _own_chance() -> Iterator[None]:
    """Puts back what Python and NumPy draw from; torch's own is put back by `untouched`."""
    plain, numeric = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(numeric)
