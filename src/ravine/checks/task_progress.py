"""Whether a task of small gradient makes progress beside another: it is trained both ways.

    whole     some steps on the declared loss
    alone     as many, from the same state, on the terms of this task, scaled to the same gradient

What the network has learnt of the task is how much higher its terms are, on batches that it was not
trained on, with the targets of other examples. A small weight is no fault where the task is learnt
all the same, and neither is one where it cannot be learnt.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.loss_terms import terms_of
from ravine.checks.parameters import make_dense_
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.thresholds import LEARNABLE_TASK, SLOW_TASK
from ravine.nn.freezing import training_mode_
from ravine.optim.adam import Adam

_EXAMPLES, _STEPS, _FEWEST, _SECONDS, _ASKED = 64, 80, 30, 3.0, 4
_LR = 2e-3  # of Adam, where no optimizer is given


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """What a network learns of one task.

    Attributes:
        whole: beside the others, as a share of the task's loss at first.
        alone: by itself.
        steps: of either training.
    """

    whole: float
    alone: float
    steps: int

    @property
    def is_slow(self) -> bool:
        """Whether the task is learnt alone, and hardly beside the others."""
        return self.alone > LEARNABLE_TASK and self.whole < SLOW_TASK * self.alone


def task_progress(context: CheckContext, task: int) -> TaskProgress | None:
    """Returns what is learnt of a task; None where its terms cannot be told, or it takes long.

    Args:
        context: of the checks.
        task: index of its targets among all tensors of the targets.
    """
    samples = [one.first(_EXAMPLES) for one in context.samples]
    if len(samples) < 2 * _ASKED:
        return None
    with _restored(context):
        own = _terms_of_task(context, samples[0], task)
        began = time.monotonic()
        scale = _scale(context, samples[0], own) if own else 0.0
        seconds = time.monotonic() - began
    steps = min(_STEPS, int(_SECONDS / 2 / max(seconds, 1e-6)))
    if not own or not scale or steps < _FEWEST:
        return None
    first, whole = _learnt(context, samples, task, own, steps, scale=None)
    _, alone = _learnt(context, samples, task, own, steps, scale=scale)
    size = max(abs(first), 1e-12)
    return TaskProgress(whole=whole / size, alone=alone / size, steps=steps)


def with_other_targets(sample: CheckBatch, task: int) -> CheckBatch:
    """Returns a batch whose targets of one task belong to other examples."""
    numbers = iter(range(len(tensors_in(sample.targets))))
    targets: Any = map_tensors(
        sample.targets, lambda t: t.flip(0).roll(1, 0) if next(numbers) == task else t
    )
    return replace(sample, targets=targets)


def _restored(context: CheckContext) -> AbstractContextManager[None]:
    return preserve_training(context.model, context.optimizer)


def _terms(context: CheckContext, sample: CheckBatch) -> list[Tensor]:
    """Returns the terms of the loss of a batch, 0-dim each, with one random draw for any."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return list(terms_of(context.loss, context.output(sample), sample.targets))


def _terms_of_task(context: CheckContext, sample: CheckBatch, task: int) -> list[int]:
    """Returns which terms depend on the targets of a task; none where all of them do."""
    training_mode_(context.model)
    found = _terms(context, sample)
    others = _terms(context, with_other_targets(sample, task))
    if len(found) < 2 or len(found) != len(others):
        return []
    pairs = enumerate(zip(found, others, strict=True))
    own = [n for n, (a, b) in pairs if not torch.isclose(a, b, rtol=1e-5)]
    return own if len(own) < len(found) else []


def _scale(context: CheckContext, sample: CheckBatch, own: Sequence[int]) -> float:
    """Returns how many times as long the gradient of the whole loss is as that of the task."""
    weights = [p for p in context.model.parameters() if p.requires_grad]
    terms = _terms(context, sample)
    lengths = []
    for value in (torch.stack(terms).sum(), torch.stack([terms[n] for n in own]).sum()):
        slopes = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        lengths.append(sum(float(s.double().square().sum()) for s in slopes if s is not None))
    return float((lengths[0] / lengths[1]) ** 0.5) if lengths[1] > 0 else 0.0


def _learnt(
    context: CheckContext,
    samples: Sequence[CheckBatch],
    task: int,
    own: Sequence[int],
    steps: int,
    *,
    scale: float | None,
) -> tuple[float, float]:
    """Returns a task's terms at first, and how much higher they are at last with other targets.

    Args:
        context: of the checks.
        samples: batches, of which the last are asked and not trained on.
        task: whose targets are exchanged.
        own: its terms.
        steps: that are trained.
        scale: of its terms where they are trained alone; None for the whole loss.
    """
    weights = [p for p in context.model.parameters() if p.requires_grad]
    with _restored(context):
        training_mode_(context.model)
        optimizer: torch.optim.Optimizer = context.optimizer or Adam(weights, lr=_LR)
        first = float(_asked(context, samples[0], own).detach())
        for step in range(steps):
            terms = _terms(context, samples[step % (len(samples) - _ASKED)])
            part = terms if scale is None else [terms[n] * scale for n in own]
            context.model.zero_grad()
            torch.stack(part).sum().backward()
            make_dense_(context.model.parameters())
            optimizer.step()
        with torch.random.fork_rng(devices=[]):
            higher = [
                _asked(context, with_other_targets(one, task), own) - _asked(context, one, own)
                for one in samples[-_ASKED:]
            ]
        return first, float(torch.stack(higher).mean().detach())


def _asked(context: CheckContext, sample: CheckBatch, own: Sequence[int]) -> Tensor:
    """Returns the sum of a task's terms, 0-dim."""
    terms = _terms(context, sample)
    if max(own) >= len(terms):
        raise ValueError("the loss has other terms on another batch")
    return torch.stack([terms[n] for n in own]).sum()
