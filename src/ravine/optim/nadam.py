"""Nadam: Adam that looks one step ahead, in the four forms in use."""

from collections.abc import Mapping
from typing import Any, final, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.core.validation import check_choice
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

_SCHEDULED = "μ_{k+1}/(1−Π_{i≤k+1} μ_i) v + (1−μ_k)/(1−Π_{i≤k} μ_i) g"
_LOOKS_AHEAD = {
    "lecture": ("γ v̂ + (1−γ)/(1−γᵏ) g", ""),
    "dozat-constant": ("γ/(1−γᵏ⁺¹) v + (1−γ)/(1−γᵏ) g", ""),
    "dozat": (_SCHEDULED, ", μ_k = γ(1 − ½·0.96^(0.004k))"),
    "keras": (_SCHEDULED, ", μ_k = γ(1 − ½·0.96^k)"),
}


@final
class Nadam(RuleOptimizer):
    """Adam with Nesterov's look ahead. Dozat, ICLR workshop 2016.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        betas: γ and α, both in [0, 1).
        eps: ε > 0.
        eps_in_root: √(Ĝ+ε) in place of √Ĝ + ε.
        form: lecture (Choi et al. 2019), dozat-constant (optax), dozat (torch), keras.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain, fused or auto, as in `RuleOptimizer`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        form: update_rules.NadamForm = "lecture",
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
                "form": form,
                "eps_in_root": eps_in_root,
                "weight_decay": weight_decay,
                "decay": decay,
            },
            implementation,
        )

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns the update as a group has it."""
        step, where = _LOOKS_AHEAD[group["form"]]
        root = "√(Ĝ+ε)" if group["eps_in_root"] else "(√Ĝ + ε)"
        return f"v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η ({step}) ⊘ {root}{where}"

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Adds the ranges of γ, α and the form to those that all share."""
        super().check_group(group)
        check_betas(group["betas"])
        check_choice("form", group["form"], get_args(update_rules.NadamForm))

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"nadam_{group['form'].replace('-', '_')}{ending(group)}"

    def initial_state(self, w: Tensor) -> State:
        """Returns v = 0, G = 0 and the empty product of the μ, which is 1."""
        one = torch.ones((), dtype=torch.float64, device=w.device)
        return {"v": torch.zeros_like(w), "G": torch.zeros_like(w), "mu_product": one}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `update_rules.nadam`."""
        γ, α = group["betas"]
        new_w, v, G, product = update_rules.nadam(
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
            eps_in_root=group["eps_in_root"],
        )
        return new_w, {"v": v, "G": G, "mu_product": product, "step": state["step"]}
