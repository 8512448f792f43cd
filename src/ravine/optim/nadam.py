"""Nadam: Adam with Nesterov's look-ahead, in the four forms in use."""

from collections.abc import Mapping
from typing import Any, Literal, final, get_args

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim.base import EPS_IN_ROOT, RuleOptimizer, State, applied_steps
from ravine.optim.decay import Decay
from ravine.optim.step_engine import Implementation
from ravine.optim.update_rules import (
    Number,
    corrected_root,
    eps_suffix,
    in_type_of,
    root_formula,
    squarable,
)

NadamForm = Literal["lecture", "dozat-constant", "dozat", "keras"]

# ψ of Dozat's schedule of the momentum, as torch.optim.NAdam and as Keras have it.
_PSI = {"dozat": 0.004, "keras": 1.0}
_SCHEDULED = "μ_{k+1}/(1−Π_{i≤k+1} μ_i) v + (1−μ_k)/(1−Π_{i≤k} μ_i) g"
_LOOK_AHEAD = {
    "lecture": ("γ v̂ + (1−γ)/(1−γᵏ) g", ""),
    "dozat-constant": ("γ/(1−γᵏ⁺¹) v + (1−γ)/(1−γᵏ) g", ""),
    "dozat": (_SCHEDULED, ", μ_k = γ(1 − ½·0.96^(0.004k))"),
    "keras": (_SCHEDULED, ", μ_k = γ(1 − ½·0.96^k)"),
}


def nadam(
    w: Tensor,
    g: Tensor,
    v: Tensor,
    G: Tensor,
    μ_product: Tensor,
    k: Number,
    *,
    η: float,
    γ: float,
    α: float,
    ε: float,
    form: NadamForm,
    eps_in_root: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns w, v, G and Π_{i≤k} μ_i after a step of Adam with Nesterov's look-ahead.

    `μ_product` is Π_{i<k} μ_i, 0-dim float64. Dozat, ICLR workshop 2016.
    """
    g = squarable(g)
    v = v.lerp(g, 1 - γ)
    G = (G * α).addcmul_(g, g, value=1 - α)
    on_v, on_g, μ_product = look_ahead(form, k, γ=γ, μ_product=μ_product)
    # Numerator and denominator are divided by `on_g`, which saves a pass over memory.
    step = (v * in_type_of(w, on_v / on_g)).add_(g)
    root = corrected_root(G, k, α=α, ε=ε, eps_in_root=eps_in_root, times=1 / on_g)
    return w.addcdiv(step, root, value=-η), v, G, μ_product


def look_ahead(
    form: NadamForm, k: Number, *, γ: float, μ_product: Tensor
) -> tuple[Number, Number, Tensor]:
    """Returns the coefficients on v and g at step k, and Π_{i≤k} μ_i, 0-dim.

        lecture          γ/(1−γᵏ)     and (1−γ)/(1−γᵏ), first step 1.90 η; Choi et al. 2019
        dozat-constant   γ/(1−γᵏ⁺¹)   and (1−γ)/(1−γᵏ), first step 1.47 η; optax
        dozat, keras     μ_{k+1}/(1−Π_{i≤k+1} μ_i) and (1−μ_k)/(1−Π_{i≤k} μ_i)
                         with μ_k = γ(1 − ½·0.96^(kψ)), ψ = 0.004 (torch) or 1 (Keras)

    The forms of a constant γ leave the product as it is.
    """
    if form in _PSI:
        μ_now, μ_next = (γ * (1 - 0.5 * 0.96 ** (i * _PSI[form])) for i in (k, k + 1))
        μ_product = μ_product * μ_now
        return μ_next / (1 - μ_product * μ_next), (1 - μ_now) / (1 - μ_product), μ_product
    on_v = γ / (1 - γ ** (k if form == "lecture" else k + 1))
    return on_v, (1 - γ) / (1 - γ**k), μ_product


@final
class Nadam(RuleOptimizer):
    """Adam with Nesterov's look-ahead. Dozat, ICLR workshop 2016.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        betas: γ and α, both in [0, 1).
        eps: ε > 0.
        eps_in_root: √(Ĝ+ε) in place of √Ĝ + ε.
        form: lecture (Choi et al. 2019), dozat-constant (optax), dozat (torch), keras.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain, fused, triton or auto, as in `RuleOptimizer`.
    """

    state_slots = ("v", "G")
    keeps_momentum_product = True
    options = {**EPS_IN_ROOT, "form": get_args(NadamForm)}  # noqa: RUF012

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        form: NadamForm = "lecture",
        eps_in_root: bool = False,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        own = {"lr": lr, "betas": betas, "eps": eps, "form": form, "eps_in_root": eps_in_root}
        super().__init__(params, own, weight_decay, decay, implementation)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula."""
        step, schedule = _LOOK_AHEAD[group["form"]]
        root = root_formula(group, "Ĝ")
        return f"v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η ({step}) ⊘ {root}{schedule}"

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"nadam_{group['form'].replace('-', '_')}{eps_suffix(group)}"

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `nadam` to tensors of any one shape; the product of the μ is 0-dim."""
        γ, α = group["betas"]
        new_w, v, G, product = nadam(
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
