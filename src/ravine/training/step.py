"""One step of training, a transaction: forward, backward, norm, decision, update.

If the loss or a gradient is not finite, the weights, the optimizer's state, the buffers
(batch-norm statistics) and the average of the weights stay those of before the step. It
is decided on the device; the host learns of it when it reads the counters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ravine.core.seeds import seed_for
from ravine.data.batches import Batch
from ravine.optim.transaction import decide
from ravine.training.loss import Loss
from ravine.training.state import TrainingState

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRules:
    """What stays the same from step to step."""

    loss: Loss
    precision: torch.dtype
    seed: int
    clip: float | None = None
    clip_by: Literal["norm", "value", "agc"] = "norm"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one step leaves to be looked at: 0-dim tensors on the device."""

    loss: torch.Tensor
    correct: torch.Tensor
    gradient_norm: torch.Tensor


def train_step(
    state: TrainingState, forward: Forward, batch: Batch, *, rules: StepRules
) -> StepResult:
    """Changes `state` by one step on `batch`.

    Args:
        state: the model, in training mode, its optimizer and their counters.
        forward: images (B, C, H, W) to logits (B, K); the model, compiled or not.
        batch: images and targets on the device.
        rules: loss, precision, seed and clipping.
    """
    # Dropout draws from torch's own generator: a stream of its own for each step.
    torch.manual_seed(seed_for("dropout", seed=rules.seed, index=state.step))
    parameters = [p for p in state.model.parameters() if p.requires_grad]
    buffers = list(state.model.buffers())
    before = [buffer.clone() for buffer in buffers]

    with torch.autocast(
        batch.images.device.type, rules.precision, enabled=rules.precision != torch.float32
    ):
        logits = forward(batch.images)
    logits = logits.float()
    loss = rules.loss(logits, batch.targets)
    loss.backward()

    with torch.no_grad():
        decision = decide(parameters, loss.detach(), clip=rules.clip, clip_by=rules.clip_by)
        ok = decision.ok
        state.optimizer.step(ok=ok, scale=decision.scale, gradients=decision.gradients, clear=True)
        _restore(buffers, before, ok)
        _count(state, ok, decision.bad)
        if state.ema:
            applied = state.step + 1 - state.skipped
            state.ema.update(state.model, applied=applied, ok=ok)
        correct = (logits.argmax(1) == batch.labels).sum()
    state.step += 1
    return StepResult(loss=loss.detach(), correct=correct, gradient_norm=decision.norm)


def _restore(
    buffers: Sequence[torch.Tensor], before: Sequence[torch.Tensor], ok: torch.Tensor
) -> None:
    for buffer, old in zip(buffers, before, strict=True):
        buffer.copy_(torch.where(ok, buffer, old))


def _count(state: TrainingState, ok: torch.Tensor, bad: torch.Tensor) -> None:
    undone = (~ok).to(torch.int64)
    first = (state.skipped == 0) & ~ok
    here = torch.stack([torch.full_like(bad, state.step), bad])
    state.first_undone.copy_(torch.where(first, here, state.first_undone))
    state.skipped += undone
    state.streak.copy_((state.streak + 1) * undone)
