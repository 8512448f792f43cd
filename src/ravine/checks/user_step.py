"""Checks of the user's step: it updates, in training mode, by one optimizer, fresh gradients."""

from collections.abc import Iterator

import torch
from torch.optim import Optimizer

from ravine.checks.batch_parts import find_dropped_parts
from ravine.checks.broadcast_terms import find_broadcast_in_step
from ravine.checks.context import CheckContext, layer_of
from ravine.checks.followed_teacher import find_followed_teacher
from ravine.checks.given_to_losses import find_given_in_step
from ravine.checks.leaked_gradients import find_leaked
from ravine.checks.resting_teacher import find_teacher_at_work
from ravine.checks.step_record import StepPair, StepRecord, Tensors, inner
from ravine.checks.wiring import eval_mode_finding, learning_layers_with_modes
from ravine.findings.finding import Finding

# A gradient over that of the step before, that says it was added up: of all weights, and of a part.
_ADDED, _PART, _CLEARLY_ADDED = 1.5, 0.05, 1.9
_WITHOUT_STATE = ("SGD",)  # where no group has momentum, nothing is lost with the optimizer


def check_step(context: CheckContext) -> Iterator[Finding]:
    """Yields faults of the user's own step, called twice on one batch from one state."""
    pair = context.measured.steps
    if pair is None:
        return
    yield from find_given_in_step(context)
    yield from find_broadcast_in_step(context)
    yield from find_teacher_at_work(context)
    yield from find_followed_teacher(context)
    first = pair.first
    with_modes = learning_layers_with_modes(context.model)
    if with_modes and first.training and not any(first.training):
        yield eval_mode_finding(with_modes, whole=True)
    if first.changed:
        yield _changed_batch()
    if first.clips_nothing and any(bool(g.any()) for g in first.gradients.values()):
        yield _clips_nothing()
    for record in (first, pair.second):  # the first may begin in the middle of some batches
        if record and record.optimizer is not None and 0 < record.dropped == record.calls - 1:
            yield _dropped(record)
            break
    yield from find_dropped_parts(context, pair)
    if first.optimizer is None:
        yield _custom_update(first) if first.moved else _never_steps(first)
        return
    yield from _resting(first, pair)
    yield from _breaks(context, first)
    yield from _remade(context, pair)
    if pair.second is not None and not first.has_closure:
        yield from list(_compare(first, pair.second)) or find_leaked(context, pair)


def _changed_batch() -> Finding:
    return Finding(
        severity="warning",
        code="batch-changed",
        seen="the step writes into its batch: images or targets are others after it",
        cause="an operation in place (sub_, div_, +=, masked_fill_) on tensors that the data "
        "keeps: the next epoch begins with what it left",
        cure="write x = (x - mean) / std, which makes a new tensor, or clone the batch first",
    )


def _clips_nothing() -> Finding:
    return Finding(
        severity="warning",
        code="clipping-idle",
        seen="the step calls clip_grad_norm_ on no parameters, so that gradients stay as they are",
        cause="an iterator is given (filter, a generator, model.parameters() kept in a variable) "
        "that the optimizer, or the step before, has used up",
        cure="give clip_grad_norm_ a list, or model.parameters() anew in each step",
    )


def _dropped(record: StepRecord) -> Finding:
    return Finding(
        severity="warning",
        code="gradients-dropped",
        seen=f"the optimizer steps in one of {record.calls} calls, and the gradients of the others "
        "are cleared before it does",
        cause="gradients are accumulated over batches, and zero_grad() stands before each of them",
        cure="call optimizer.zero_grad() after optimizer.step() alone, under the same condition",
        evidence={"calls": float(record.calls), "dropped": float(record.dropped)},
    )


def _never_steps(record: StepRecord) -> Finding:
    cleared = record.without_gradients > 0
    return Finding(
        severity="note" if record.waits else "critical",  # a slow step of very many batches
        code="step-does-not-update",
        seen=f"in {record.calls} calls the step "
        + (
            f"called optimizer.step() {record.without_gradients} times, each without a gradient"
            if cleared
            else "never calls optimizer.step() with gradients"
        )
        + ", and no weight changes",
        cause="the gradients are cleared between backward() and step(), or the loss that "
        "backward() is called on is a copy without the network's graph"
        if cleared
        else "backward() or optimizer.step() is missing, a condition around it is never true, or "
        "it is called on a wrapper that does not pass it on",
        cure="call optimizer.zero_grad(), loss.backward(), optimizer.step(), in this order, on the "
        "loss as the network gave it",
        evidence={"calls": record.calls},
    )


def _custom_update(record: StepRecord) -> Finding:
    return Finding(
        severity="note",
        code="optimizer-unseen",
        seen=f"weights change in {record.calls} calls of the step, and no torch optimizer stepped "
        "with gradients",
        cause="the step updates the weights by itself",
        cure="nothing, where that is meant; else call optimizer.step()",
        evidence={"calls": record.calls},
    )


def _resting(first: StepRecord, pair: StepPair) -> Iterator[Finding]:
    """Yields a step that changes nothing, unless a schedule is about to raise its rate from 0."""
    records = [first] if pair.second is None else [first, pair.second]
    if any(record.moved for record in records):
        return
    if first.rests and _will_rise(first.optimizer):
        return
    yield Finding(
        severity="critical",
        code="step-does-not-update",
        seen="the optimizer steps, and no weight of the model changes"
        + (f"; its learning rate is 0 in {len(first.learning_rates)} calls" if first.rests else ""),
        cause="the learning rate is 0"
        if first.rests
        else "the optimizer holds other tensors, or a wrapper's step() does not call the inner one",
        cure="make the optimizer from this model's parameters, with a learning rate above 0",
        evidence={"calls": first.calls},
    )


def _breaks(context: CheckContext, first: StepRecord) -> Iterator[Finding]:
    """Yields a step that makes weights infinite or NaN by gradients that are finite."""
    broken = [n for n, moved in first.updates.items() if not bool(moved.isfinite().all())]
    gradients = [first.gradients[n] for n in broken if n in first.gradients]
    if not gradients or not all(bool(one.isfinite().all()) for one in gradients):
        return
    weights = list(context.model.parameters())[broken[0]]
    kind = str(weights.dtype).removeprefix("torch.")
    groups = [] if first.optimizer is None else first.optimizer.param_groups
    eps = min((float(group["eps"]) for group in groups if "eps" in group), default=1.0)
    is_lost = float(torch.tensor(eps, dtype=weights.dtype)) == 0
    least = torch.finfo(weights.dtype).tiny
    yield Finding(
        severity="critical",
        code="not-finite",
        seen=f"after one step weights ({kind}) are infinite or NaN, and their gradients are finite",
        cause=f"the optimizer's eps of {eps:g} is 0 in {kind}: it divides 0 by 0"
        if is_lost
        else "the optimizer's numbers leave the range of the weights' type",
        cure="keep the weights in float32 (autocast computes in half precision)"
        + (f", or give an eps of {least:.1g} at least" if is_lost else ""),
        layer=layer_of(context.model, weights),
    )


def _will_rise(optimizer: Optimizer | None) -> bool:
    """Returns whether a schedule is attached that multiplies a learning rate above 0."""
    groups = [] if optimizer is None else optimizer.param_groups
    return any(float(group.get("initial_lr", 0.0)) > 0 for group in groups)


def _remade(context: CheckContext, pair: StepPair) -> Iterator[Finding]:
    """Yields an optimizer that is another object in each call of the step."""
    one, other = pair.first.optimizer, pair.second and pair.second.optimizer
    if one is None or other is None or one is other or context.optimizer in (one, other):
        return
    loses = not _is_stateless(one)
    yield Finding(
        severity="warning" if loses else "note",
        code="optimizer-remade",
        seen=f"each call of the step makes a new {type(one).__name__} and steps with it"
        + ("; its momentum and averages begin at 0 each time" if loses else ""),
        cause="the optimizer is constructed inside the step",
        cure="make the optimizer once, before the loop over batches",
        evidence={"optimizers": 2.0},
    )


def _is_stateless(optimizer: Optimizer) -> bool:
    is_plain = type(optimizer).__name__ in _WITHOUT_STATE
    return is_plain and not any(group.get("momentum") for group in optimizer.param_groups)


def _compare(first: StepRecord, second: StepRecord) -> Iterator[Finding]:
    """Yields gradients that a second step from the same weights finds added up.

    Of weights that an optimizer of the step holds: nobody clears those of the others.
    """
    held = {n: g for n, g in first.gradients.items() if n in first.held and bool(g.any())}
    ratios = {n: _ratio({n: g}, second.gradients) for n, g in held.items()}
    added = {n: held[n] for n, ratio in ratios.items() if ratio > _ADDED}
    share = sum(g.numel() for g in added.values()) / max(1, sum(g.numel() for g in held.values()))
    ratio = _ratio(held, second.gradients)
    if ratio > _ADDED or (share > _PART and _ratio(added, second.gradients) > _CLEARLY_ADDED):
        yield Finding(
            severity="critical",
            code="gradients-not-cleared",
            seen="the second step on the same batch from the same weights has "
            f"{max(ratio, _ratio(added, second.gradients)):.2f} times the gradient of the first"
            + ("" if ratio > _ADDED else f", in {share:.0%} of the weights"),
            cause="the gradients of all earlier steps add up: zero_grad is not called"
            + ("" if ratio > _ADDED else " on each optimizer"),
            cure="call optimizer.zero_grad() in every step, before loss.backward()",
            evidence={"ratio": ratio, "share": share},
        )


def _ratio(one: Tensors, other: Tensors) -> float:
    """Returns how much of `one` lies in `other`, 1 where they are equal."""
    square = inner(one, one)
    return inner(one, other) / square if square > 0 else 1.0
