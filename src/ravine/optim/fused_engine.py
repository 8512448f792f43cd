"""The fused path of the CPU: what an optimizer holds, in the form that the kernels read.

At each step only addresses are gathered, some 300 ns a tensor. What they stand for is compared
with the step before, so that weights that moved, a state that was replaced, or a gradient of
another layout is noticed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ravine.kernels.library import Library
from ravine.kernels.optimizer_steps import StepTable
from ravine.kernels.variants import VARIANTS
from ravine.optim.layout import fills_its_memory, numbers, order
from ravine.optim.watched_state import WatchedState

Group = Mapping[str, Any]
# From this ε on, numbers under 1.2e-38 change no weight by a rounding error: the root of G that
# they are lost from is at most 1.1e-19, outside the root as well as inside.
_FLUSHABLE_EPS = 1e-12
_dtype = attrgetter("dtype")


@dataclass(frozen=True, slots=True)
class _Batch:
    """The parameters of one rule, N of them."""

    weights: list[Tensor]
    addresses: list[int]
    strides: list[tuple[int, ...]] | None  # None where all are contiguous
    table: StepTable


class FusedSteps:
    """The parameters that the library can step, as they lie in memory now.

    Args:
        library: the library.
        groups: the optimizer's groups.
        state: the optimizer's state; a parameter without one is not held.
        variant: returns the name of a group's rule.
        but: parameters to leave out.
    """

    def __init__(
        self,
        library: Library,
        groups: Sequence[Group],
        state: WatchedState,
        variant: Callable[[Group], str],
        *,
        but: Collection[Tensor] = (),
    ) -> None:
        self._library = library
        self._state = state
        self._rules = [variant(group) for group in groups]
        self._sizes = [len(group["params"]) for group in groups]
        rows: dict[str, list[tuple[Tensor, int]]] = {}
        for index, (group, rule) in enumerate(zip(groups, self._rules, strict=True)):
            rows.setdefault(rule, []).extend(
                (p, index)
                for p in group["params"]
                if p not in but and _fits(p, state.get(p), VARIANTS[rule])
            )
        self._batches = [self._batch(rule, held) for rule, held in rows.items() if held]
        self.held = dict.fromkeys(p for batch in self._batches for p in batch.weights)
        everyone = [p for group in groups for p in group["params"]]
        self._waiting = [p for p in everyone if not state.get(p)]
        self.is_complete = len(self.held) + len(self._waiting) == len(everyone)
        state.changed = False
        self._kept: list[Tensor] = []  # gradients that live no longer than the step

    def _batch(self, rule: str, held: Sequence[tuple[Tensor, int]]) -> _Batch:
        weights = [p for p, _ in held]
        states = [self._state[p] for p in weights]
        addresses = list(map(Tensor.data_ptr, weights))
        products = [s["mu_product"].data_ptr() for s in states if "mu_product" in s]
        table = StepTable(
            self._library,
            rule,
            sizes=[p.numel() for p in weights],
            groups=[group for _, group in held],
            states=[[s[name].data_ptr() for s in states] for name in VARIANTS[rule]],
            weights=addresses,
            steps=[s["step"].data_ptr() for s in states],
            products=products or None,
        )
        contiguous = all(p.is_contiguous() for p in weights)
        strides = None if contiguous else [p.stride() for p in weights]
        return _Batch(weights, addresses, strides, table)

    def is_current(
        self, groups: Sequence[Group], state: WatchedState, variant: Callable[[Group], str]
    ) -> bool:
        """Tells whether parameters, rules and state are still those that were read."""
        return (
            state is self._state
            and not state.changed
            and self._sizes == [len(group["params"]) for group in groups]
            and self._rules == [variant(group) for group in groups]
            and all(p.grad is None for p in self._waiting)
            and all(b.addresses == list(map(Tensor.data_ptr, b.weights)) for b in self._batches)
        )

    def gather(self, gradients: Mapping[Tensor, Tensor] | None = None) -> None:
        """Finds the gradients: `.grad`, or what `gradients` has in its place."""
        self._kept = []
        for batch in self._batches:
            addresses = None if gradients else _addresses(batch)
            if addresses is None:
                addresses = [self._address(p, gradients) for p in batch.weights]
            batch.table.point_at(addresses)

    def squares(self) -> dict[Tensor, float]:
        """Returns the sum of the squares of each gathered gradient; 0 where there is none."""
        return {
            p: square
            for batch in self._batches
            for p, square in zip(batch.weights, batch.table.squares().tolist(), strict=True)
        }

    def step(self, groups: Sequence[Group], *, scale: float = 1.0) -> None:
        """Takes one step with the gathered gradients, multiplied by `scale`."""
        hyper = np.array([[float(one) for one in numbers(group, scale)] for group in groups])
        flush = all(group.get("eps", 1.0) >= _FLUSHABLE_EPS for group in groups)
        for batch in self._batches:
            batch.table.step(hyper, flush=flush)
            # Written to behind torch's back: a graph that still needs the old weights must know.
            torch.autograd.graph.increment_version(batch.weights)
        self._kept = []

    def _address(self, p: Tensor, gradients: Mapping[Tensor, Tensor] | None) -> int:
        g = p.grad
        if g is None:
            return 0
        if gradients and p in gradients:
            g = gradients[p]
        if g.dtype is not torch.float32 or order(g) != order(p):
            g = torch.empty_like(p).copy_(g)
        self._kept.append(g)
        return g.data_ptr()


def _addresses(batch: _Batch) -> list[int] | None:
    """Returns where the gradients lie if all are there, float32, and laid out like the weights.

    Whole lists at a time: with a thousand small tensors this is what a step costs.
    """
    gradients = cast(list[Tensor], [p.grad for p in batch.weights])
    try:
        if batch.strides is None:
            alike = all(map(Tensor.is_contiguous, gradients))
        else:
            alike = list(map(Tensor.stride, gradients)) == batch.strides
    except TypeError:  # None among them
        return None
    if not alike or set(map(_dtype, gradients)) != {torch.float32}:
        return None
    return list(map(Tensor.data_ptr, gradients))


def _fits(p: Tensor, state: Mapping[str, Tensor] | None, slots: Sequence[str]) -> bool:
    """Tells whether the library can step `p`: plain float32 on the CPU, without gaps."""
    return (
        state is not None
        and can_be_fused(p)
        and all(
            slot in state
            and state[slot].dtype is torch.float32
            and state[slot].device == p.device
            and order(state[slot]) == order(p)
            and fills_its_memory(state[slot])
            for slot in slots
        )
    )


def can_be_fused(p: Tensor) -> bool:
    """Tells whether the library could step a parameter, whatever its state."""
    return (
        type(p) in (Tensor, nn.Parameter)  # a wrapper's address is not its data's
        and p.dtype is torch.float32
        and p.device.type == "cpu"
        and p.layout is torch.strided
        and p.numel() > 0  # a tensor without elements has no address
        and fills_its_memory(p)
    )
