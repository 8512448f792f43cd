"""Records one forward pass as it runs, and lets the theory follow it.

Every torch function is seen as it is called, so that branches, sums, functional activations and
in-place work need no tracing of the source. The names of layers come from hooks that stand for
all modules (`module_calls.py`), gradients from hooks on the tensors of this pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from ravine.core.nested import map_tensors
from ravine.propagation.module_calls import ModuleStack
from ravine.propagation.operations import Operation, Source, sources_of
from ravine.propagation.propagation_table import PROPAGATIONS
from ravine.propagation.signals import (
    Gradient,
    Signal,
    element_moments,
    measured_gradient,
    measured_signal,
    plus,
    total_variance,
)
from ravine.propagation.unit_activity import KINDS, UnitActivity, unit_activity

# What reads a tensor without computing from its values.
_NO_VALUES = ("empty_like", "zeros_like", "ones_like", "rand_like", "randn_like", "detach")


@final
class Recording(TorchFunctionMode):
    """The operations of one forward pass; used as a context around it.

    Args:
        model: whose names the layers get.
        inputs: the activations (N, …) that the pass begins with.

    Attributes:
        operations: in the order of the calls.
        units: activity of each activation, in the order of the calls.
        output: of the model, None before.
        loss: of the output, 0-dim, None before.
        slopes: its gradient by each parameter that requires one; None where it has none.
    """

    def __init__(self, model: nn.Module, inputs: list[Tensor]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.units: list[UnitActivity] = []
        self.output: Any = None
        self.loss: Tensor | None = None
        self.slopes: dict[nn.Parameter, Tensor | None] = {}
        self._stack = ModuleStack(model)
        self._indices: Any = WeakIdKeyDictionary()
        self._vectors: Any = WeakIdKeyDictionary()  # of outputs (N,): name, and what it was made of
        for tensor in inputs:
            op = self._add("input", torch.clone, (), {}, tensor)
            op.signal = measured_signal(tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Calls the function, and records it where it read an activation."""
        kwargs = kwargs or {}
        sourced_args, sourced_kwargs = self._with_sources((args, kwargs))
        out = func(*args, **kwargs)
        # Activation checkpointing counts what the forward pass saves; this is no part of it.
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            self._note(func, args, sourced_args, sourced_kwargs, out)
        return out

    def _note(
        self, func: Callable[..., Any], args: Any, sourced_args: Any, sourced_kwargs: Any, out: Any
    ) -> None:
        """Records a call and its result, where it read an activation."""
        name = getattr(func, "__name__", "").strip("_")
        if isinstance(out, Tensor) and out.dim() == 1 and out.is_floating_point() and args:
            self._vectors[out] = (name, args[0])
        if name in KINDS and isinstance(out, Tensor) and out.dim() > 1 and out.is_floating_point():
            self.units.append(unit_activity(out.detach(), name, self._stack.name))
        if name in _NO_VALUES or not sources_of([sourced_args, sourced_kwargs]):
            return
        results = out if isinstance(out, tuple | list) else (out,)
        for result in results:
            if isinstance(result, Tensor) and result.is_floating_point() and result.dim() > 1:
                known = name if result is out else "part of " + name
                op = self._add(known, func, sourced_args, sourced_kwargs, result)
                self._predict(op, result)

    def operation_of(self, value: Any) -> Operation | None:
        """Returns the operation whose result a tensor is, None for any other value."""
        if not isinstance(value, Tensor) or value not in self._indices:
            return None
        return self.operations[self._indices[value]]

    def maker_of_vector(self, value: Any) -> tuple[str, Any] | None:
        """Returns the name of the function that made a tensor (N,), and its first argument.

        None for any other value. Vectors are no operation: no layer's statistics are of them.
        """
        is_known = isinstance(value, Tensor) and value in self._vectors
        return self._vectors[value] if is_known else None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Records what runs inside, with the names of the modules."""
        with self._stack.following(), self:
            yield

    def propagate_backward(self) -> None:
        """Lets the theory run from the measured gradients at the end to the beginning."""
        predicted: dict[int, Gradient] = {}
        for op in reversed(self.operations):
            grad = op.gradient_maps if op.wants_gradient else predicted.pop(op.index, None)
            op.theory = grad
            if grad is None or not op.predicted or not op.sources:
                continue
            assert op.signal is not None
            backward = PROPAGATIONS[op.name].backward
            found = backward(op, self._signals_read_by(op), op.signal, grad)
            for source, one in zip(op.sources, found, strict=True):
                predicted[source] = plus(predicted.get(source), one)

    def _with_sources(self, value: Any) -> Any:
        """Returns arguments with `Source` for each activation."""
        return map_tensors(value, lambda t: Source(self._indices[t]) if t in self._indices else t)

    def _add(
        self, name: str, func: Callable[..., Any], args: Any, kwargs: Any, result: Tensor
    ) -> Operation:
        calls = self._stack.calls
        mean, var = element_moments(result)
        op = Operation(
            index=len(self.operations),
            name=name,
            function=func,
            layer=self._stack.name,
            kind=type(calls[-1].module).__name__ if self._stack.in_leaf else name,
            args=args,
            kwargs=kwargs,
            shape=result.shape,
            batch=len(result),
            sources=tuple(dict.fromkeys(sources_of([args, kwargs]))),
            measured=total_variance(mean, var),
        )
        self.operations.append(op)
        self._indices[result] = op.index
        if result.requires_grad:
            result.register_hook(lambda g: _measure_gradient(op, g))
        return op

    def _predict(self, op: Operation, result: Tensor) -> None:
        """Predicts the signal of the result (N, D), or measures it where the theory ends."""
        propagation = PROPAGATIONS.get(op.name)
        found = propagation.forward(op, self._signals_read_by(op)) if propagation else None
        if found is not None and found.mean.shape == result.shape[1:]:
            op.signal, op.predicted = found, True
            return
        op.signal = measured_signal(result)
        for source in op.sources:
            self.operations[source].wants_gradient = True

    def _signals_read_by(self, op: Operation) -> list[Signal]:
        signals = [self.operations[source].signal for source in op.sources]
        return [signal for signal in signals if signal is not None]


def _measure_gradient(op: Operation, gradient: Tensor) -> None:
    mean, var = element_moments(gradient)
    op.gradient = total_variance(mean, var)
    if op.wants_gradient:
        op.gradient_maps = measured_gradient(gradient)
