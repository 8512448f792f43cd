"""Which trainings are affordable, and what is found: eight examples, and the range test."""

import inspect
import math
import time
from collections.abc import Iterator

import torch
from torch.optim import Optimizer, SparseAdam

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.learning import check_overfit, overfit
from ravine.checks.learning_rate import check_rate, rate_range
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.nn.freezing import training_mode_

_EXAMPLES, _MOST_STEPS, _FEWEST_STEPS, _SECONDS = 32, 60, 30, 3.0
_TRIAL_SECONDS = 3.0


def check_few_examples(context: CheckContext) -> Iterator[Finding]:
    """Yields a network that cannot overfit eight examples, and layers without a gradient."""
    yield from check_overfit(overfit(context), context.model)


def check_learning_rate(context: CheckContext) -> Iterator[Finding]:
    """Yields a learning rate that the range test, shortened for a slow network, finds wrong."""
    if context.optimizer is None or needs_closure(context.optimizer):
        return
    if not _rate_matters(context, context.optimizer):
        return
    seconds = _seconds_of_a_step(context)
    if seconds is None:
        return
    possible = int(_SECONDS / max(seconds, 1e-6))
    is_slow = possible < _FEWEST_STEPS
    steps = _FEWEST_STEPS if is_slow else min(_MOST_STEPS, possible)
    found = rate_range(
        context,
        examples=_EXAMPLES // 2 if is_slow else _EXAMPLES,
        steps=steps,
    )
    if found is not None:
        context.measured.range_test = found
        yield from check_rate(context, found, steps=_steps_of_a_trial(seconds))


def _steps_of_a_trial(seconds: float) -> int:
    """Returns the steps of each of two trainings by the seconds of one; 0 where time is too short.

    A slow network is judged by the range test alone.
    """
    possible = int(_TRIAL_SECONDS / 2 / max(seconds, 1e-6))
    return 0 if possible < _FEWEST_STEPS else min(_MOST_STEPS, possible)


def _rate_matters(context: CheckContext, optimizer: Optimizer) -> bool:
    """Returns whether a second step is longer at twice the learning rate.

    It is not where the rate is that of the first step alone, as in Rprop.
    """
    once, twice = (_second_step(context, optimizer, factor) for factor in (1.0, 2.0))
    return once == 0 or not math.isclose(once, twice, rel_tol=1e-3)


def _second_step(context: CheckContext, optimizer: Optimizer, factor: float) -> float:
    """Returns how far a second step leads at a multiple of the learning rate; all is put back."""
    learning = [p for p in context.model.parameters() if p.requires_grad]
    with preserve_training(context.model, optimizer):
        optimizer.state.clear()
        before: list[torch.Tensor] = list(learning)
        for scale in (1.0, factor):
            for group in optimizer.param_groups:
                group["lr"] = scale * group["lr"]
            before = [p.detach().clone() for p in learning]
            for p, w in zip(learning, before, strict=True):
                p.grad = w.to_sparse() if isinstance(optimizer, SparseAdam) else w.clone()
            optimizer.step()
        moved = [(p.detach() - w).double().norm() for p, w in zip(learning, before, strict=True)]
    return float(torch.stack(moved).norm())


def needs_closure(optimizer: Optimizer) -> bool:
    """Returns whether a step must be given a function, as by L-BFGS: a range test gives none."""
    given = inspect.signature(optimizer.step).parameters.get("closure")
    return given is not None and given.default is inspect.Parameter.empty


def _seconds_of_a_step(context: CheckContext) -> float | None:
    """Returns the time of a forward and backward pass; None where the loss has no gradient.

    The shorter of two: a machine that is busy for a moment changes no finding.
    """
    with preserve_training(context.model, context.optimizer):
        training_mode_(context.model)
        few = context.samples[0].first(_EXAMPLES // 2)
        found = [_seconds_of_a_pass(context, few) for _ in range(2)]
    known = [seconds for seconds in found if seconds is not None]
    return min(known) * _EXAMPLES / max(1, len(few)) if known else None


def _seconds_of_a_pass(context: CheckContext, sample: CheckBatch) -> float | None:
    began = time.monotonic()
    with torch.autocast(
        next(context.model.parameters()).device.type,
        context.precision,
        enabled=context.precision != torch.float32,
    ):
        value = context.value(sample)
    if not value.requires_grad:
        return None
    value.backward()
    return time.monotonic() - began
