"""AdaGrad: a rate for each weight, which only ever falls."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim import update_rules
from ravine.optim.base import Decay, Implementation, RuleOptimizer, State, ending


@final
class AdaGrad(RuleOptimizer):
    """G ← G + g⊙g, w ← w − η g ⊘ √(G+ε). Duchi, Hazan, Singer 2011.

    Suits sparse data; G only grows, so that learning can stop. Sparse gradients are taken: a
    row without one stays as it is, as it would with a gradient of 0.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        eps: ε > 0.
        eps_in_root: √(G+ε), or √G + ε as torch.optim has it.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain, fused or auto, as in `RuleOptimizer`.
    """

    takes_sparse = True

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
        super().__init__(
            params,
            {
                "lr": lr,
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
        return f"G ← G + g⊙g, w ← w − η g ⊘ {root}"

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return f"adagrad{ending(group)}"

    def initial_state(self, w: Tensor) -> State:
        """Returns G = 0."""
        return {"G": torch.zeros_like(w)}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `update_rules.adagrad`."""
        new_w, G = update_rules.adagrad(
            w, g, state["G"], η=group["lr"], ε=group["eps"], eps_in_root=group["eps_in_root"]
        )
        return new_w, {"G": G, "step": state["step"]}
