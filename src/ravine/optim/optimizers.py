"""The optimizers by name: class, and the defaults that training starts from. Loads no torch.

Learning rates are for batches of 128 and weight decay 5e-4 on small images, found by races;
docs/choose-an-optimizer.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ravine.core.lazy import lazy_names, named_object
from ravine.optim.decay import Decay

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

    from ravine.optim.adagrad import AdaGrad
    from ravine.optim.adam import Adam
    from ravine.optim.base import RuleOptimizer
    from ravine.optim.momentum import Momentum
    from ravine.optim.muon import Muon
    from ravine.optim.nadam import Nadam
    from ravine.optim.rescaled_muon import RescaledMuon
    from ravine.optim.rmsprop import RMSProp

#: The batch that the table's learning rates are for.
BATCH = 128
# How a learning rate grows with the batch: Goyal et al. 2017; Malladi et al. 2022.
_LINEAR, _ROOT = 1.0, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerRow:
    """One optimizer.

    Attributes:
        summary: the optimizer in a few words.
        path: `module:name` of its class.
        arguments: those of the constructor that the name implies.
        lr: learning rate that training starts from, for batches of `BATCH`.
        batch_exponent: lr is proportional to the batch to this power.
        without_norm: factor of lr for networks without normalisation layers.
        decay: form of weight decay where the user names none.
        momentum: γ where the user names none.
    """

    summary: str
    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    lr: float
    batch_exponent: float = _ROOT
    without_norm: float = 0.1
    decay: Decay = "decoupled"
    momentum: float = 0.9

    @property
    def kind(self) -> "type[RuleOptimizer]":
        """Its class."""
        found: type[RuleOptimizer] = named_object(self.path)
        return found

    def build(self, params: "ParamsT", **hyperparameters: Any) -> "RuleOptimizer":
        """Returns the optimizer of parameters or groups of them."""
        make: Callable[..., RuleOptimizer] = self.kind
        return make(params, **self.arguments, **hyperparameters)


OPTIMIZERS: Mapping[str, OptimizerRow] = {
    "momentum": OptimizerRow(
        summary="moving mean of the gradients",
        path="ravine.optim.momentum:Momentum",
        lr=3.0,
        batch_exponent=_LINEAR,
        without_norm=1 / 30,
        decay="coupled",
    ),
    "nesterov": OptimizerRow(
        summary="momentum that looks ahead",
        path="ravine.optim.momentum:Momentum",
        arguments={"nesterov": True},
        lr=3.0,
        batch_exponent=_LINEAR,
        without_norm=1 / 30,
        decay="coupled",
    ),
    "adagrad": OptimizerRow(
        summary="a learning rate for each weight, which only falls",
        path="ravine.optim.adagrad:AdaGrad",
        lr=0.02,
    ),
    "rmsprop": OptimizerRow(
        summary="a learning rate for each weight, from a moving mean of squares",
        path="ravine.optim.rmsprop:RMSProp",
        lr=0.002,
    ),
    "adam": OptimizerRow(
        summary="rmsprop with momentum, both corrected",
        path="ravine.optim.adam:Adam",
        lr=0.003,
    ),
    "nadam": OptimizerRow(
        summary="adam that looks ahead",
        path="ravine.optim.nadam:Nadam",
        lr=0.003,
    ),
    "muon": OptimizerRow(
        summary="momentum whose step is made orthogonal, filter by filter",
        path="ravine.optim.muon:Muon",
        lr=0.02,
        momentum=0.95,
    ),
    "muon-rescaled": OptimizerRow(
        summary="muon of filters that keep their norm, nesterov of the rest",
        path="ravine.optim.rescaled_muon:RescaledMuon",
        lr=0.13,
        without_norm=1.0,
        decay="coupled",
        momentum=0.6,
    ),
}

#: What other libraries call an optimizer, to its name here: Adam's decay is decoupled by default.
OTHER_NAMES: Mapping[str, str] = {"adamw": "adam", "nadamw": "nadam"}
#: Names that mean several optimizers here, of which one has to be chosen.
SEVERAL_NAMES: Mapping[str, tuple[str, ...]] = {"sgd": ("momentum", "nesterov")}

if not TYPE_CHECKING:
    __getattr__, _ = lazy_names(
        __name__, {row.path.split(":")[1]: row.path.split(":")[0] for row in OPTIMIZERS.values()}
    )

# The package re-exports these: a new class becomes public here.
__all__ = ["OPTIMIZERS", "AdaGrad", "Adam", "Momentum", "Muon", "Nadam", "RMSProp", "RescaledMuon"]
