"""Adam: RMSProp with momentum, both corrected for their start at zero."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim import rules
from ravine.optim.base import Decay, RuleOptimizer, State, applied_steps, check_betas


@final
class Adam(RuleOptimizer):
    """w ← w − η v̂ ⊘ (√Ĝ + ε). Kingma, Ba, ICLR 2015.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        betas: γ and α, both in [0, 1).
        eps: ε > 0, outside the root.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw, as AdamW) or coupled (g ← g + λw).
    """

    formula = "v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η v̂ ⊘ (√Ĝ + ε)"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "decay": decay},
        )

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Adds the ranges of γ and α to those that all share."""
        super().check_group(group)
        check_betas(group["betas"])

    def initial_state(self, w: Tensor) -> State:
        """Returns v = 0 and G = 0."""
        return {"v": torch.zeros_like(w), "G": torch.zeros_like(w)}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `rules.adam`."""
        γ, α = group["betas"]
        k = applied_steps(state)
        new_w, v, G = rules.adam(
            w, g, state["v"], state["G"], k, η=group["lr"], γ=γ, α=α, ε=group["eps"]
        )
        return new_w, {"v": v, "G": G, "step": state["step"]}
