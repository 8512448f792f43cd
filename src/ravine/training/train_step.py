"""One step of training, a transaction: forward, backward, norm, decision, update.

If the loss or a gradient is not finite, the weights, the optimizer's state, the buffers
(batch-norm statistics) and the average of the weights stay those of before the step. It
is decided on the device; the host sees it when it reads the counters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ravine.core.seeds import seed_for
from ravine.data.batches import Batch
from ravine.training.distributed import GradientSync
from ravine.training.loss import LeastLoss, Loss
from ravine.training.state import TrainingState

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """What stays the same from step to step."""

    loss: Loss
    precision: torch.dtype
    seed: int
    gradient_sync: GradientSync | None = None
    """Of several processes; None for one."""

    least_loss: LeastLoss | None = None
    """The floor of a step's own targets; None where labels are hard, and it is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The metrics of one step: 0-dim tensors on the device."""

    loss: torch.Tensor
    floor: torch.Tensor
    """The least loss that the targets of the step allow."""

    correct: torch.Tensor
    gradient_norm: torch.Tensor


def train_step(
    state: TrainingState, forward: Forward, batch: Batch, *, settings: StepSettings
) -> StepResult:
    """Changes `state` by one step on `batch`.

    Args:
        state: the model, in training mode, its optimizer and their counters.
        forward: images (B, C, H, W) to logits (B, K); the model, compiled or not.
        batch: images and targets on the device.
        settings: loss, precision and seed.
    """
    # Dropout draws from torch's own generator: a stream of its own for each step.
    rank = settings.gradient_sync.ranks.rank if settings.gradient_sync else 0
    purpose = f"dropout {rank}" if rank else "dropout"
    _seed(seed_for(purpose, seed=settings.seed, index=state.step), batch.images.device)
    state.transaction.begin()
    with torch.autocast(
        batch.images.device.type, settings.precision, enabled=settings.precision != torch.float32
    ):
        logits = forward(batch.images)
    logits = logits.float()
    loss = settings.loss(logits, batch.targets)
    loss.backward()

    correct, floor = hits(logits.detach(), batch.labels), torch.zeros_like(loss.detach())
    if settings.least_loss:
        floor = settings.least_loss(batch.targets, logits.shape[1])
    if settings.gradient_sync:
        loss, correct, floor = settings.gradient_sync.merge(loss, correct, floor, batch)
    decision = state.transaction.step(loss, clear=True)
    if state.ema:
        applied = state.step + 1 - state.transaction.skipped
        state.ema.update(state.model, applied=applied, ok=decision.ok)
    state.step += 1
    return StepResult(loss=loss.detach(), floor=floor, correct=correct, gradient_norm=decision.norm)


def hits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns how many of B images are answered right, 0-dim.

    Of several labels an image, those whose every label is right at a probability of 0.5.

    Args:
        logits: (B, K).
        labels: (B,) int64, or (B, K) of 0 and 1.
    """
    if labels.dim() == 1:
        return (logits.argmax(1) == labels).sum()
    return ((logits > 0) == (labels > 0)).all(1).sum()


def _seed(seed: int, device: torch.device) -> None:
    """Seeds the generator that a layer on this device draws from."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # the call for all devices takes 0.4 ms
    else:
        torch.manual_seed(seed)
