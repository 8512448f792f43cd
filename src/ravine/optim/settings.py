"""Settings of the optimizer, and the rates that training starts from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from ravine.core.settings import Settings
from ravine.core.validation import check_choice
from ravine.optim.adagrad import AdaGrad
from ravine.optim.adam import Adam
from ravine.optim.base import Decay, RuleOptimizer
from ravine.optim.groups import parameter_groups
from ravine.optim.momentum import Momentum
from ravine.optim.nadam import Nadam
from ravine.optim.rmsprop import RMSProp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An optimizer by name: how it is built and what training starts from."""

    build: Callable[..., RuleOptimizer]
    lr: float
    without_norm: float
    decay: Decay
    settings: tuple[str, ...]


_BATCH = 128  # that the rates below are for

# Rates for batch 128 and weight decay 5e-4 on small images; docs/choose-an-optimizer.md.
_ROWS: Mapping[str, _Row] = {
    "momentum": _Row(
        build=Momentum, lr=3.0, without_norm=1 / 30, decay="coupled", settings=("momentum",)
    ),
    "nesterov": _Row(
        build=Momentum, lr=3.0, without_norm=1 / 30, decay="coupled", settings=("momentum",)
    ),
    "adagrad": _Row(build=AdaGrad, lr=0.02, without_norm=0.1, decay="decoupled", settings=("eps",)),
    "rmsprop": _Row(
        build=RMSProp, lr=0.002, without_norm=0.1, decay="decoupled", settings=("alpha", "eps")
    ),
    "adam": _Row(
        build=Adam, lr=0.003, without_norm=0.1, decay="decoupled", settings=("betas", "eps")
    ),
    "nadam": _Row(
        build=Nadam, lr=0.003, without_norm=0.1, decay="decoupled", settings=("betas", "eps")
    ),
}
OPTIMIZERS: Mapping[str, str] = {
    "momentum": "moving mean of the gradients",
    "nesterov": "momentum that looks ahead",
    "adagrad": "a rate for each weight, which only falls",
    "rmsprop": "a rate for each weight, from a moving mean of squares",
    "adam": "rmsprop with momentum, both corrected",
    "nadam": "adam that looks ahead",
}


class OptimizerSettings(Settings):
    """The update rule and what it works with."""

    optimizer: str = "nesterov"
    """momentum, nesterov, adagrad, rmsprop, adam or nadam."""

    lr: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"] | None = None
    """Learning rate at its peak; auto finds it by a range test. (Momentum: torch SGD's × 10.)"""

    momentum: float = Field(default=0.9, ge=0, lt=1)
    """γ: decay of the mean of the gradients."""

    alpha: float | None = Field(default=None, ge=0, lt=1)
    """α: decay of the mean of squares (0.99 for rmsprop, 0.999 for adam and nadam)."""

    eps: float = Field(default=1e-8, gt=0, allow_inf_nan=False)
    """ε: inside the root for adagrad and rmsprop, outside for adam and nadam."""

    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    """λ; biases and normalisation are spared."""

    bias_rate: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Factor of the rate of biases and normalisation."""

    decay: Literal["auto", "coupled", "decoupled"] = "auto"
    """g ← g + λw, or w ← w − ηλw; auto: coupled for momentum, decoupled for the others."""

    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None = None
    """Limit of the gradients; auto: far above what the last steps' norms were."""

    clip_by: Literal["norm", "value", "agc"] = "norm"
    """What is limited: the global norm, each value, or the ratio to the weights (AGC)."""

    @model_validator(mode="after")
    def _known_optimizer(self) -> Self:
        check_choice("optimizer", self.optimizer, _ROWS)
        return self

    @model_validator(mode="after")
    def _adaptive_limit_is_of_the_norm(self) -> Self:
        if self.clip == "auto" and self.clip_by != "norm":
            raise ValueError(f"clip auto limits the norm, not the {self.clip_by}: give a number")
        return self

    def default_lr(self, *, batch: int = _BATCH, normalised: bool = True) -> float:
        """Returns the rate that training with this optimizer starts from.

        Proportional to the batch for momentum (Goyal et al. 2017), to its root for the adaptive
        ones (Malladi et al. 2022); lower for networks without normalisation layers.
        """
        row = _ROWS[self.optimizer]
        share = batch / _BATCH
        scaled = row.lr * (share if row.build is Momentum else share**0.5)
        return scaled if normalised else scaled * row.without_norm

    def build_optimizer(self, model: nn.Module) -> RuleOptimizer:
        """Returns the optimizer of a model's parameters, in groups by `parameter_groups`."""
        row = _ROWS[self.optimizer]
        lr = self.lr if isinstance(self.lr, float) else row.lr
        given: dict[str, Any] = {
            "momentum": self.momentum,
            "alpha": 0.99 if self.alpha is None else self.alpha,
            "betas": (self.momentum, 0.999 if self.alpha is None else self.alpha),
            "eps": self.eps,
        }
        arguments = {name: given[name] for name in row.settings}
        if row.build is Momentum:
            arguments["nesterov"] = self.optimizer == "nesterov"
        return row.build(
            parameter_groups(
                model, weight_decay=self.weight_decay, lr=lr, bias_rate=self.bias_rate
            ),
            lr=lr,
            decay=row.decay if self.decay == "auto" else self.decay,
            **arguments,
        )
