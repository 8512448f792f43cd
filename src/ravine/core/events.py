"""Events of a run. Observers are called with them.

An observer is a function of one event. It reads and never changes: tensors in an event
stay on the device and belong to the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

from ravine.core.notice import Notice as Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The plan is made; the first step follows.

    Attributes:
        step: steps done, above 0 after a resume.
        total_steps: of the run.
        steps_per_epoch: of the training images.
        batch: images per step, over all ranks.
        model: name of the network.
        run: path of the run folder; empty where there is none.
        loss_floor: expected least training loss that smoothed or mixed targets allow, 0 for hard
            labels.
    """

    step: int
    total_steps: int
    steps_per_epoch: int
    batch: int
    model: str
    run: str = ""
    loss_floor: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """One step was attempted. Its scalars are tensors on the device: reading one synchronises.

    Attributes:
        step: attempted steps so far.
        total_steps: of the run.
        lr: learning rate of the step.
        loss: 0-dim, the mean over the batch.
        floor: 0-dim, the least loss that the step's own targets allow; a display takes it off, so
            that the losses of training and validation compare. None for 0.
        correct: 0-dim, images of the batch that were answered correctly.
        gradient_norm: 0-dim, before clipping.
        seen: images of the batch, over all ranks.
        skipped: 0-dim, whether the step was undone.
        elapsed: seconds of training.
        measure: what `correct` is a share of: accuracy, or exact_match where an image has several
            labels, all of which have to be right.
    """

    step: int
    total_steps: int
    lr: float
    loss: "torch.Tensor"
    correct: "torch.Tensor"
    gradient_norm: "torch.Tensor"
    seen: int
    skipped: "torch.Tensor"
    elapsed: float
    measure: str = "accuracy"
    floor: "torch.Tensor | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDone:
    """An epoch ended; it was evaluated where there are validation images.

    Attributes:
        epoch: epochs so far.
        step: attempted steps so far.
        total_steps: of the run.
        train_loss: mean over the epoch's training batches.
        train_loss_floor: mean over the same batches of the least loss that their targets allow.
        train_accuracy: in [0, 1], over the same batches; of several labels the exact matches.
        accuracy: in [0, 1] on the validation images, or None; None with several labels.
        interval: its 95 % interval, or None.
        loss: on the validation images, or None.
        images_per_second: of training.
        elapsed: seconds of training.
        measure: as in `StepDone`.
        scores: of several labels, on the validation images: mean_ap and macro_f1 (at 0.5), in
            [0, 1]; else empty.
    """

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
    measure: str = "accuracy"
    train_loss_floor: float = 0.0
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint was written.

    Attributes:
        step: attempted steps so far.
        path: of its folder.
    """

    step: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """A diverged run was rolled back to a save point.

    Attributes:
        step: at which divergence was detected.
        to: step of the save point.
        scale: factor of the learning rates from here on.
        reason: of the detection, in a few words.
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
    """The plan of a run was corrected: to its budget, as it is at fixed shares of the run, or as
    its validation stands still.

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
