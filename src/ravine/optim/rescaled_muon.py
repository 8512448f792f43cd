"""Muon as in the CIFAR-10 speed records: filters keep their norm, all else takes momentum.

K. Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU", 2024, and its later records with
Muon, https://github.com/KellerJordan/cifar10-airbench. A filter behind which a norm stands has no
size of its own: at a norm that stays, a step turns it by an angle that the learning rate decides.
Norms, biases, the first layer and the head take Nesterov momentum's steps.

Shape letters: N filters of one shape, R rows, C columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.core.device import has_fast_bfloat16
from ravine.core.validation import check_range
from ravine.optim.base import State
from ravine.optim.decay import Decay
from ravine.optim.filter_optimizer import FilterOptimizer
from ravine.optim.momentum import momentum as moving_mean
from ravine.optim.orthogonal import orthogonal_steps_, size_of_steps
from ravine.optim.step_engine import Implementation

_LR, _MOMENTUM = 0.18, 0.6
_OTHER_SHARE, _OTHER_MOMENTUM = 14.0, 0.85
_TIMES = 3  # of Newton-Schulz, as in the records
_SMALLEST_NORM = 1e-7


def rescaled_muon_(
    w: Sequence[Tensor],
    g: Sequence[Tensor],
    v: Sequence[Tensor],
    *,
    η: float,
    μ: float,
    nesterov: bool,
) -> None:
    """Takes the step v ← μv + g, w ← √R w/‖w‖ − η·√max(1, R/C)·O(g + μv) in place.

    O is `ravine.optim.orthogonal.orthogonal`, f applied three times: of float32 in bfloat16 where
    the device multiplies that faster, as in the records.

    Args:
        w: N filters (R, ...) of one shape.
        g: their gradients, of the same shape.
        v: their momenta, of the same shape.
        η: learning rate: how far a step turns a filter, 1 being as far as the filter is long.
        μ: momentum.
        nesterov: O(g + μv); otherwise O(v).
    """
    is_short = w[0].dtype is torch.float32 and has_fast_bfloat16(w[0].device)
    precision = torch.bfloat16 if is_short else None
    steps = orthogonal_steps_(g, v, μ=μ, nesterov=nesterov, times=_TIMES, precision=precision)
    for one, step in zip(w, steps, strict=True):
        norm = torch.linalg.vector_norm(one).clamp_min(_SMALLEST_NORM)
        one.mul_(len(one) ** 0.5 / norm).sub_(step, alpha=η * size_of_steps(one))


@final
class RescaledMuon(FilterOptimizer):
    """w ← √R w/‖w‖ − η·√max(1, R/C)·O(g + μv), v ← μv + g. Jordan 2024.

    A group with `orthogonal=False` takes Nesterov momentum's steps. A group that does not say so is
    split: its matrices and filters keep their norms and step orthogonally, its biases and norms
    take the others, with lr times `other_share`. `RescaledMuon.arranged` gives the first layer and
    the head to these too. For networks whose filters stand before norms.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0 of orthogonal steps.
        momentum: μ in [0, 1).
        nesterov: look ahead along v.
        other_momentum: γ in [0, 1) of the others.
        other_share: their learning rate over η, above 0.
        weight_decay: λ ≥ 0, of the others: filters have their norm.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: of the others' steps, as in `RuleOptimizer`; as orthogonal steps are
            torch's.
    """

    usual = {  # noqa: RUF012
        "lr": _LR,
        "other_share": _OTHER_SHARE,
        "other_momentum": _OTHER_MOMENTUM,
    }
    filter_slots = ("m",)  # not "v": the kernels would step what has one
    other_slots = ("v",)

    def __init__(
        self,
        params: ParamsT,
        lr: float = _LR,
        momentum: float = _MOMENTUM,
        *,
        nesterov: bool = True,
        other_momentum: float = _OTHER_MOMENTUM,
        other_share: float = _OTHER_SHARE,
        weight_decay: float = 0.0,
        decay: Decay = "coupled",
        implementation: Implementation = "auto",
    ) -> None:
        own = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "other_momentum": other_momentum,
            "other_share": other_share,
            "orthogonal": None,
        }
        super().__init__(params, own, weight_decay, decay, implementation)

    @classmethod
    def of_halves(cls, group: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns no decay for filters, and learning rate and momentum of Nesterov's steps."""
        lr = group["lr"] * group["other_share"]
        return {"weight_decay": 0.0}, {"lr": lr, "momentum": group["other_momentum"]}

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Raises `SettingError` unless each hyperparameter is in its range."""
        super().check_group(group)
        share, γ = group["other_share"], group["other_momentum"]
        check_range("other_share", share, low=0.0, low_open=True, high_open=True)
        check_range("other_momentum", γ, low=0.0, high=1.0, high_open=True)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula, orthogonal or Nesterov's."""
        if not group["orthogonal"]:
            return "v ← γv + (1−γ)g, w ← w − η(γv + (1−γ)g)"
        step = "g + μv" if group["nesterov"] else "v"
        return f"v ← μv + g, w ← √R w/‖w‖ − η √max(1, R/C) O({step})"

    def variant(self, group: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Returns the name of Nesterov's rule; the kernels do not step orthogonal filters."""
        return "nesterov"

    def step_filters_(
        self,
        w: Sequence[Tensor],
        g: Sequence[Tensor],
        v: Sequence[Tensor],
        group: Mapping[str, Any],
    ) -> None:
        """Applies `rescaled_muon_` to filters (R, ...) of one shape."""
        η, μ = group["lr"], group["momentum"]
        rescaled_muon_(w, g, v, η=η, μ=μ, nesterov=group["nesterov"])

    def step_other(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies Nesterov's momentum to tensors of any one shape."""
        η, γ = group["lr"], group["momentum"]
        new_w, v = moving_mean(w, g, state["v"], η=η, γ=γ, nesterov=True)
        return new_w, {"v": v, "step": state["step"]}
