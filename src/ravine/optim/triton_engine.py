"""The step engine of GPUs: all parameters in one launch, or in two with the decision.

At each step only addresses are gathered, and sent to the device only if one has changed. Nothing
here makes the host wait for the device.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from ravine.kernels.triton_library import can_step_on, load_triton
from ravine.kernels.variants import KEEPS_MOMENTUM_PRODUCT, VARIANTS
from ravine.optim.group_record import Group, GroupRecord, Variant
from ravine.optim.layout import fills_its_memory, has_own_address, numbers, order
from ravine.optim.watched_state import WatchedState

if TYPE_CHECKING:
    from ravine.kernels.triton_table import Column, TensorList

_KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # as in triton_table.KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedStep:
    """The decision about a step; the host has read nothing of it.

    Attributes:
        norm: 0-dim float64, ‖g‖₂ over all parameters, before clipping.
        ok: 0-dim bool, whether loss and gradients are finite, so that the step was taken.
        bad: 0-dim int64, the largest index of a gradient that is not finite; -1 if there is none.
        scale: 0-dim float64, factor of the gradients.
    """

    norm: Tensor
    ok: Tensor
    bad: Tensor
    scale: Tensor


@final
class TritonSteps:
    """The step engine of GPUs: the parameters that Triton can step.

    Args:
        groups: the optimizer's groups.
        state: the optimizer's state; a parameter without one is not held.
        variant: returns the name of a group's rule.
        excluded: parameters to leave out.

    Attributes:
        held: the parameters that are stepped here, on one device.
        is_complete: whether those are all that have a state.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        state: WatchedState,
        variant: Variant,
        *,
        excluded: Collection[Tensor] = (),
    ) -> None:
        triton = load_triton()
        assert triton is not None, "the caller builds this engine only where Triton is installed"
        self._triton, self._state = triton, state
        self._record = GroupRecord(groups, state, variant)
        everyone = self._record.parameters
        device = next((p.device for p in everyone if can_step_on(p.device)), None)

        def fits(p: Tensor, rule: str) -> bool:
            return p not in excluded and p.device == device and _fits(p, state.get(p), rule)

        rows = self._record.by_rule(groups, fits)
        self._weights = [p for row in rows.values() for p, _ in row]
        self._addresses = list(map(Tensor.data_ptr, self._weights))
        self._strides = list(map(Tensor.stride, self._weights))
        self.held = dict.fromkeys(self._weights)
        self.is_complete = self._record.is_complete(len(self.held))
        self._table = (
            triton.TritonTable([self._batch(rule, row) for rule, row in rows.items()], device)
            if self.held
            else None
        )
        self._set_order(everyone)
        self._kept: list[Tensor] = []  # gradients that live no longer than the step

    def _set_order(self, order: Sequence[Tensor]) -> None:
        """Sets the parameters' order, in which a gradient that is not finite is counted."""
        indices = {p: index for index, p in enumerate(order)}
        self._order, self._indices = order, [indices[p] for p in self._weights]
        if self._table is not None:
            self._table.set_indices(self._indices)

    def _batch(self, rule: str, row: Sequence[tuple[Tensor, int]]) -> "TensorList":
        weights = [p for p, _ in row]
        states = [self._state[p] for p in weights]
        products = [s["mu_product"].data_ptr() for s in states if "mu_product" in s]
        return self._triton.TensorList(
            variant=rule,
            sizes=[p.numel() for p in weights],
            groups=[group for _, group in row],
            weights=self._column(weights),
            states=[self._column([s[slot] for s in states]) for slot in VARIANTS[rule]],
            steps=[s["step"].data_ptr() for s in states],
            products=products or None,
        )

    def _column(self, tensors: Sequence[Tensor]) -> "Column":
        return self._triton.Column(
            addresses=list(map(Tensor.data_ptr, tensors)), kinds=[_KINDS[x.dtype] for x in tensors]
        )

    @property
    def launches(self) -> int:
        """Kernels launched so far."""
        return 0 if self._table is None else self._table.launches

    def is_current(self, groups: Sequence[Group], state: WatchedState) -> bool:
        """Returns whether parameters, addresses, rules and state are still those of the build."""
        return self._record.is_current(groups, state) and self._addresses == list(
            map(Tensor.data_ptr, self._weights)
        )

    def gather(self, gradients: Mapping[Tensor, Tensor] | None = None) -> None:
        """Reads the gradients' addresses: of `.grad`, or of `gradients` for those that it holds.

        A gradient has the shape of its parameter.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        if self._table is None:
            return
        self._kept = []
        addresses, kinds = [], []
        for p, strides in zip(self._weights, self._strides, strict=True):
            g = p.grad
            if g is None:
                addresses.append(0)
                kinds.append(-1)
                continue
            g = self._readable(gradients.get(p, g) if gradients else g, p, strides)
            addresses.append(g.data_ptr())
            kinds.append(_KINDS[g.dtype])
        self._table.point_at(self._triton.Column(addresses=addresses, kinds=kinds))

    def _readable(self, g: Tensor, p: Tensor, strides: tuple[int, ...]) -> Tensor:
        fits = g.dtype in _KINDS and (g.stride() == strides or order(g) == order(p))
        if not fits:
            g = torch.empty_like(p).copy_(g)
        self._kept.append(g)
        return g

    def step(
        self, groups: Sequence[Group], *, scale: float | Tensor = 1.0, ok: Tensor | None = None
    ) -> None:
        """Takes one step with the gathered gradients: one launch for each rule.

        Args:
            groups: the optimizer's groups, for their numbers.
            scale: factor of the gradients; 0-dim on the device if it is a tensor.
            ok: one bool on the device; where False everything stays bitwise as it was.
        """
        if self._table is not None:
            self._table.set_numbers([numbers(group, scale) for group in groups])
            self._table.step(ok)
            self._done()

    def guarded_step(
        self,
        groups: Sequence[Group],
        loss: Tensor,
        *,
        limit: float | Tensor | None,
        counters: Tensor,
        order: Sequence[Tensor] | None = None,
    ) -> GuardedStep:
        """Takes the step that the gathered gradients propose, clipped, if all is finite.

        One launch for the norm, and one for each rule.

        Args:
            groups: the optimizer's groups, for their numbers.
            loss: 0-dim on the device.
            limit: of the global norm, or None; 0-dim on the device if it is a tensor.
            counters: (7,) int64 on the device, as `ravine.kernels.triton_table.new_counters`
                makes them; counted up.
            order: the parameters in the order in which `bad` counts, the groups' if None.
        """
        assert self._table is not None, "there is nothing to step"
        if order is not None and order is not self._order:
            self._set_order(order)
        self._table.set_numbers([numbers(group, 1.0) for group in groups])
        limit = float("inf") if limit is None else limit
        guard = self._triton.Guard(loss=loss.detach(), limit=limit, counters=counters)
        record = self._table.guarded_step(guard)
        self._done()
        return GuardedStep(
            norm=record[0],
            scale=record[1],
            bad=record.view(torch.int64)[2],
            ok=record.view(torch.bool)[24],
        )

    def sizes(self) -> Tensor:
        """Returns the norms of the gradients at the last guarded step, (P,) float64.

        In the order of the parameters, 0 where there is no gradient. Valid until the next step;
        computed at the call.
        """
        assert self._table is not None, "there is nothing to measure"
        norms = self._table.sums().sqrt()
        indices = torch.tensor(self._indices).to(norms.device)
        return norms.new_zeros(len(self._order)).index_copy(0, indices, norms)

    def _done(self) -> None:
        # torch does not see the write: a graph that still needs the old weights must be warned.
        torch.autograd.graph.increment_version(self._weights)
        self._kept = []


def _fits(p: Tensor, state: Mapping[str, Tensor] | None, rule: str) -> bool:
    """Returns whether Triton can step `p`: 16 or 32 bits, without gaps, and so its state."""
    slots = VARIANTS[rule]
    counts = {"step": torch.int64}
    if rule in KEEPS_MOMENTUM_PRODUCT:
        counts["mu_product"] = torch.float64
    return (
        state is not None
        and has_own_address(p)
        and _is_plain(p)
        and all(
            slot in state
            and state[slot].device == p.device
            and _is_plain(state[slot])
            and order(state[slot]) == order(p)
            for slot in slots
        )
        and all(
            name in state and state[name].dtype is dtype and state[name].device == p.device
            for name, dtype in counts.items()
        )
    )


def _is_plain(x: Tensor) -> bool:
    return x.dtype in _KINDS and x.layout is torch.strided and fills_its_memory(x)
