"""Checks of a step's effect: its gradient and update against those of the declared loss."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.easy_examples import find_easy_in_step
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.maximised import as_descended
from ravine.checks.step_observation import declared_gradient, update_of
from ravine.checks.step_record import StepPair, Tensors, cosine, inner, norm, of_one_optimizer
from ravine.findings.finding import Finding
from ravine.findings.thresholds import (
    CLIMBS,
    GRADIENT_CUT,
    ROUNDED_AWAY,
    STRONG_DECAY,
    UNRELATED_STEP,
)

_PERMUTATIONS = 4
_AS_FED = 0.9  # cosine with the gradient of what the step fed, that targets of others do not reach
_THE_SAME, _ANOTHER = 0.9999, 0.999  # cosines of gradients of one batch, and of two
_DOMINATES = 0.5  # of the step's gradient, that an L2 term must explain
_HARDLY, _LITTLE, _MUCH = 1e-4, 1e-3, 0.03  # ‖Δw‖/‖w‖ of a step
_NEARLY, _EXACTLY = 2e-3, 1e-4  # relative error of a norm that was clipped
_COARSE = 1e-4  # relative spacing of numbers, from which on updates are easily lost


def check_step_effect(context: CheckContext) -> Iterator[Finding]:
    """Yields a step that climbs, hardly moves, decays, or follows something else than the loss."""
    pair = context.measured.steps
    if pair is None or pair.first.optimizer is None or pair.first.has_closure:
        return
    pair = as_descended(of_one_optimizer(pair))
    weights = {n: p.detach() for n, p in enumerate(context.model.parameters()) if p.requires_grad}
    climbs = list(_climbing(pair))
    yield from climbs
    yield from _rounded(context.model, pair)
    decays = list(_decaying(pair, weights))
    yield from decays
    if not decays:
        yield from _cut(context, pair, weights)
        ignored = list(_ignores_its_batch(pair)) or list(find_easy_in_step(context, pair))
        yield from ignored or (() if climbs else _unrelated(context, pair))


def _climbing(pair: StepPair) -> Iterator[Finding]:
    upward = cosine(pair.first.updates, pair.declared)
    if upward > CLIMBS:
        yield Finding(
            severity="critical",
            code="step-climbs",
            seen=f"a step moves the weights along the gradient of the loss and not against it "
            f"(cosine {upward:.2f})",
            cause="the optimizer maximises (maximize=True), or the step turns the sign round",
            cure="leave out maximize=True, and call backward() on the loss itself",
            evidence={"cosine": upward},
        )


def _rounded(model: nn.Module, pair: StepPair) -> Iterator[Finding]:
    """Yields updates that are lost, since they are smaller than the weights' last digit."""
    first, rising = pair.first, _rises(pair)
    lost = held = 0
    for n, p in enumerate(model.parameters()):
        is_coarse = torch.finfo(p.dtype).eps > _COARSE
        if is_coarse and n in first.gradients and n in first.updates and p.requires_grad:
            has_gradient = first.gradients[n] != 0
            held += int(has_gradient.sum())
            lost += int((has_gradient & (first.updates[n] == 0)).sum())
    share = lost / held if held else 0.0
    if share > ROUNDED_AWAY and any(first.updates[n].any() for n in first.updates) and not rising:
        kinds = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})
        yield Finding(
            severity="warning",
            code="updates-too-small",
            seen=f"a step leaves {share:.0%} of the weights that have a gradient exactly as they "
            f"were; weights are {', '.join(kinds)}",
            cause="the update is smaller than the last digit of the weight and is rounded away",
            cure="keep the weights in float32 (autocast computes in bfloat16), or raise the "
            "learning rate",
            evidence={"share": share},
        )


def _rises(pair: StepPair) -> bool:
    """Returns whether the learning rate is on its way up, as at the start of a warm-up."""
    groups = [] if pair.first.optimizer is None else pair.first.optimizer.param_groups
    now = pair.first.learning_rates[0]
    later = pair.second.learning_rates[-1] if pair.second and pair.second.learning_rates else now
    meant = [float(g.get("initial_lr", lr)) for g, lr in zip(groups, now, strict=False)]
    return max(later) > 1.001 * max(now) or max(meant, default=0.0) > 2 * max(now)


def _decaying(pair: StepPair, weights: Tensors) -> Iterator[Finding]:
    """Yields an L2 term in the step: least squares on the loss's gradient and the weights."""
    step = {n: pair.first.gradients[n] for n in weights if n in pair.first.gradients}
    loss = {n: pair.declared[n] for n in step if n in pair.declared}
    if len(loss) < len(step) or not step:
        return
    held = {n: weights[n] for n in step}
    gg, gw, ww = inner(loss, loss), inner(loss, held), inner(held, held)
    sg, sw, ss = inner(step, loss), inner(step, held), inner(step, step)
    determinant = gg * ww - gw * gw
    if determinant <= 1e-12 * gg * ww or ss <= 0:
        return
    scale, decay = (sg * ww - sw * gw) / determinant, (sw * gg - sg * gw) / determinant
    explained = (scale * sg + decay * sw) / ss
    by_loss = sg * sg / (gg * ss)
    if decay > STRONG_DECAY and explained > 0.8 and explained - by_loss > _DOMINATES:
        yield _strong_decay(decay, by_loss)


def _strong_decay(decay: float, by_loss: float) -> Finding:
    return Finding(
        severity="warning",
        code="decay-too-strong",
        seen=f"the step's gradient holds {decay:.3g} times the weights, and the loss explains "
        f"{by_loss:.0%} of it",
        cause="an L2 term in the loss, or decay added by hand, pulls the weights to 0 more "
        "strongly than the loss pulls them away",
        cure="make the term's factor smaller (2e-4 times the squared weights is usual), or give "
        "weight_decay to the optimizer once",
        evidence={"weight_decay": decay, "share": by_loss},
        changes={"weight_decay": 5e-4},
    )


def _cut(context: CheckContext, pair: StepPair, weights: Tensors) -> Iterator[Finding]:
    """Yields gradients that reach the optimizer much smaller, or larger, than the loss has them."""
    ours, its = norm(pair.first.gradients), norm(pair.declared)
    if its <= 0 or ours <= 0 or GRADIENT_CUT < ours / its < 1 / GRADIENT_CUT:
        return
    assert pair.first.optimizer is not None
    usual = norm(update_of(pair.first.optimizer, context.model, pair.declared))
    moved = norm(pair.first.updates)
    if usual <= 0 or GRADIENT_CUT < moved / usual < 1 / GRADIENT_CUT or _rises(pair):
        return
    relative = moved / max(norm(weights), 1e-30)
    is_clipped = pair.first.clips and _scale_of(ours, _EXACTLY) > 1  # before it is unscaled
    if moved < usual and relative < (_LITTLE if is_clipped else _HARDLY):
        yield _too_small(ours, its, moved, usual, relative)
    elif moved > usual and relative > _MUCH:
        yield _not_unscaled(ours, its)


def _too_small(ours: float, its: float, moved: float, usual: float, relative: float) -> Finding:
    scale = _scale_of(ours)
    return Finding(
        severity="warning",
        code="updates-too-small",
        seen=f"a step changes the weights by {relative:.1e} of their norm: the gradient of the "
        f"loss has norm {its:.3g}, and one of {ours:.3g} reaches the optimizer",
        cause=f"gradients are clipped before they are unscaled: {ours:.3g} is {ours * scale:.3g} / "
        f"{scale:.0f}"
        if scale > 1
        else "gradients are clipped or divided far below their size",
        cure="call scaler.unscale_(optimizer) before clipping"
        if scale > 1
        else f"clip at a norm near {its:.1g}, or not at all",
        evidence={"gradient": ours, "loss": its, "update": moved, "without": usual},
    )


def _not_unscaled(ours: float, its: float) -> Finding:
    return Finding(
        severity="warning",
        code="gradients-not-unscaled",
        seen=f"the gradient of the loss has norm {its:.3g}, and one of {ours:.3g} reaches the "
        "optimizer",
        cause="the loss is multiplied (a scaler, a sum in place of a mean, accumulation without a "
        "division), and the gradients are not divided again",
        cure="step by scaler.step(optimizer), or divide the loss by what it is multiplied with",
        evidence={"gradient": ours, "loss": its},
    )


def _scale_of(gradient: float, error: float = _NEARLY) -> float:
    """Returns the power of two that makes a round clipping limit of a norm; 1 where none does."""
    for power in (2.0**k for k in range(8, 25)):
        digits = gradient * power
        nearest = float(f"{digits:.1g}")
        if 0.05 <= digits <= 100 and math.isclose(digits, nearest, rel_tol=error):
            return power
    return 1.0


def _ignores_its_batch(pair: StepPair) -> Iterator[Finding]:
    """Yields a step on a second batch whose gradient is that of the first."""
    if pair.other is None:
        return
    followed, declared = pair.other
    of_first, of_second = cosine(followed, pair.declared), cosine(followed, declared)
    if of_first > _THE_SAME and of_second < _ANOTHER:
        yield Finding(
            severity="critical",
            code="step-trains-something-else",
            seen="a step on the second batch has the gradient of the first one (cosine "
            f"{of_first:.4f}, and {of_second:.2f} with that of its own)",
            cause="the step takes its batch from elsewhere: next(iter(loader)) gives the first one "
            "each time, or a variable of an outer loop is trained on",
            cure="train on the batch that the step is given: for batch in loader",
            evidence={"first": of_first, "own": of_second},
        )


def _unrelated(context: CheckContext, pair: StepPair) -> Iterator[Finding]:
    """Yields a step that follows the true targets of its batch no more than permuted ones."""
    ours = cosine(pair.first.gradients, pair.declared)
    place, followed, declared = 0, pair.first.gradients, pair.declared
    if pair.other is not None and cosine(*pair.other) < ours:
        place, (followed, declared) = 1, pair.other
        ours = cosine(followed, declared)
    sample = context.samples[place]
    if len(sample) < 16 or ours > UNRELATED_STEP or pair.first.calls > 1:
        return
    modes = pair.first.modes
    again = cosine(declared_gradient(context, sample, modes), declared)
    if again < UNRELATED_STEP:
        return  # the loss of the batch is itself so noisy that nothing can be said
    others = [cosine(followed, g) for g in _with_permuted_targets(context, sample, modes)]
    if not others or ours > max(others):
        return
    as_fed = _as_fed(context, sample, pair.other_fed if place else pair.first.fed, modes)
    alike = None if as_fed is None else cosine(followed, as_fed)
    yield _something_else(ours, max(others), again, alike)


def _as_fed(
    context: CheckContext, sample: CheckBatch, fed: tuple[Any, ...], modes: Sequence[bool]
) -> Tensors | None:
    """Returns the declared gradient of the inputs that the step sent through, with own targets."""
    if not fed:
        return None
    try:
        inputs = fed[0] if len(fed) == 1 else fed
        return declared_gradient(context, replace(sample, inputs=inputs), modes)
    except REFUSALS:
        return None


def _something_else(ours: float, permuted: float, again: float, as_fed: float | None) -> Finding:
    """Returns the finding of a step's gradient, a note where its own inputs explain it."""
    is_augmented = as_fed is not None and as_fed > _AS_FED
    return Finding(
        severity="note" if is_augmented else "warning",
        code="step-trains-something-else",
        seen="the step's gradient is as near to that of permuted targets (cosine "
        f"{permuted:.2f}) as to that of the batch's own ({ours:.2f})"
        + (f"; {as_fed:.2f} for the inputs as the step changes them" if is_augmented else ""),
        cause="the step changes its inputs so far (noise, turns, cuts) that they teach something "
        "else than those of the batch: meant, or far too strong"
        if is_augmented
        else "the step pairs the inputs with targets of another batch or in another order, or "
        "trains on another loss than the one that was given",
        cure="look at a batch as the step feeds it: would you know the targets?"
        if is_augmented
        else "take inputs and targets of the same batch in the step; pass the loss of the step",
        evidence={"cosine": ours, "permuted": permuted, "again": again},
    )


def _with_permuted_targets(
    context: CheckContext, sample: CheckBatch, modes: Sequence[bool]
) -> Iterator[Tensors]:
    targets = sample.targets
    if not isinstance(targets, torch.Tensor) or len(targets) != len(sample):
        return
    generator = torch.Generator().manual_seed(0)
    for _ in range(_PERMUTATIONS):
        order = torch.randperm(len(targets), generator=generator).to(targets.device)
        permuted = CheckBatch(inputs=sample.inputs, targets=targets[order], original=None)
        yield declared_gradient(context, permuted, modes)
