"""RMSProp: a rate for each weight, from a moving mean of its squared gradients."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.core.validation import check_range
from ravine.optim import update_rules
from ravine.optim.base import Decay, Implementation, RuleOptimizer, State, ending


@final
class RMSProp(RuleOptimizer):
    """G ← αG + (1−α) g⊙g, w ← w − η g ⊘ √(G+ε). Hinton, Tieleman 2012.

    Keeps G bounded, but averages over zeros at the start, and has no momentum.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        alpha: α in [0, 1).
        eps: ε > 0.
        eps_in_root: √(G+ε), or √G + ε as torch.optim has it.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain, fused or auto, as in `RuleOptimizer`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.01,
        alpha: float = 0.99,
        *,
        eps: float = 1e-8,
        eps_in_root: bool = True,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "eps_in_root": eps_in_root,
                "weight_decay": weight_decay,
                "decay": decay,
            },
            implementation,
        )

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns the update as a group has it."""
        root = "√(G+ε)" if group["eps_in_root"] else "(√G + ε)"
        return f"G ← αG + (1−α) g⊙g, w ← w − η g ⊘ {root}"

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Adds the ranges of α to those that all share."""
        super().check_group(group)
        check_range("alpha", group["alpha"], low=0.0, high=1.0, high_open=True)

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"rmsprop{ending(group)}"

    def initial_state(self, w: Tensor) -> State:
        """Returns G = 0."""
        return {"G": torch.zeros_like(w)}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `update_rules.rmsprop`."""
        new_w, G = update_rules.rmsprop(
            w,
            g,
            state["G"],
            η=group["lr"],
            α=group["alpha"],
            ε=group["eps"],
            eps_in_root=group["eps_in_root"],
        )
        return new_w, {"G": G, "step": state["step"]}
