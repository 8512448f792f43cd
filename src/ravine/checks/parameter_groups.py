"""Checks of an optimizer's parameter groups: what one step changes in each of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch.optim import Optimizer

from ravine.checks.context import CheckContext
from ravine.checks.frozen_weights import is_as_drawn
from ravine.checks.short_trainings import needs_closure
from ravine.checks.step_observation import declared_gradient, update_of
from ravine.checks.step_record import Tensors, norm
from ravine.findings.finding import Finding
from ravine.findings.thresholds import GROUP_LEAPS, GROUP_RESTS

_APART = 100.0  # factor between the learning rates of two groups, from which on they are compared
_SLOW = 1e-4  # ‖Δw‖/‖w‖ of a step, at which weights that were just drawn stay what they are
_FEWEST = 64  # weights, whose distribution tells that they were drawn


def check_groups(context: CheckContext) -> Iterator[Finding]:
    """Yields a group of parameters that hardly moves, or leaps, while the others train."""
    optimizer = context.optimizer
    if optimizer is None or needs_closure(optimizer):
        return
    yield from _at_zero(context, optimizer)
    if not _differ(optimizer):
        return
    gradient = declared_gradient(context, context.samples[0])
    if not gradient:
        return
    moved = _relative(context, optimizer, update_of(optimizer, context.model, gradient))
    most = max(moved.values(), default=0.0)
    for number, relative in moved.items():
        lr = float(optimizer.param_groups[number]["lr"])
        if relative < GROUP_RESTS and most > _APART * relative and lr > 0:
            yield _finding(number, lr, relative, "hardly move", "it is frozen in all but name")
        elif (
            relative < _SLOW and most > _APART * relative and lr > 0 and _is_new(optimizer, number)
        ):
            why = "its weights are those of their constructor, and others learn fast: the factors "
            why += "of the layers' rates are the wrong way round, or those of another group"
            yield _finding(number, lr, relative, "hardly move", why)
        elif relative > GROUP_LEAPS:
            yield _finding(number, lr, relative, "leap", "a step throws them away")


def _is_new(optimizer: Optimizer, number: int) -> bool:
    """Returns whether all weights of a group are as torch draws them for a new layer."""
    held = [p.detach() for p in optimizer.param_groups[number]["params"]]
    weights = [p for p in held if p.dim() > 1 and p.numel() >= _FEWEST]
    return bool(weights) and all(map(is_as_drawn, weights))


def _at_zero(context: CheckContext, optimizer: Optimizer) -> Iterator[Finding]:
    """Yields a group whose learning rate is 0 and that no schedule raises, beside others."""
    learning = {id(p) for p in context.model.parameters() if p.requires_grad}
    groups = [g for g in optimizer.param_groups if any(id(p) in learning for p in g["params"])]
    rests = [n for n, g in enumerate(groups) if float(g.get("lr", 1.0)) == 0]
    if not rests or len(rests) == len(groups) or groups[rests[0]].get("initial_lr"):
        return
    yield Finding(
        severity="note",
        code="group-rate-differs",
        seen=f"the learning rate of parameter group {rests[0]} is 0, and no schedule raises it",
        cause="the group is frozen by its rate: meant, or a factor that was rounded to 0",
        cure="nothing, where that is meant; else give it a learning rate",
        evidence={"group": float(rests[0]), "lr": 0.0},
    )


def _differ(optimizer: Optimizer) -> bool:
    lrs = [float(g["lr"]) for g in optimizer.param_groups if "lr" in g and g["params"]]
    positive = [lr for lr in lrs if lr > 0]
    return len(positive) > 1 and max(positive) > _APART * min(positive)


def _relative(context: CheckContext, optimizer: Optimizer, updates: Tensors) -> Mapping[int, float]:
    """Returns ‖Δw‖/‖w‖ of each group that holds weights of this network with a gradient."""
    parameters = list(context.model.parameters())
    at = {id(p): n for n, p in enumerate(parameters)}
    found: dict[int, float] = {}
    for number, group in enumerate(optimizer.param_groups):
        held = [at[id(p)] for p in group["params"] if id(p) in at]
        weights = {n: parameters[n].detach() for n in held if parameters[n].dim() > 1}
        size = norm(weights)
        moved = norm({n: updates[n] for n in weights if n in updates})
        if size > 0 and moved > 0:
            found[number] = moved / size
    return found


def _finding(number: int, lr: float, relative: float, does: str, why: str) -> Finding:
    evidence: dict[str, Any] = {"group": float(number), "lr": lr, "relative": relative}
    return Finding(
        severity="warning",
        code="group-rate-differs",
        seen=f"the weights of parameter group {number} {does}: a step with its learning rate of "
        f"{lr:.3g} changes them by {relative:.1e} of their norm",
        cause=f"the group's learning rate does not fit: {why}",
        cure="give the group a learning rate within a factor of 100 of the others, or freeze it "
        "with requires_grad_(False)",
        evidence=evidence,
    )
