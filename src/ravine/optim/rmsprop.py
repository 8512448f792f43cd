"""RMSProp: a learning rate for each weight, from a moving mean of its squared gradients."""

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim.base import EPS_IN_ROOT, RuleOptimizer, State
from ravine.optim.decay import Decay
from ravine.optim.step_engine import Implementation
from ravine.optim.update_rules import eps_suffix, root, root_formula, squarable


def rmsprop(
    w: Tensor, g: Tensor, G: Tensor, *, η: float, α: float, ε: float, eps_in_root: bool = True
) -> tuple[Tensor, Tensor]:
    """Returns w and G after G ← αG + (1−α) g⊙g, w ← w − η g ⊘ √(G+ε), all of one shape.

    Hinton, Tieleman 2012.
    """
    g = squarable(g)
    G = (G * α).addcmul_(g, g, value=1 - α)
    return w.addcdiv(g, root(G, ε=ε, eps_in_root=eps_in_root), value=-η), G


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
        implementation: plain, fused, triton or auto, as in `RuleOptimizer`.
    """

    state_slots = ("G",)
    options = EPS_IN_ROOT

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
        own = {"lr": lr, "alpha": alpha, "eps": eps, "eps_in_root": eps_in_root}
        super().__init__(params, own, weight_decay, decay, implementation)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula."""
        return f"G ← αG + (1−α) g⊙g, w ← w − η g ⊘ {root_formula(group, 'G')}"

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"rmsprop{eps_suffix(group)}"

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `rmsprop` to tensors of any one shape."""
        new_w, G = rmsprop(
            w,
            g,
            state["G"],
            η=group["lr"],
            α=group["alpha"],
            ε=group["eps"],
            eps_in_root=group["eps_in_root"],
        )
        return new_w, {"G": G, "step": state["step"]}
