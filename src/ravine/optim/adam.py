"""Adam: RMSProp with momentum, both corrected for their start at zero."""

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim.base import EPS_IN_ROOT, RuleOptimizer, State, applied_steps
from ravine.optim.decay import Decay
from ravine.optim.step_engine import Implementation
from ravine.optim.update_rules import Number, corrected_root, eps_suffix, root_formula, squarable


def adam(
    w: Tensor,
    g: Tensor,
    v: Tensor,
    G: Tensor,
    k: Number,
    *,
    η: float,
    γ: float,
    α: float,
    ε: float,
    eps_in_root: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns w, v and G after v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η v̂ ⊘ (√Ĝ + ε).

    v̂ = v/(1−γᵏ), Ĝ = G/(1−αᵏ); all tensors of one shape. Kingma, Ba, ICLR 2015.
    """
    g = squarable(g)
    v = v.lerp(g, 1 - γ)
    G = (G * α).addcmul_(g, g, value=1 - α)
    root = corrected_root(G, k, α=α, ε=ε, eps_in_root=eps_in_root, times=1 - γ**k)
    return w.addcdiv(v, root, value=-η), v, G


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
        implementation: plain, fused, triton or auto, as in `RuleOptimizer`.
    """

    state_slots = ("v", "G")
    options = EPS_IN_ROOT

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
        own = {"lr": lr, "betas": betas, "eps": eps, "eps_in_root": eps_in_root}
        super().__init__(params, own, weight_decay, decay, implementation)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula."""
        root = root_formula(group, "Ĝ")
        return f"v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η v̂ ⊘ {root}"

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"adam{eps_suffix(group)}"

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `adam` to tensors of any one shape."""
        γ, α = group["betas"]
        new_w, v, G = adam(
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
