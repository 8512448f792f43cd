"""Records one forward pass as it really runs, and lets the theory follow it.

Every torch function is seen as it is called, so that branches, sums, functional activations and
work in place need no tracing of the source. The model's own hooks stay untouched: names come
from hooks that stand for all modules, and gradients from hooks on the tensors of this pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from ravine.propagation.layers import ELEMENTWISE, Rule
from ravine.propagation.linear import LINEAR
from ravine.propagation.operations import Operation, Source, sources_of
from ravine.propagation.pooling import POOLING
from ravine.propagation.signals import (
    element_moments,
    measured_gradient,
    measured_signal,
    plus,
    total_variance,
)

RULES: dict[str, Rule] = {**ELEMENTWISE, **LINEAR, **POOLING}
# What reads a tensor without computing from its values.
_NO_VALUES = ("empty_like", "zeros_like", "ones_like", "rand_like", "randn_like", "detach")


@final
class Recording(TorchFunctionMode):
    """The operations of one forward pass; used as a context around it.

    Args:
        names: dotted name of each module.
        inputs: the activations that the pass begins with.
    """

    def __init__(self, names: dict[nn.Module, str], inputs: list[Tensor]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.names = names
        self.modules: list[nn.Module] = []
        self.places: Any = WeakIdKeyDictionary()
        for tensor in inputs:
            op = self._add("input", torch.clone, (), {}, tensor)
            op.signal = measured_signal(tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Calls the function, and records it where it read an activation."""
        kwargs = kwargs or {}
        seen_args, seen_kwargs = self._seen(args), self._seen(kwargs)
        out = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        if name in _NO_VALUES or not sources_of([seen_args, seen_kwargs]):
            return out
        results = out if isinstance(out, tuple | list) else (out,)
        for result in results:
            if isinstance(result, Tensor) and result.is_floating_point() and result.dim() > 1:
                known = name if result is out else "part of " + name
                self._follow(self._add(known, func, seen_args, seen_kwargs, result), result)
        return out

    def _seen(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return Source(self.places[value]) if value in self.places else value
        if isinstance(value, tuple | list):
            return type(value)(self._seen(v) for v in value) if type(value) in (tuple, list) else ()
        if isinstance(value, dict):
            return {k: self._seen(v) for k, v in value.items()}
        return value

    def _add(
        self, name: str, func: Callable[..., Any], args: Any, kwargs: Any, result: Tensor
    ) -> Operation:
        module = self.modules[-1] if self.modules else None
        leaf = module is not None and next(module.children(), None) is None
        mean, var = element_moments(result)
        op = Operation(
            place=len(self.operations),
            name=name,
            function=func,
            layer=self.names.get(module, "") if module is not None else "",
            kind=type(module).__name__ if leaf else name,
            args=args,
            kwargs=kwargs,
            shape=result.shape,
            batch=len(result),
            sources=tuple(dict.fromkeys(sources_of([args, kwargs]))),
            measured=total_variance(mean, var),
        )
        self.operations.append(op)
        self.places[result] = op.place
        if result.requires_grad:
            result.register_hook(lambda g: _look_at_gradient(op, g))
        return op

    def _follow(self, op: Operation, result: Tensor) -> None:
        rule = RULES.get(op.name)
        signals = [self.operations[place].signal for place in op.sources]
        found = rule.forward(op, signals) if rule else None  # type: ignore[arg-type]
        if found is not None and found.mean.shape == result.shape[1:]:
            op.signal, op.predicted = found, True
            return
        op.signal = measured_signal(result)
        for place in op.sources:
            self.operations[place].wants_gradient = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Records what runs inside, with the names of the modules."""

        def enter(module: nn.Module, _inputs: Any) -> None:
            self.modules.append(module)

        def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            self.modules.pop()

        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def follow_back(self) -> None:
        """Lets the theory run from the measured gradients at the end to the beginning."""
        from_theory: dict[int, Any] = {}
        for op in reversed(self.operations):
            grad = op.gradient_maps if op.wants_gradient else from_theory.pop(op.place, None)
            op.theory = grad
            if grad is None or not op.predicted or not op.sources:
                continue
            assert op.signal is not None
            signals = [self.operations[place].signal for place in op.sources]
            found = RULES[op.name].backward(op, signals, op.signal, grad)  # type: ignore[arg-type]
            for place, one in zip(op.sources, found, strict=True):
                from_theory[place] = plus(from_theory.get(place), one)


def _look_at_gradient(op: Operation, gradient: Tensor) -> None:
    mean, var = element_moments(gradient)
    op.gradient = total_variance(mean, var)
    if op.wants_gradient:
        op.gradient_maps = measured_gradient(gradient)
