"""Layer statistics without the training: a few examples of the last batch, run once more.

The network runs eagerly, layer by layer, whatever fused or compiled code the training uses.
dL/d(output) was kept from the training's own backward pass (`capture.py`), so that no loss has to
be known. Weights, gradients, buffers, modes and random state stay.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ravine.core.nested import batch_size, map_tensors, slice_examples, tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.core.snapshot import LayerStatistics
from ravine.propagation.module_calls import ModuleCall, ModuleStack
from ravine.propagation.unit_activity import KINDS, inactive_units, saturation
from ravine.propagation.variance import WEIGHTED

INPUT = "input"
_ADDS = ("add", "iadd", "radd")


@final
@dataclass(slots=True, kw_only=True)
class ProbedLayer:
    """One call of a layer, filled in while the network runs; tensors on the device.

    Attributes:
        name: dotted, with #2 and on for further calls in one pass.
        kind: the layer's class, or the function's name.
        mean: of the output, 0-dim float32, as all that follow but the last.
        var: of the output.
        gradient_var: variance of dL/d(output); filled in by the backward pass.
        saturated: share of values at the ends of the range of tanh or sigmoid.
        increment: size of a residual block's increment over that of its input.
        inactive: (units,) bool, the units of a ReLU that are 0 on all examples.
    """

    name: str = ""
    kind: str = ""
    mean: Tensor | None = None
    var: Tensor | None = None
    gradient_var: Tensor | None = None
    saturated: Tensor | None = None
    increment: Tensor | None = None
    inactive: Tensor | None = None

    def measure(self, output: Tensor) -> None:
        """Takes mean and variance of the output, of any shape."""
        self.var, self.mean = torch.var_mean(output.detach().float(), correction=0)

    def measure_gradient(self, gradient: Tensor) -> None:
        """Takes the variance of dL/d(output), of any shape."""
        self.gradient_var = gradient.detach().float().var(correction=0)

    @property
    def is_finite(self) -> bool:
        """Whether all that was measured in the forward pass is finite; reads from the device."""
        measured = (self.mean, self.var, self.saturated, self.increment)
        return all(bool(value.isfinite()) for value in measured if value is not None)

    def statistics(self, dead: Tensor | None) -> LayerStatistics[Tensor | float]:
        """Returns what was measured, with the share of units that are dead, 0-dim."""
        return LayerStatistics(
            kind=self.kind,
            mean=self.mean,
            var=self.var,
            gradient_var=self.gradient_var,
            saturated=self.saturated,
            dead=dead,
            increment=self.increment,
        )


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
        """All tensors among the arguments, of any shape."""
        return tensors_in([self.args, self.kwargs])


@final
class LayerProbe(TorchFunctionMode):
    """Measures every layer, activation and residual sum that runs inside `watching()`.

    Attributes:
        layers: by name, in the order of the calls.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers: dict[str, ProbedLayer] = {}
        self._stack = ModuleStack(model)
        self._pending: ProbedLayer | None = None  # an activation whose module has not returned

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Calls the function, and measures its result where it is a layer's."""
        name = getattr(func, "__name__", "").strip("_")
        if name in _ADDS:
            self._measure_increment(args)
        out = func(*args, **(kwargs or {}))
        if _is_activation_like(out):
            if name in KINDS:
                self._measure_activation(name, out.detach())
            if not self._stack.in_leaf and (name in KINDS or name in WEIGHTED):
                self._add(f"{self._stack.name}.{name}".lstrip("."), name, out)
        return out

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Measures what runs inside."""
        with self._stack.following(on_return=self._on_return), self:
            yield

    def add_input(self, index: int, tensor: Tensor) -> None:
        """Measures an argument of the network, a tensor of any shape."""
        name = INPUT if index == 0 else f"{INPUT}#{index + 1}"
        self.layers[name] = layer = ProbedLayer(name=name, kind=INPUT)
        layer.measure(tensor)

    def _on_return(self, call: ModuleCall, output: Any) -> None:
        kind = type(call.module).__name__
        identity = isinstance(call.module, nn.Identity)
        if _is_activation_like(output) and call.is_leaf and not identity:
            self._add(call.name or kind, kind, output)
        self._pending = None

    def _unused_name(self, name: str) -> str:
        number = 1
        while (found := name if number == 1 else f"{name}#{number}") in self.layers:
            number += 1
        return found

    def _add(self, name: str, kind: str, output: Tensor) -> None:
        """Measures the output now, and its gradient in the backward pass."""
        layer = self._pending or ProbedLayer()
        self._pending = None
        layer.name, layer.kind = self._unused_name(name), kind
        self.layers[layer.name] = layer
        layer.measure(output)
        if output.requires_grad:
            # On the tensor as it is now: what works in place afterwards has a gradient of its own.
            output.register_hook(layer.measure_gradient)

    def _measure_activation(self, name: str, out: Tensor) -> None:
        self._pending = layer = ProbedLayer()
        if name == "relu":
            layer.inactive = inactive_units(out)
        else:
            layer.saturated = saturation(out, name)

    def _measure_increment(self, args: Sequence[Any]) -> None:
        """Measures a block's increment, where one of two summands is the block's input."""
        if len(args) < 2 or not all(isinstance(a, Tensor) and a.dim() > 1 for a in args[:2]):
            return
        for skip, branch in ((args[0], args[1]), (args[1], args[0])):
            block = _block_of(self._stack.calls, skip)
            if block is None or skip.shape != branch.shape:
                continue
            ratio = branch.detach().float().square().mean() / skip.detach().float().square().mean()
            name = self._unused_name(f"{block} +" if block else "+")
            self.layers[name] = ProbedLayer(name=name, kind="residual", increment=ratio.sqrt())
            return


def _is_activation_like(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1


def _block_of(calls: Sequence[ModuleCall], tensor: Tensor) -> str | None:
    """Returns the name of the block that has this tensor as input and adds it to its result."""
    found = None
    for call in reversed(calls):
        has = any(given is tensor for given in call.inputs)
        if has and not isinstance(call.module, nn.Sequential):
            found = call.name
        elif found is not None:
            break
    return found


def probe_layers(
    model: nn.Module, call: Call, output_gradients: Sequence[Tensor | None] = ()
) -> list[ProbedLayer]:
    """Returns what was measured of every layer on this call, in the order of the calls.

    Args:
        model: any module, uncompiled; it is left bitwise as it was.
        call: its arguments.
        output_gradients: dL/d(output) of each tensor of the output, of its shape; none for the
            forward pass alone.
    """
    with preserve_python_and_numpy(), preserve_state(model), torch.enable_grad():
        args, kwargs, leaves = _leaves(call)
        probe = LayerProbe(model)
        for index, leaf in enumerate(leaves):
            probe.add_input(index, leaf)
        with probe.watching(), _precision(call):
            output = model(*args, **kwargs)
        _backward(output, output_gradients, _sources(model, call, leaves))
    return list(probe.layers.values())


def _backward(
    output: Any, output_gradients: Sequence[Tensor | None], sources: Sequence[Tensor]
) -> None:
    """Runs the backward pass from the outputs to the sources; hooks see the gradients."""
    pairs = [
        (out, grad.to(out.dtype))
        for out, grad in zip(tensors_in(output), output_gradients, strict=False)
        if grad is not None and out.requires_grad and out.shape == grad.shape
    ]
    if pairs and sources:
        # The gradient of this sum by each output is its output gradient; with grad_outputs torch
        # would first import its symbolic shapes, a third of a second.
        total = torch.stack([(out * grad).sum().float() for out, grad in pairs]).sum()
        # Not backward(): that would add to the gradients of the training.
        torch.autograd.grad(total, sources, allow_unused=True)


def _leaves(call: Call) -> tuple[tuple[Any, ...], dict[str, Any], list[Tensor]]:
    """Returns arguments whose floating tensors require gradients, and those tensors."""
    leaves: list[Tensor] = []

    def fresh(tensor: Tensor) -> Tensor:
        if not _is_activation_like(tensor):
            return tensor
        leaves.append(tensor.detach().clone().requires_grad_())
        return leaves[-1].clone()  # for a layer that works in place

    args, kwargs = map_tensors((call.args, call.kwargs), fresh)
    return args, kwargs, leaves


def _sources(model: nn.Module, call: Call, leaves: list[Tensor]) -> list[Tensor]:
    """Returns where the backward pass ends: at the inputs, which needs no weight gradient."""
    if leaves and all(t.is_floating_point() for t in call.tensors):
        return leaves
    return [*leaves, *(p for p in model.parameters() if p.requires_grad)]


def _precision(call: Call) -> torch.autocast:
    # Without its cache: the training's own must not hold what is made here.
    return torch.autocast(
        call.device, call.autocast, enabled=call.autocast is not None, cache_enabled=False
    )


@contextmanager
def preserve_python_and_numpy() -> Iterator[None]:
    """Puts the random states of Python and NumPy back; `preserve_state` does so for torch's."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
