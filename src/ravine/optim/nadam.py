"""Nadam: Adam that looks one step ahead, in the four forms in use."""

from collections.abc import Mapping
from typing import Any, final, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.core.checks import check_choice
from ravine.optim import rules
from ravine.optim.base import Decay, RuleOptimizer, State, applied_steps, check_betas

_FORMULAS = {
    "lecture": "w ← w − η (γ v̂ + (1−γ)/(1−γᵏ) g) ⊘ (√Ĝ + ε)",
    "dozat-constant": "w ← w − η (γ/(1−γᵏ⁺¹) v + (1−γ)/(1−γᵏ) g) ⊘ (√Ĝ + ε)",
    "dozat": "as dozat-constant with μ_k = γ(1 − ½·0.96^(0.004k)) for γ in both factors",
    "keras": "as dozat-constant with μ_k = γ(1 − ½·0.96^k) for γ in both factors",
}


@final
class Nadam(RuleOptimizer):
    """Adam with Nesterov's look ahead. Dozat, ICLR workshop 2016.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        betas: γ and α, both in [0, 1).
        eps: ε > 0, outside the root.
        form: lecture (Choi et al. 2019), dozat-constant (optax), dozat (torch), keras.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        form: rules.NadamForm = "lecture",
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "form": form,
                "weight_decay": weight_decay,
                "decay": decay,
            },
        )

    @property
    def formula(self) -> str:
        """The update in the form of the first group."""
        return _FORMULAS[self.param_groups[0]["form"]]

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Adds the ranges of γ, α and the form to those that all share."""
        super().check_group(group)
        check_betas(group["betas"])
        check_choice("form", group["form"], get_args(rules.NadamForm))

    def initial_state(self, w: Tensor) -> State:
        """Returns v = 0, G = 0 and the empty product of the μ, which is 1."""
        one = torch.ones((), dtype=torch.float64, device=w.device)
        return {"v": torch.zeros_like(w), "G": torch.zeros_like(w), "mu_product": one}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `rules.nadam`."""
        γ, α = group["betas"]
        new_w, v, G, product = rules.nadam(
            w,
            g,
            state["v"],
            state["G"],
            state["mu_product"],
            applied_steps(state),
            η=group["lr"],
            γ=γ,
            α=α,
            ε=group["eps"],
            form=group["form"],
        )
        return new_w, {"v": v, "G": G, "mu_product": product, "step": state["step"]}
