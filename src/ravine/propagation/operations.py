"""One operation of a recorded forward pass, and the type of the functions that predict it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ravine.core.nested import leaves_in
from ravine.propagation.signals import Gradient, Signal


@dataclass(frozen=True, slots=True)
class Source:
    """Stands in an argument list for the result of an earlier operation."""

    index: int


@dataclass(slots=True, kw_only=True)
class Operation:
    """One call of a torch function that read an activation.

    Attributes:
        index: its number in the order of calls.
        name: of the function, without underscores.
        function: what was called.
        layer: dotted name of the innermost module that ran.
        kind: that module's class, or the function's name outside of leaf modules.
        args: positional arguments, activations replaced by `Source`.
        kwargs: the others, likewise.
        shape: of the result, with the batch.
        batch: N.
        sources: indices of the operations whose results it read.
        signal: of the result: predicted, or measured where the theory has no prediction.
        predicted: whether `signal` is.
        measured: variance of the result over batch and elements.
        gradient: measured variance of the derivative by the result; None before, or without one.
        gradient_maps: the derivative's measured moments, kept where the theory needs them.
        wants_gradient: the theory needs them: its prediction begins anew here.
        theory: the predicted derivative.
    """

    index: int
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
        """Returns an argument by position or name."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[at] if len(self.args) > at else default

    def on_values(self, values: Tensor) -> Tensor:
        """Returns the function of other values (n, D) instead of its only activation."""

        def swap(argument: Any) -> Any:
            if isinstance(argument, Source):
                return values
            if isinstance(argument, Tensor) and argument.is_floating_point():
                return argument.detach().to(values.dtype)
            return argument

        args = tuple(swap(argument) for argument in self.args)
        return self.function(*args, **{k: swap(v) for k, v in self.kwargs.items()})


Signals = Sequence[Signal]
Forward = Callable[[Operation, Signals], Signal | None]
Backward = Callable[[Operation, Signals, Signal, Gradient], list[Gradient]]


@dataclass(frozen=True, slots=True)
class Propagation:
    """What one kind of operation does to a signal, and to a gradient in the backward pass.

    Attributes:
        forward: (operation, signals read) to the signal of the result; None where the theory
            does not hold.
        backward: (operation, signals read, signal of the result, gradient by the result) to a
            gradient for each signal read.
    """

    forward: Forward
    backward: Backward


def sources_of(value: Any) -> list[int]:
    """Returns the indices of all sources in nested arguments."""
    return [leaf.index for leaf in leaves_in(value) if isinstance(leaf, Source)]


def pair(value: Any) -> tuple[int, int]:
    """Returns an argument of a convolution or pooling as (height, width)."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))
