"""Muon: momentum whose step is made orthogonal, filter by filter, before it is taken.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/. Norms, biases, the first layer and the head take Adam's
steps.

Shape letters: N filters of one shape, R rows, C columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.core.validation import check_range
from ravine.optim.adam import adam
from ravine.optim.base import State, applied_steps
from ravine.optim.decay import Decay
from ravine.optim.filter_optimizer import FilterOptimizer
from ravine.optim.orthogonal import orthogonal_steps_, size_of_steps
from ravine.optim.step_engine import Implementation

_LR, _ADAM_SHARE = 0.02, 0.15


def muon_(
    w: Sequence[Tensor],
    g: Sequence[Tensor],
    v: Sequence[Tensor],
    *,
    η: float,
    μ: float,
    nesterov: bool,
) -> None:
    """Takes the step v ← μv + g, w ← w − η·√max(1, R/C)·O(g + μv) in place.

    O is `ravine.optim.orthogonal.orthogonal`.

    Args:
        w: N filters (R, ...) of one shape.
        g: their gradients, of the same shape.
        v: their momenta, of the same shape.
        η: learning rate.
        μ: momentum.
        nesterov: O(g + μv); otherwise O(v).
    """
    steps = orthogonal_steps_(g, v, μ=μ, nesterov=nesterov)
    for one, step in zip(w, steps, strict=True):
        one.sub_(step, alpha=η * size_of_steps(one))


@final
class Muon(FilterOptimizer):
    """w ← w − η·√max(1, R/C)·O(g + μv), v ← μv + g. Jordan et al. 2024.

    A group with `orthogonal=False` takes Adam's steps. A group that does not say so is split:
    its matrices and filters are made orthogonal, its biases and norms take Adam's steps with lr
    times `adam_share`. `Muon.arranged` gives the first layer and
    the head to Adam too.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0 of orthogonal steps.
        momentum: μ in [0, 1).
        nesterov: look ahead along v.
        betas: of Adam's steps.
        eps: of Adam's steps.
        adam_share: Adam's learning rate over η, above 0.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: of Adam's steps, as in `RuleOptimizer`; as orthogonal steps are torch's.
    """

    usual = {"lr": _LR, "adam_share": _ADAM_SHARE}  # noqa: RUF012
    filter_slots = ("v",)
    other_slots = ("v", "G")

    def __init__(
        self,
        params: ParamsT,
        lr: float = _LR,
        momentum: float = 0.95,
        *,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adam_share: float = _ADAM_SHARE,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        own = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "betas": betas,
            "eps": eps,
            "eps_in_root": False,
            "adam_share": adam_share,
            "orthogonal": None,
        }
        super().__init__(params, own, weight_decay, decay, implementation)

    @classmethod
    def of_halves(cls, group: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns nothing for filters, and Adam's learning rate."""
        return {}, {"lr": group["lr"] * group["adam_share"]}

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Raises `SettingError` unless each hyperparameter is in its range."""
        super().check_group(group)
        check_range("adam_share", group["adam_share"], low=0.0, low_open=True, high_open=True)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula, orthogonal or Adam's."""
        if not group["orthogonal"]:
            return "v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η v̂ ⊘ (√Ĝ + ε)"
        return "v ← μv + g, w ← w − η √max(1, R/C) O(" + ("g + μv)" if group["nesterov"] else "v)")

    def variant(self, group: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Returns the name of Adam's rule; the kernels do not step orthogonal filters."""
        return "adam"

    def step_filters_(
        self,
        w: Sequence[Tensor],
        g: Sequence[Tensor],
        v: Sequence[Tensor],
        group: Mapping[str, Any],
    ) -> None:
        """Applies `muon_` to filters (R, ...) of one shape."""
        muon_(w, g, v, η=group["lr"], μ=group["momentum"], nesterov=group["nesterov"])

    def step_other(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `adam` to tensors of any one shape."""
        γ, α = group["betas"]
        k, η, ε = applied_steps(state), group["lr"], group["eps"]
        new_w, v, G = adam(w, g, state["v"], state["G"], k, η=η, γ=γ, α=α, ε=ε)
        return new_w, {"v": v, "G": G, "step": state["step"]}
