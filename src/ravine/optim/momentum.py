"""Momentum in the form of an exponential moving average, plain and Nesterov."""

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim.base import RuleOptimizer, State
from ravine.optim.decay import Decay
from ravine.optim.step_engine import Implementation


def momentum(
    w: Tensor, g: Tensor, v: Tensor, *, η: float, γ: float, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """Returns w and v after v ← γv + (1−γ)g, w ← w − ηv; Nesterov: w ← w − η(γv + (1−γ)g).

    All tensors of one shape. Polyak 1964; Nesterov 1983 in the form of Sutskever et al. 2013.
    """
    v = v.lerp(g, 1 - γ)
    step = v.lerp(g, 1 - γ) if nesterov else v
    return w.add(step, alpha=-η), v


@final
class Momentum(RuleOptimizer):
    """v ← γv + (1−γ)g, w ← w − ηv. Polyak 1964; with `nesterov`, Sutskever et al. 2013.

    v is the mean over the last 1/(1−γ) gradients, so `lr` is 1/(1−γ) times that of torch's SGD:
    `Momentum(lr=1.0, momentum=0.9)` = `torch.optim.SGD(lr=0.1, momentum=0.9, dampening=0)`.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0.
        momentum: γ in [0, 1).
        nesterov: look ahead along v.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain, fused, triton or auto, as in `RuleOptimizer`.

    Sparse gradients are accepted, as the dense ones that they stand for: v moves in every row.
    """

    accepts_sparse = True
    state_slots = ("v",)
    options = {"nesterov": (False, True)}  # noqa: RUF012

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        momentum: float = 0.9,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        own = {"lr": lr, "momentum": momentum, "nesterov": nesterov}
        super().__init__(params, own, weight_decay, decay, implementation)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula, plain or Nesterov."""
        return "v ← γv + (1−γ)g, w ← w − η" + ("(γv + (1−γ)g)" if group["nesterov"] else "v")

    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the rule's name in the kernels."""
        return "nesterov" if group["nesterov"] else "momentum"

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `momentum` to tensors of any one shape."""
        new_w, v = momentum(
            w, g, state["v"], η=group["lr"], γ=group["momentum"], nesterov=group["nesterov"]
        )
        return new_w, {"v": v, "step": state["step"]}

    def remark(self, group: Mapping[str, Any]) -> str:
        """Returns the equivalent settings of torch.optim.SGD."""
        same = float(group["lr"]) * (1 - group["momentum"])
        return f"= torch SGD lr {same:g}, momentum {group['momentum']:g}, dampening 0"
