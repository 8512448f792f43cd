"""Adam: RMSProp with momentum, both corrected for their start at zero."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim import update_rules
from ravine.optim.base import (
    Decay,
    Implementation,
    RuleOptimizer,
    State,
    applied_steps,
    check_betas,
    ending,
)


@final
class Adam(RuleOptimizer):
    """w ← w − η v̂ ⊘ (√Ĝ + ε). Kingma, Ba, ICLR 2015.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        betas: γ and α, both in [0, 1).
        eps: ε > 0.
        eps_in_root: √(Ĝ+ε) in place of √Ĝ + ε.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw, as AdamW) or coupled (g ← g + λw).
        implementation: plain, fused or auto, as in `RuleOptimizer`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        eps_in_root: bool = False,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "eps_in_root": eps_in_root,
                "weight_decay": weight_decay,
                "decay": decay,
            },
            implementation,
        )

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns the update as a group has it."""
        root = "√(Ĝ+ε)" if group["eps_in_root"] else "(√Ĝ + ε)"
        return f"v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η v̂ ⊘ {root}"

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Adds the ranges of γ and α to those that all share."""
        super().check_group(group)
        check_betas(group["betas"])

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"adam{ending(group)}"

    def initial_state(self, w: Tensor) -> State:
        """Returns v = 0 and G = 0."""
        return {"v": torch.zeros_like(w), "G": torch.zeros_like(w)}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `update_rules.adam`."""
        γ, α = group["betas"]
        new_w, v, G = update_rules.adam(
            w,
            g,
            state["v"],
            state["G"],
            applied_steps(state),
            η=group["lr"],
            γ=γ,
            α=α,
            ε=group["eps"],
            eps_in_root=group["eps_in_root"],
        )
        return new_w, {"v": v, "G": G, "step": state["step"]}
