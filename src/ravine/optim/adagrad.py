"""AdaGrad: a learning rate for each weight, which only ever falls."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim.base import EPS_IN_ROOT, RuleOptimizer, State
from ravine.optim.decay import Decay
from ravine.optim.step_engine import Implementation
from ravine.optim.update_rules import eps_suffix, root, root_formula, squarable


def adagrad(
    w: Tensor, g: Tensor, G: Tensor, *, η: float, ε: float, eps_in_root: bool = True
) -> tuple[Tensor, Tensor]:
    """Returns w and G after G ← G + g⊙g, w ← w − η g ⊘ √(G+ε), all of one shape.

    Duchi, Hazan, Singer 2011.
    """
    g = squarable(g)
    G = G.addcmul(g, g).clamp_(max=torch.finfo(G.dtype).max)  # it only grows
    return w.addcdiv(g, root(G, ε=ε, eps_in_root=eps_in_root), value=-η), G


@final
class AdaGrad(RuleOptimizer):
    """G ← G + g⊙g, w ← w − η g ⊘ √(G+ε). Duchi, Hazan, Singer 2011.

    Suits sparse data; G only grows, so that learning can stop. Sparse gradients are accepted: a
    row without one stays as it is, as it would with a gradient of 0.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        eps: ε > 0.
        eps_in_root: √(G+ε), or √G + ε as torch.optim has it.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain, fused, triton or auto, as in `RuleOptimizer`.
    """

    accepts_sparse = True
    state_slots = ("G",)
    options = EPS_IN_ROOT

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.01,
        *,
        eps: float = 1e-8,
        eps_in_root: bool = True,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        own = {"lr": lr, "eps": eps, "eps_in_root": eps_in_root}
        super().__init__(params, own, weight_decay, decay, implementation)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula."""
        return f"G ← G + g⊙g, w ← w − η g ⊘ {root_formula(group, 'G')}"

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"adagrad{eps_suffix(group)}"

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `adagrad` to tensors of any one shape."""
        new_w, G = adagrad(
            w, g, state["G"], η=group["lr"], ε=group["eps"], eps_in_root=group["eps_in_root"]
        )
        return new_w, {"G": G, "step": state["step"]}
