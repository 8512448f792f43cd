"""Weight decay too strong: of the optimizer, or as a term of the loss past the outputs.

What a step adds by hand is found by `step_effect.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch.optim import Optimizer

from ravine.checks.context import CheckContext
from ravine.checks.short_trainings import needs_closure
from ravine.checks.step_observation import update_of
from ravine.checks.step_record import Tensors, cosine, inner, norm
from ravine.findings.finding import Finding
from ravine.findings.thresholds import PENALTY, STRONG_DECAY

_STRAIGHT = 0.999  # cosine
_GROWS = 1.5  # factor of an update by twice the gradient, from which on it is proportional to it


def check_decay(context: CheckContext) -> Iterator[Finding]:
    """Yields decay that pulls the weights to 0 faster than they can learn."""
    groups = [] if context.optimizer is None else context.optimizer.param_groups
    strong = [g for g in groups if g["params"] and _pull(context, g) > STRONG_DECAY]
    if strong:
        yield _by_optimizer(float(strong[0]["weight_decay"]))
    else:
        yield from _by_loss(context)


def _pull(context: CheckContext, group: Mapping[str, Any]) -> float:
    decay = float(group.get("weight_decay", 0.0) or 0.0)
    if decay <= STRONG_DECAY or context.optimizer is None:
        return decay
    return decay / 10 if _is_decoupled(context, context.optimizer, group) else decay


def _is_decoupled(context: CheckContext, optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    """Returns whether decay stands beside updates whose size the gradient's does not change.

    Three steps from an empty state tell: one without gradients leads straight to 0 where the decay
    is not divided by anything, and twice the gradient leads no further than once.
    """
    if needs_closure(optimizer):
        return False
    held = {id(p) for p in group["params"]}
    weights: Tensors = {
        n: p.detach() for n, p in enumerate(context.model.parameters()) if id(p) in held
    }
    pulled, once, twice = (
        update_of(optimizer, context.model, {n: k * w for n, w in weights.items()}, fresh=True)
        for k in (0.0, 1.0, 2.0)
    )
    is_straight = cosine(pulled, weights) < -_STRAIGHT
    moved = [norm({n: one[n] - pulled[n] for n in weights}) for one in (once, twice)]
    return is_straight and moved[1] < _GROWS * moved[0]


def _by_optimizer(decay: float) -> Finding:
    return Finding(
        severity="warning",
        code="decay-too-strong",
        seen=f"weight decay is {decay:.3g}",
        cause="the weights are pulled to 0 more strongly than the loss pulls them away",
        cure="set weight_decay to 5e-4 (1e-2 for AdamW)",
        evidence={"weight_decay": decay},
        changes={"weight_decay": 5e-4},
    )


def _by_loss(context: CheckContext) -> Iterator[Finding]:
    """Yields a loss whose gradient does for the most part not come from the outputs."""
    if context.measured.penalty is None:
        return
    past, through = context.measured.penalty
    weights = {n: p.detach() for n, p in enumerate(context.model.parameters()) if n in past}
    square = inner(weights, weights)
    decay = inner(past, weights) / square if square > 0 else 0.0
    ratio = norm(past) / max(norm(through), 1e-30)
    if decay > STRONG_DECAY and ratio > PENALTY:
        yield Finding(
            severity="warning",
            code="decay-too-strong",
            seen=f"a term of the loss that does not depend on the outputs has {ratio:.3g} times "
            f"the gradient of the rest, as weight decay of {decay:.3g} would",
            cause="the term pulls the weights to 0 more strongly than the targets pull them away",
            cure="make the term's factor smaller; 2e-4 times the squared weights is usual",
            evidence={"weight_decay": decay, "ratio": ratio},
            changes={"weight_decay": 5e-4},
        )
