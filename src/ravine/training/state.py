"""The whole training state in one object; a checkpoint is that object.

There is no random state in it: order, augmentation and dropout are pure functions of
(seed, epoch, step).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ravine.core.errors import RunError, SettingError
from ravine.optim.base import RuleOptimizer
from ravine.optim.state_by_name import load_named_state, named_state
from ravine.optim.transaction import AdaptiveClip, ClipBy, Transaction
from ravine.training.best_weights import Validations
from ravine.training.divergence_state import DivergenceState
from ravine.training.ema import Ema
from ravine.training.step_meter import StepMeter

CLOCKS = ("elapsed", "meter_seconds")  # values that follow the clock, and decide nothing
_UNFIT = (
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    SettingError,
)


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """All that a step reads and changes.

    Attributes:
        model: the network.
        transaction: how steps are taken: the optimizer with its state, and the counters.
        ema: the average of the weights, where it is on.
        step: attempted steps; data and schedule follow it.
        elapsed: seconds of the budget that are used up.
        divergence: what decides about a rollback, where divergence is answered by one.
        meter: means over the steps since the last evaluation.
        validations: the evaluations so far, and the weights of the best.
    """

    model: nn.Module
    transaction: Transaction
    ema: Ema | None
    meter: StepMeter
    validations: Validations
    step: int = 0
    elapsed: float = 0.0
    divergence: DivergenceState | None = None

    @property
    def optimizer(self) -> RuleOptimizer:
        """The optimizer of the network's parameters."""
        return self.transaction.optimizer

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and kept."""
        return self.ema.model if self.ema else self.model

    def tensors(self) -> dict[str, torch.Tensor]:
        """Returns every tensor of the state by name, of any shape."""
        named = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        if self.ema:
            average = self.ema.model.state_dict()
            named |= {f"ema/{name}": value for name, value in average.items()}
        slots = named_state(self.optimizer, self.model)
        named |= {f"optimizer/{name}": value for name, value in slots.items()}
        kept = self.transaction.tensors()
        named |= {f"transaction/{name}": value for name, value in kept.items()}
        named |= {f"meter/{name}": value for name, value in self.meter.tensors().items()}
        best = self.validations.tensors()
        named |= {f"best/{name}": value for name, value in best.items()}
        guarded = self.divergence.tensors() if self.divergence else {}
        return named | {f"guard/{name}": value for name, value in guarded.items()}

    def values(self) -> dict[str, Any]:
        """Returns every plain value of the state."""
        guarded = {"guard": self.divergence.values()} if self.divergence else {}
        metered = {"meter": self.meter.values(), "meter_seconds": self.meter.clocks()}
        evaluated = {"validations": self.validations.values()}
        return {"elapsed": self.elapsed, **metered, **evaluated, **guarded}

    def load(
        self, step: int, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
    ) -> None:
        """Replaces this state by a saved one: tensors by name, of the shapes of `tensors`.

        Raises:
            RunError: the saved state belongs to another network or optimizer.
        """
        try:
            self.model.load_state_dict(_under("model/", tensors))
            if self.ema:
                self.ema.model.load_state_dict(_under("ema/", tensors))
            load_named_state(self.optimizer, self.model, _under("optimizer/", tensors))
            self.transaction.load(_under("transaction/", tensors))
            if self.divergence:
                self.divergence.load(_under("guard/", tensors), values["guard"])
            if "meter" in values:  # not in checkpoints of before
                metered = _under("meter/", tensors)
                self.meter.load(metered, values["meter"], values["meter_seconds"])
            if "validations" in values:  # not in checkpoints of before
                self.validations.load(_under("best/", tensors), values["validations"])
            self.elapsed = float(values["elapsed"])
        except _UNFIT as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"the checkpoint does not fit this network: {first}") from error
        self.step = step


def start_state(
    model: nn.Module,
    optimizer: RuleOptimizer,
    *,
    ema: float,
    clip: float | AdaptiveClip | None = None,
    clip_by: ClipBy = "norm",
    takes_back: bool = False,
    keeps_best: bool = False,
) -> TrainingState:
    """Returns the state before step 1.

    Args:
        model: the network.
        optimizer: of its parameters.
        ema: the decay of the average of the weights, 0 for none.
        clip: as `Transaction` takes it.
        clip_by: as `Transaction` takes it.
        takes_back: whether a run that diverges goes back, so that the state remembers its losses.
        keeps_best: whether the weights of the best evaluation are kept.
    """
    transaction = Transaction(optimizer, model, clip=clip, clip_by=clip_by)
    return TrainingState(
        model=model,
        transaction=transaction,
        meter=StepMeter(transaction.skipped.device),
        validations=Validations(keeps=keeps_best),
        ema=Ema(model, ema) if ema else None,
        divergence=DivergenceState() if takes_back else None,
    )


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
