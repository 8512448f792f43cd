"""Weight decay too strong: of the optimizer, or as a term of the loss past the outputs.

What a step adds by hand is found by `step_effect.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ravine.checks.context import CheckContext
from ravine.checks.step_record import inner, norm
from ravine.findings.finding import Finding
from ravine.findings.thresholds import PENALTY, STRONG_DECAY


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
    apart = isinstance(context.optimizer, torch.optim.AdamW) or group.get("decay") == "decoupled"
    return decay / 10 if apart else decay


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
