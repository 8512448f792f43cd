"""AdaGrad: a rate for each weight, which only ever falls."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim import rules
from ravine.optim.base import Decay, RuleOptimizer, State


@final
class AdaGrad(RuleOptimizer):
    """G ← G + g⊙g, w ← w − η g ⊘ √(G+ε). Duchi, Hazan, Singer 2011.

    Suits sparse data; G only grows, so that learning can stop. ε stands inside the root.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        eps: ε > 0.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
    """

    formula = "G ← G + g⊙g, w ← w − η g ⊘ √(G+ε)"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.01,
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
    ) -> None:
        super().__init__(
            params, {"lr": lr, "eps": eps, "weight_decay": weight_decay, "decay": decay}
        )

    def initial_state(self, w: Tensor) -> State:
        """Returns G = 0."""
        return {"G": torch.zeros_like(w)}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `rules.adagrad`."""
        new_w, G = rules.adagrad(w, g, state["G"], η=group["lr"], ε=group["eps"])
        return new_w, {"G": G, "step": state["step"]}
