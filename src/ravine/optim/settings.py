"""Settings of the optimizer."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ravine.core.errors import SettingError
from ravine.core.lazy import lazy_module
from ravine.core.settings import Settings
from ravine.core.validation import check_choice
from ravine.optim.optimizers import BATCH, OPTIMIZERS, OTHER_NAMES, SEVERAL_NAMES

if TYPE_CHECKING:
    from torch import nn

    from ravine.optim import groups as parameters
    from ravine.optim.base import RuleOptimizer
else:
    parameters = lazy_module("ravine.optim.groups")


def _listed(names: Mapping[str, Any]) -> str:
    *all_but_last, last = names
    return f"{', '.join(all_but_last)} or {last}."


def _kept_name(name: Any) -> Any:
    """Takes an optimizer's other name too."""
    return OTHER_NAMES.get(name, name) if isinstance(name, str) else name


class OptimizerSettings(Settings):
    """The update rule and what it works with."""

    optimizer: Annotated[str, BeforeValidator(_kept_name)] = Field(
        default="nesterov", description=_listed(OPTIMIZERS)
    )

    lr: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"] | None = None
    """Learning rate at its peak; auto finds it by a range test; by default the optimizer's own for
    the batch, such as 3 for nesterov and 0.003 for adam. (Momentum: torch SGD's × 10.)"""

    momentum: float | None = Field(default=None, ge=0, lt=1)
    """γ: decay of the mean of the gradients; by default 0.9, for muon 0.95, for
    muon-rescaled 0.6."""

    alpha: float | None = Field(default=None, ge=0, lt=1)
    """α: decay of the mean of squares; by default 0.99 for rmsprop, 0.999 for adam and nadam."""

    eps: float = Field(default=1e-8, gt=0, allow_inf_nan=False)
    """ε: inside the root for adagrad and rmsprop, outside for adam and nadam."""

    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    """λ; biases and normalisation layers have none."""

    bias_lr_multiplier: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Factor of the learning rate of biases and normalisation layers."""

    decay: Literal["auto", "coupled", "decoupled"] = "auto"
    """g ← g + λw, or w ← w − ηλw; auto: coupled for momentum, decoupled for the others."""

    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None = None
    """Limit of the gradients; auto: four robust σ above the median log norm of the last steps; by
    default none."""

    clip_by: Literal["norm", "value", "agc"] = "norm"
    """Limited quantity: the global norm, each value, or the ratio to the weights (AGC)."""

    @model_validator(mode="after")
    def _known_optimizer(self) -> Self:
        if ours := SEVERAL_NAMES.get(self.optimizer):
            raise SettingError(f"optimizer {self.optimizer!r} is {' or '.join(ours)} here")
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        return self

    @model_validator(mode="after")
    def _adaptive_limit_is_of_the_norm(self) -> Self:
        if self.clip == "auto" and self.clip_by != "norm":
            raise ValueError(f"clip auto limits the norm, not the {self.clip_by}: give a number")
        return self

    @property
    def has_momentum(self) -> bool:
        """Whether the optimizer has a momentum."""
        return not {"momentum", "betas"}.isdisjoint(_arguments_of(self.optimizer))

    def default_lr(self, *, batch: int = BATCH, normalised: bool = True) -> float:
        """Returns the learning rate that training with this optimizer starts from.

        Proportional to the batch for momentum (Goyal et al. 2017), to its root for the adaptive
        ones (Malladi et al. 2022); lower for networks without normalisation layers.
        """
        row = OPTIMIZERS[self.optimizer]
        scaled = row.lr * (batch / BATCH) ** row.batch_exponent
        return scaled if normalised else scaled * row.without_norm

    def lr_like_torch(self, lr: float) -> float:
        """Returns the learning rate here of one that torch's update rule would have.

        >>> OptimizerSettings(momentum=0.9).lr_like_torch(0.5)
        5.0
        """
        is_mean = self.optimizer in ("momentum", "nesterov")
        return round(lr / (1 - self._momentum), 12) if is_mean else lr

    def lr_of_torch(self, lr: float) -> str:
        """Returns what torch calls this learning rate, in words; empty where it is the same.

        Momentum here is a moving mean of the gradients, 1/(1−γ) times smaller than torch's sum.

        >>> OptimizerSettings(momentum=0.9).lr_of_torch(3.0)
        '; lr=0.3 in torch.optim.SGD'
        """
        if self.optimizer not in ("momentum", "nesterov"):
            return ""
        return f"; lr={lr * (1 - self._momentum):.3g} in torch.optim.SGD"

    def build_optimizer(
        self, model: "nn.Module", *, layer_decay: float | None = None
    ) -> "RuleOptimizer":
        """Returns the optimizer of a model's parameters, in groups by `parameter_groups`."""
        row = OPTIMIZERS[self.optimizer]
        lr = self.lr if isinstance(self.lr, float) else row.lr
        groups = parameters.parameter_groups(
            model,
            weight_decay=self.weight_decay,
            lr=lr,
            bias_lr_multiplier=self.bias_lr_multiplier,
            layer_decay=layer_decay,
        )
        decay = row.decay if self.decay == "auto" else self.decay
        arranged = row.kind.arranged(model, groups)
        return row.build(arranged, lr=lr, decay=decay, **self._hyperparameters())

    @property
    def _momentum(self) -> float:
        return OPTIMIZERS[self.optimizer].momentum if self.momentum is None else self.momentum

    def _hyperparameters(self) -> dict[str, Any]:
        """Returns those of momentum, alpha, betas and eps that the constructor takes."""
        known = _arguments_of(self.optimizer)
        values: dict[str, Any] = {"momentum": self._momentum, "eps": self.eps}
        if self.alpha is not None:
            values["alpha"] = self.alpha
        if "betas" in known:
            α = known["betas"].default[1] if self.alpha is None else self.alpha
            values["betas"] = (self._momentum, α)
        return {name: value for name, value in values.items() if name in known}


def _arguments_of(optimizer: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(OPTIMIZERS[optimizer].kind).parameters
