"""One operation of a recorded forward pass: what was called, on what, with what result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ravine.propagation.signals import Gradient, Signal


@dataclass(frozen=True, slots=True)
class Source:
    """Stands in an argument list for the result of an earlier operation."""

    place: int


@dataclass(slots=True, kw_only=True)
class Operation:
    """One call of a torch function that read an activation.

    Attributes:
        place: its number in the order of calls.
        name: of the function, without underscores.
        function: what was called.
        layer: dotted name of the innermost module that ran.
        kind: that module's class, or the function's name outside of leaf modules.
        args: positional arguments, activations replaced by `Source`.
        kwargs: the others, likewise.
        shape: of the result, with the batch.
        batch: N.
        sources: places of the activations that it read.
        signal: what the theory says, or what was measured where it says nothing.
        predicted: the theory knows this operation.
        measured: variance of the result over batch and elements.
        gradient: measured variance of the derivative by the result; None before, or without one.
        gradient_maps: the derivative's measured signal, kept where the theory needs it.
        wants_gradient: the theory needs it.
        theory: what it says of the derivative.
    """

    place: int
    name: str
    function: Callable[..., Any]
    layer: str
    kind: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: torch.Size
    batch: int
    sources: tuple[int, ...]
    signal: Signal | None = None
    predicted: bool = False
    measured: float = float("nan")
    gradient: float | None = None
    gradient_maps: Gradient | None = None
    wants_gradient: bool = False
    theory: Gradient | None = None

    def argument(self, at: int, name: str, default: Any = None) -> Any:
        """Returns an argument by place or name."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[at] if len(self.args) > at else default

    def on_values(self, values: Tensor) -> Tensor:
        """Returns the function of other values (n, D) in the place of its only activation."""

        def swap(argument: Any) -> Any:
            if isinstance(argument, Source):
                return values
            if isinstance(argument, Tensor) and argument.is_floating_point():
                return argument.detach().to(values.dtype)
            return argument

        args = tuple(swap(argument) for argument in self.args)
        return self.function(*args, **{k: swap(v) for k, v in self.kwargs.items()})


def sources_of(value: Any) -> list[int]:
    """Returns the places of all sources in nested arguments."""
    if isinstance(value, Source):
        return [value.place]
    if isinstance(value, list | tuple):
        return [place for item in value for place in sources_of(item)]
    if isinstance(value, dict):
        return sources_of(list(value.values()))
    return []
