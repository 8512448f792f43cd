"""The step engine of the CPU: all parameters of an optimizer in one call to the C library.

At each step only addresses are gathered, some 300 ns a tensor. They are compared with those of
the step before, so that weights that moved, a state that was replaced, or a gradient of another
layout is noticed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import cast, final

import numpy as np
import torch
from torch import Tensor

from ravine.kernels.library import Library
from ravine.kernels.optimizer_steps import StepTable
from ravine.kernels.variants import VARIANTS
from ravine.optim.group_record import Group, GroupRecord, Variant
from ravine.optim.layout import fills_its_memory, has_own_address, numbers, order
from ravine.optim.watched_state import WatchedState

# From this ε on, numbers under 1.2e-38 change no weight by a rounding error: what the root of G
# loses with them is at most 1.1e-19, with ε outside the root as well as inside.
_FLUSHABLE_EPS = 1e-12
_dtype = attrgetter("dtype")


@dataclass(frozen=True, slots=True)
class _Batch:
    """The parameters of one rule, N of them."""

    weights: list[Tensor]
    addresses: list[int]
    strides: list[tuple[int, ...]] | None  # None where all are contiguous
    table: StepTable


@final
class FusedSteps:
    """The step engine of the CPU: the parameters that the C library can step.

    Args:
        library: the library.
        groups: the optimizer's groups.
        state: the optimizer's state; a parameter without one is not held.
        variant: returns the name of a group's rule.
        excluded: parameters to leave out.

    Attributes:
        held: the parameters that are stepped here.
        is_complete: whether those are all that have a state.
    """

    def __init__(
        self,
        library: Library,
        groups: Sequence[Group],
        state: WatchedState,
        variant: Variant,
        *,
        excluded: Collection[Tensor] = (),
    ) -> None:
        self._library, self._state = library, state
        self._record = GroupRecord(groups, state, variant)

        def fits(p: Tensor, rule: str) -> bool:
            return p not in excluded and _fits(p, state.get(p), VARIANTS[rule])

        rows = self._record.by_rule(groups, fits)
        self._batches = [self._batch(rule, row) for rule, row in rows.items()]
        self.held = dict.fromkeys(p for batch in self._batches for p in batch.weights)
        self.is_complete = self._record.is_complete(len(self.held))
        self._kept: list[Tensor] = []  # gradients that live no longer than the step

    def _batch(self, rule: str, row: Sequence[tuple[Tensor, int]]) -> _Batch:
        weights = [p for p, _ in row]
        states = [self._state[p] for p in weights]
        addresses = list(map(Tensor.data_ptr, weights))
        products = [s["mu_product"].data_ptr() for s in states if "mu_product" in s]
        table = StepTable(
            self._library,
            rule,
            sizes=[p.numel() for p in weights],
            groups=[group for _, group in row],
            states=[[s[name].data_ptr() for s in states] for name in VARIANTS[rule]],
            weights=addresses,
            steps=[s["step"].data_ptr() for s in states],
            products=products or None,
        )
        contiguous = all(p.is_contiguous() for p in weights)
        strides = None if contiguous else [p.stride() for p in weights]
        return _Batch(weights, addresses, strides, table)

    def is_current(self, groups: Sequence[Group], state: WatchedState) -> bool:
        """Returns whether parameters, addresses, rules and state are still those of the build."""
        return self._record.is_current(groups, state) and all(
            b.addresses == list(map(Tensor.data_ptr, b.weights)) for b in self._batches
        )

    def gather(self, gradients: Mapping[Tensor, Tensor] | None = None) -> None:
        """Reads the gradients' addresses: of `.grad`, or of `gradients` for those that it holds.

        A gradient has the shape of its parameter.
        """
        self._kept = []
        for batch in self._batches:
            addresses = None if gradients else _addresses(batch)
            if addresses is None:
                addresses = [self._address(p, gradients) for p in batch.weights]
            batch.table.point_at(addresses)

    def squares(self) -> dict[Tensor, float]:
        """Returns the sum of squares of each gradient, of any shape; 0 where there is none."""
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
            # torch does not see the write: a graph that still needs the old weights must be warned.
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
    """Returns the gradients' addresses if all exist, in float32, laid out like the weights.

    None otherwise. Whole lists at a time: with a thousand small tensors this is a step's cost.
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
    """Returns whether the library can step `p`: plain float32 on the CPU, without gaps."""
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
    """Returns whether the library could step a parameter of any shape, whatever its state."""
    return (
        has_own_address(p)
        and p.dtype is torch.float32
        and p.device.type == "cpu"
        and p.layout is torch.strided
        and p.numel() > 0  # a tensor without elements has no address
        and fills_its_memory(p)
    )
