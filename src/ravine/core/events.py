"""What happens during a run, told to whoever looks.

An observer is a function of one event. It looks and never touches: tensors in an event
stay on the device and belong to the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A line worth a reader's attention, such as a choice that Ravine made."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The plan is made; the first step follows."""

    step: int
    total_steps: int
    steps_per_epoch: int
    batch: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """One step was attempted. The scalars are tensors on the device: reading one waits."""

    step: int
    total_steps: int
    lr: float
    loss: torch.Tensor
    correct: torch.Tensor
    gradient_norm: torch.Tensor
    seen: int
    skipped: torch.Tensor
    elapsed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDone:
    """An epoch ended; it was evaluated where there are validation images."""

    epoch: float
    step: int
    total_steps: int
    train_loss: float
    train_accuracy: float
    accuracy: float | None
    interval: tuple[float, float] | None
    loss: float | None
    images_per_second: float
    elapsed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint lies on disk, whole."""

    step: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """A run that diverged was taken back to a state that was good.

    Attributes:
        step: at which it was found diverged.
        to: the step that it goes on from.
        scale: what its rates are multiplied by from here on.
        reason: what was seen, in a few words.
    """

    step: int
    to: int
    scale: float
    reason: str

    def text(self) -> str:
        """Returns the event in one line."""
        return (
            f"step {self.step}: {self.reason}; back to step {self.to} with learning rates × "
            f"{self.scale:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCorrected:
    """The plan of a run with a budget was corrected, once.

    Attributes:
        step: after which it was decided.
        before: the number of steps that was planned.
        end: the number of steps after which the run ends.
        plan: the corrected plan as plain values, as in recipe.toml.
    """

    step: int
    before: int
    end: int
    plan: Mapping[str, Any]


Event = (
    Notice | TrainingStarted | StepDone | EpochDone | CheckpointSaved | RolledBack | PlanCorrected
)
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Does nothing with an event: the observer of a run that nobody follows."""
