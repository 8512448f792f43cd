"""Momentum in the form of an exponential moving average, plain and Nesterov."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.core.validation import check_range
from ravine.optim import update_rules
from ravine.optim.base import Decay, Implementation, RuleOptimizer, State


@final
class Momentum(RuleOptimizer):
    """v ← γv + (1−γ)g, w ← w − ηv. Polyak 1964; with `nesterov`, Sutskever et al. 2013.

    v is the mean over the last 1/(1−γ) gradients, so `lr` is 1/(1−γ) times that of torch's SGD:
    `Momentum(lr=1.0, momentum=0.9)` = `torch.optim.SGD(lr=0.1, momentum=0.9, dampening=0)`.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        momentum: γ in [0, 1).
        nesterov: look ahead along v.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain, fused or auto, as in `RuleOptimizer`.

    Sparse gradients are taken, as the dense ones that they stand for: v moves in every row.
    """

    takes_sparse = True

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        momentum: float = 0.9,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "nesterov": nesterov,
                "weight_decay": weight_decay,
                "decay": decay,
            },
            implementation,
        )

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns the update as a group has it, plain or Nesterov."""
        return "v ← γv + (1−γ)g, w ← w − η" + ("(γv + (1−γ)g)" if group["nesterov"] else "v")

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Adds the ranges of γ to those that all share."""
        super().check_group(group)
        check_range("momentum", group["momentum"], low=0.0, high=1.0, high_open=True)

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return "nesterov" if group["nesterov"] else "momentum"

    def initial_state(self, w: Tensor) -> State:
        """Returns v = 0."""
        return {"v": torch.zeros_like(w)}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `update_rules.momentum`."""
        new_w, v = update_rules.momentum(
            w, g, state["v"], η=group["lr"], γ=group["momentum"], nesterov=group["nesterov"]
        )
        return new_w, {"v": v, "step": state["step"]}

    def remark(self, group: Mapping[str, Any]) -> str:
        """Returns what the group's rate is in torch."""
        same = float(group["lr"]) * (1 - group["momentum"])
        return f"= torch SGD lr {same:g}, momentum {group['momentum']:g}, dampening 0"
