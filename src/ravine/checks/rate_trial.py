"""A short training at the user's learning rate, and one at the suggested: an intervention.

A range test passes each learning rate in a step or two; whether one of them is too high for a
training shows after dozens of steps at it.
"""

import math
from collections.abc import Sequence

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.maximised import minimise_
from ravine.checks.parameters import make_dense_
from ravine.checks.step_modes import train_as_in_step_
from ravine.checks.step_observation import update_of
from ravine.checks.step_record import cosine, norm
from ravine.core.preserve_training import preserve_training

_LATE = 3  # the last third of the losses is compared
_THE_SAME_WAY, _SEVERAL = 0.8, 1.5  # cosine of gradients, and times an update
_CLIPPED = 0.9  # of the loss's gradient, less of which reaches the optimizer


def is_clipped(context: CheckContext) -> bool:
    """Returns whether the user's step is seen to shorten gradients, so that it bears more."""
    pair = context.measured.steps
    if pair is None or not pair.first.gradients or not pair.declared:
        return False
    return norm(pair.first.gradients) < _CLIPPED * norm(pair.declared)


def gradient_multiple(context: CheckContext) -> float:
    """Returns how many times an update of the declared loss the user's step makes, at least 1.

    Parts of a batch whose gradients are summed and not averaged make as many as there are parts;
    an optimizer that divides by the gradient's size, as Adam, makes one.
    """
    pair = context.measured.steps
    if pair is None or pair.first.optimizer is None or not pair.declared:
        return 1.0
    if cosine(pair.first.gradients, pair.declared) < _THE_SAME_WAY:
        return 1.0
    usual = norm(update_of(pair.first.optimizer, context.model, pair.declared))
    found = norm(pair.first.updates) / usual if usual > 0 else 1.0
    return found if found > _SEVERAL else 1.0


def late_loss(
    context: CheckContext, samples: Sequence[CheckBatch], lr: float, *, steps: int
) -> float:
    """Returns the mean loss at the end of some steps with the user's optimizer; all is put back.

    Args:
        context: of the checks, with an optimizer.
        samples: that are trained on, in turn.
        lr: of the first group; the others keep their ratio to it.
        steps: at least 3.

    Infinite where the loss is lost on the way.
    """
    optimizer = context.optimizer
    assert optimizer is not None
    losses: list[float] = []
    with preserve_training(context.model, optimizer):
        train_as_in_step_(context)
        minimise_(optimizer)
        factor = lr / float(optimizer.param_groups[0]["lr"])
        for group in optimizer.param_groups:
            group["lr"] = factor * group["lr"]
        for step in range(steps):
            loss = context.value(samples[step % len(samples)])
            losses.append(float(loss.detach()))
            if not loss.requires_grad or not math.isfinite(losses[-1]):
                return math.inf
            optimizer.zero_grad()
            loss.backward()
            make_dense_(list(context.model.parameters()))
            optimizer.step()
    late = losses[-(len(losses) // _LATE) :]
    return sum(late) / len(late)
