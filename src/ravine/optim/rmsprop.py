"""RMSProp: a rate for each weight, from a moving mean of its squared gradients."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.core.checks import check_range
from ravine.optim import rules
from ravine.optim.base import Decay, RuleOptimizer, State


@final
class RMSProp(RuleOptimizer):
    """G ← αG + (1−α) g⊙g, w ← w − η g ⊘ √(G+ε). Hinton, Tieleman 2012.

    Keeps G bounded, but averages over zeros at the start, and has no momentum. ε stands inside
    the root.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        alpha: α in [0, 1).
        eps: ε > 0.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
    """

    formula = "G ← αG + (1−α) g⊙g, w ← w − η g ⊘ √(G+ε)"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.01,
        alpha: float = 0.99,
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "decay": decay},
        )

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Adds the ranges of α to those that all share."""
        super().check_group(group)
        check_range("alpha", group["alpha"], low=0.0, high=1.0, high_open=True)

    def initial_state(self, w: Tensor) -> State:
        """Returns G = 0."""
        return {"G": torch.zeros_like(w)}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `rules.rmsprop`."""
        new_w, G = rules.rmsprop(w, g, state["G"], η=group["lr"], α=group["alpha"], ε=group["eps"])
        return new_w, {"G": G, "step": state["step"]}
