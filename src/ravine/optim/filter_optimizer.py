"""The base of optimizers that step filters as matrices, and everything else by another rule.

Norms, biases, the first layer and the head take the other rule's steps, which the engines of
`RuleOptimizer` know; filters of one shape are stepped at once, in torch.

Shape letters: N filters of one shape, R rows.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ravine.optim.base import RuleOptimizer, State
from ravine.optim.update_rules import prepared


class FilterOptimizer(RuleOptimizer):
    """An optimizer of filters, in groups with `orthogonal=True`, and of all else.

    A group that does not say which it is becomes two: its matrices and filters, and the rest.

    Attributes:
        usual: of a group's hyperparameters that `of_halves` reads, what it has if it has none.
        filter_slots: names of the tensors of a filter's state.
        other_slots: of the state of everything else.
    """

    by_element = False
    rates_in_proportion = True
    usual: ClassVar[Mapping[str, float]]
    filter_slots: ClassVar[tuple[str, ...]]
    other_slots: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def of_halves(cls, group: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns in which hyperparameters filters differ from their group, and all else does."""

    @abstractmethod
    def step_filters_(
        self,
        w: Sequence[Tensor],
        g: Sequence[Tensor],
        v: Sequence[Tensor],
        group: Mapping[str, Any],
    ) -> None:
        """Changes weights and momenta of N filters (R, ...) of one shape in place."""

    @abstractmethod
    def step_other(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Returns new weights and the new state of a tensor of any shape that is no filter."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; one that does not say whether its steps are orthogonal becomes up to two.

        Raises:
            SettingError: a hyperparameter of the group is out of its range.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["orthogonal"] is None:
            filters = [p for p in group["params"] if p.dim() > 1]
            self.param_groups[-1:] = self._split(group, filters)

    @classmethod
    def arranged(cls, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns groups in which filters between the first layer and the head step orthogonally.

        Args:
            model: the network; its first and its last matrix or filter, in the order in which it
                registers them, take the other steps, as everything with less than two dimensions
                does.
            groups: of `parameter_groups`; those without lr, or what else `usual` names, have the
                default: give it in the group, not to the constructor, which splits no more.
        """
        hidden = [p for p in model.parameters() if p.dim() > 1][1:-1]
        return [half for group in groups for half in cls._split({**cls.usual, **group}, hidden)]

    @classmethod
    def _split(cls, group: Mapping[str, Any], chosen: Collection[Tensor]) -> list[dict[str, Any]]:
        """Returns a group as those parameters of it that are `chosen`, and the others."""
        kept = set(chosen)
        halves = []
        for is_orthogonal, own in zip((True, False), cls.of_halves(group), strict=True):
            index = [i for i, p in enumerate(group["params"]) if (p in kept) is is_orthogonal]
            lists = {
                key: [group[key][i] for i in index]
                for key in ("params", "param_names")
                if key in group
            }
            if index:
                halves.append({**group, **lists, **own, "orthogonal": is_orthogonal})
        return halves

    def initial_state(self, w: Tensor, group: Mapping[str, Any]) -> State:
        """Returns the tensors of a filter's state, or of another: zeros of the shape of `w`."""
        slots = self.filter_slots if group["orthogonal"] else self.other_slots
        return {slot: torch.zeros_like(w) for slot in slots}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies the rule of the group to tensors of one shape; filters are (R, ...)."""
        if not group["orthogonal"]:
            return self.step_other(w, g, state, group)
        (slot,) = self.filter_slots
        new_w, v = w.clone(), state[slot].clone()
        self.step_filters_([new_w], [g], [v], group)
        return new_w, {slot: v, "step": state["step"]}

    def _step_plain(
        self,
        excluded: Collection[Tensor],
        ok: Tensor | None,
        scale: Tensor | None,
        gradients: Mapping[Tensor, Tensor] | None,
    ) -> None:
        """Steps the filters of one shape at once, and the rest tensor by tensor."""
        stacks = _stacks(self.param_groups)
        filters = {w for _, stack in stacks for w in stack}
        super()._step_plain({*excluded, *filters}, ok, scale, gradients)
        for group, stack in stacks:
            self._step_stack(stack, group, ok, scale, gradients or {})

    def _step_stack(
        self,
        stack: Sequence[Tensor],
        group: Mapping[str, Any],
        ok: Tensor | None,
        scale: Tensor | None,
        gradients: Mapping[Tensor, Tensor],
    ) -> None:
        coupled, λ = group["decay"] == "coupled", group["weight_decay"]
        pairs = [
            prepared(
                w,
                gradients.get(w, w.grad),  # type: ignore[arg-type]  # `_stacks` takes no other
                η=group["lr"],
                coupled=λ if coupled else 0.0,
                decoupled=0.0 if coupled else λ,
                scale=scale,
            )
            for w in stack
        ]
        (slot,) = self.filter_slots
        kept, g = zip(*pairs, strict=True)
        states = [self.state[w] for w in stack]
        momenta = [state[slot] for state in states]
        if ok is None:
            self._step_in_place(stack, kept, g, momenta, group)
        else:
            new_w, new_v = ([one.clone() for one in ones] for ones in (kept, momenta))
            self.step_filters_(new_w, g, new_v, group)
            for old, new in (*zip(stack, new_w, strict=True), *zip(momenta, new_v, strict=True)):
                old.copy_(torch.where(ok, new, old))
        for state in states:
            state["step"] += 1 if ok is None else ok

    def _step_in_place(
        self,
        stack: Sequence[Tensor],
        kept: Sequence[Tensor],
        g: Sequence[Tensor],
        v: Sequence[Tensor],
        group: Mapping[str, Any],
    ) -> None:
        """Steps the weights (R, ...) that decay has left of those of the stack."""
        for w, left in zip(stack, kept, strict=True):
            if left is not w:
                w.copy_(left)
        self.step_filters_(stack, g, v, group)


def _stacks(groups: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[Tensor]]]:
    """Returns the filters with a gradient that can be stepped at once: of one group and shape."""
    found: dict[Any, tuple[Mapping[str, Any], list[Tensor]]] = {}
    for number, group in enumerate(groups):
        for w in group["params"] if group["orthogonal"] else ():
            if w.grad is not None:
                key = (number, w.shape, w.dtype, w.device)
                found.setdefault(key, (group, []))[1].append(w)
    return list(found.values())
