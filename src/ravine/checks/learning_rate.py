"""The range test of the user's learning rate, and what it says of the present one.

Everything that it changed is restored.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch, joined
from ravine.checks.context import CheckContext
from ravine.checks.label_meaning import compares_examples
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.maximised import minimise_
from ravine.checks.rate_trial import gradient_multiple, is_clipped, late_loss
from ravine.checks.step_modes import train_as_in_step_
from ravine.core.errors import SettingError
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding, Severity
from ravine.findings.thresholds import (
    RATE_DOUBTFUL,
    RATE_FAR,
    RATE_HIGH,
    RATE_KEEPS_UP,
    RATE_LOW,
    RATE_MOVES,
    RATE_NEAR,
    RUNS_OFF,
)
from ravine.optim.lr_range_test import SMOOTHING, RangeTest, range_test

_USUAL_MOMENTUM = 0.9
_LONG_MEMORY = 10.0  # times the usual one's: steps of a hundred batches and more add up
_SETTLED = 10  # first losses of a range test, whose median is the start
_BEYOND_NOISE = 3.0  # standard deviations
_MEDIAN_OF_DIFFERENCES = 0.954  # |x − y| of two normal numbers, over their standard deviation
_EXAMPLES = 32  # of a step of a training at one rate
_BEGUN = 0.1  # of the fall of the loss
_LOST = 3.0  # times its start, of a loss that compares examples
_LOWEST, _HIGHEST = 1e-5, 10.0  # learning rates


class _Losses(nn.Module):
    """A network whose input is the index of a batch, 0-dim, and whose output is the loss."""

    def __init__(self, context: CheckContext, samples: list[CheckBatch]) -> None:
        super().__init__()
        self.inner = context.model
        self._context = context
        self._samples = samples

    def forward(self, index: Tensor) -> Tensor:
        train_as_in_step_(self._context)
        return self._context.value(self._samples[int(index)])


@dataclass(frozen=True, slots=True)
class _Index:
    images: Tensor
    targets: Tensor


def rate_range(context: CheckContext, *, examples: int, steps: int) -> RangeTest | None:
    """Returns the range test of the user's optimizer.

    None where the first loss is not finite, or batches cannot be cut into parts, as those whose
    labels are the examples' own numbers.
    """
    assert context.optimizer is not None
    samples = _pieces(context.samples, examples)
    indices = (_Index(torch.tensor(n % len(samples)), torch.zeros(())) for n in range(steps))
    with preserve_training(context.model, context.optimizer):
        minimise_(context.optimizer)
        try:
            return range_test(
                _Losses(context, samples),
                context.optimizer,
                lambda loss, _: loss,
                indices,
                low=min(_LOWEST, _reference(context) / 10),
                high=max(_HIGHEST, _reference(context) * 2),
                steps=steps,
                precision=context.precision,
            )
        except (SettingError, *REFUSALS):
            return None


def _reference(context: CheckContext) -> float:
    assert context.optimizer is not None
    lr = float(context.optimizer.param_groups[0]["lr"])
    return lr if 0 < lr < math.inf else 1e-3


def _added_up(context: CheckContext) -> float:
    """Returns how much more steps add up to than with the usual momentum.

    A range test is too short to see what a memory of hundreds of steps does.
    """
    assert context.optimizer is not None
    group = context.optimizer.param_groups[0]
    momentum = float(group.get("momentum") or 0.0)
    is_sum = isinstance(context.optimizer, torch.optim.SGD) and not group.get("dampening")
    if not is_sum or not _USUAL_MOMENTUM < momentum < 1:
        return 1.0
    return (1 - _USUAL_MOMENTUM) / (1 - momentum)


def _momentum_too_long(context: CheckContext, lr: float, added: float) -> Finding:
    assert context.optimizer is not None
    momentum = float(context.optimizer.param_groups[0]["momentum"])
    return _across(
        f"momentum {momentum:g} adds up {1 / (1 - momentum):.0f} steps of the learning rate "
        f"{lr:.3g}, {added:.0f} times what 0.9 does, and a range test learns nothing with it",
        cure="set momentum to 0.9",
        evidence={"rate": lr, "momentum": momentum, "added": added},
        changes={"momentum": 0.9},
    )


def _beyond(found: RangeTest, lr: float, *, is_lost: bool) -> str:
    if lr > found.rates[-1]:
        return f": at {found.rates[-1]:.2g} the loss explodes"
    return ": at the present one the loss is above its start again" if is_lost else ""


def _planned(context: CheckContext) -> float:
    """Returns the highest learning rate of the first group that is known to be reached."""
    assert context.optimizer is not None
    group, steps = context.optimizer.param_groups[0], context.measured.steps
    known = [_reference(context), *(float(group.get(k, 0.0)) for k in ("initial_lr", "max_lr"))]
    seen = [] if steps is None else [*steps.first.learning_rates]
    return max(known + [lrs[0] for lrs in seen if lrs and lrs[0] < math.inf])


def _loss_at(found: RangeTest, lr: float) -> float:
    """Returns the loss of a range test at a learning rate, infinite beyond its last."""
    return next(
        (loss for rate, loss in zip(found.rates, found.losses, strict=True) if rate >= lr), math.inf
    )


def _pieces(samples: tuple[CheckBatch, ...], examples: int) -> list[CheckBatch]:
    """Returns samples of `examples` each, the first parts of all batches first.

    Smaller batches are put together: the losses of a few examples tell noise alone.
    """
    count = max(1, examples // max(1, len(samples[0])))
    if count > 1:
        rows = [samples[n : n + count] for n in range(0, len(samples), count)]
        samples = tuple(joined(row) for row in rows if len(row) == count or len(rows) == 1)
    most = max(1, len(samples[0]) // examples)
    return [s.first(examples, start=k * examples) for k in range(most) for s in samples]


def _too_high(
    found: RangeTest,
    lr: float,
    in_the_end: float,
    *,
    is_lost: bool,
    evidence: dict[str, float],
    multiple: float,
) -> Finding:
    added = in_the_end / lr / multiple
    return _across(
        f"the learning rate is {lr:.3g}"
        + (f", to which momentum adds {added:.0f}-fold" if added > 1.01 else "")
        + _multiplied(multiple)
        + f"; the range test suggests {found.suggestion:.2g}"
        + _beyond(found, lr, is_lost=is_lost),
        cure=_cure(found.suggestion, multiple),
        evidence={**evidence, "multiple": multiple},
        changes={"lr": found.suggestion / multiple},
        severity="critical" if lr * multiple > found.rates[-1] else "warning",
    )


def _multiplied(multiple: float) -> str:
    if multiple == 1.0:
        return ""
    return f", and a step is {multiple:.2g} times that of the loss which was given"


def _cure(lr: float, multiple: float) -> str:
    if multiple == 1.0:
        return f"set lr to {lr:.1g}"
    return (
        "divide the loss of each part by the number of parts (accumulated gradients are summed), "
        f"or set lr to {lr / multiple:.1g}"
    )


def _across(
    seen: str,
    *,
    cure: str,
    evidence: dict[str, float],
    changes: dict[str, float],
    severity: Severity = "warning",
) -> Finding:
    """Returns the finding of a learning rate that is too high."""
    return Finding(
        severity=severity,
        code="rate-too-high",
        seen=seen,
        cause="steps lead across the valley and not along it",
        cure=cure,
        evidence=evidence,
        changes=changes,
    )


def check_rate(context: CheckContext, found: RangeTest, *, steps: int = 0) -> Iterator[Finding]:
    """Yields a learning rate that is far from those of the range test.

    Too high is judged by the suggested learning rate, and by whether the loss is still below its
    start there, or, where there is doubt, by a training of `steps` at either one, in which the
    present one must keep up. Too low by the one where the loss begins to fall, and by the highest
    that a schedule is known to reach: on easy data the loss goes on falling far above a good rate.
    """
    lr, planned, added = _reference(context), _planned(context), _added_up(context)
    multiple = gradient_multiple(context)
    if not learns_in(found):
        if added >= _LONG_MEMORY:
            yield _momentum_too_long(context, lr, added)
        return
    in_the_end = lr * added * multiple
    first, least = _first(found), min(found.losses)
    begins = _beginning(found, first - _BEGUN * (first - least))
    ratio, is_lost = in_the_end / found.suggestion, _is_lost(context, found, in_the_end)
    evidence = {
        "rate": lr, "suggestion": found.suggestion, "ratio": ratio, "begins": begins,
        "least": least,
    }  # fmt: skip
    if ratio > RATE_HIGH and (is_lost or in_the_end > found.rates[-1] * RATE_NEAR):
        yield _too_high(
            found, lr, in_the_end, is_lost=is_lost, evidence=evidence, multiple=multiple
        )
    elif steps and ratio > RATE_DOUBTFUL and lr > 0 and not is_clipped(context):
        yield from _falls_behind(context, found, first, steps, multiple)
    elif least < -RUNS_OFF * max(1.0, abs(first)):
        return  # a loss without a least value falls the faster, the higher the rate is
    elif planned < begins * RATE_LOW or (
        planned < RATE_FAR * found.suggestion and planned < 0.1 * begins
    ):
        if steps and lr > 0 and _falls(context, found, planned, steps):
            return
        yield Finding(
            severity="warning",
            code="rate-too-low",
            seen=f"the learning rate is {planned:.3g}; in a range test the loss begins to fall at "
            f"{begins:.2g}",
            cause="steps are too small to get anywhere",
            cure=f"set lr to {found.suggestion:.1g}",
            evidence=evidence,
            changes={"lr": found.suggestion},
        )


def _is_lost(context: CheckContext, found: RangeTest, lr: float) -> bool:
    """Returns whether the loss is above its start again at a learning rate.

    A mean over the pairs or triplets that are wrong still does not tell how many are left: of one
    that compares examples, whether it is far above.
    """
    far = _LOST if compares_examples(context) else 1.0
    return _loss_at(found, lr) >= far * _first(found)


def _falls(context: CheckContext, found: RangeTest, lr: float, steps: int) -> bool:
    """Returns whether a short training falls by a share of what it does at the suggested rate.

    A range test spends a step or two at each learning rate, and shows late what a low one can do.
    """
    samples, first = _pieces(context.samples, _EXAMPLES), _first(found)
    theirs, ours = (late_loss(context, samples, r, steps=steps) for r in (found.suggestion, lr))
    return first - ours > RATE_MOVES * max(first - theirs, first - min(found.losses))


def _falls_behind(
    context: CheckContext, found: RangeTest, first: float, steps: int, multiple: float
) -> Iterator[Finding]:
    """Yields a learning rate at which a short training falls clearly less than at the suggested."""
    if compares_examples(context):
        return
    samples = _pieces(context.samples, _EXAMPLES)
    lr = _reference(context)
    best, ours = found.suggestion, late_loss(context, samples, lr * multiple, steps=steps)
    theirs = late_loss(context, samples, best, steps=steps)
    if multiple > 1:  # the one that the loss itself would have taken
        theirs, best = min((theirs, best), (late_loss(context, samples, lr, steps=steps), lr))
    if first - theirs > 0.03 * abs(first) and first - ours < RATE_KEEPS_UP * (first - theirs):
        yield _across(
            f"after {steps} steps with the learning rate of {lr * multiple:.3g} the loss is "
            f"{ours:.3g}, and {theirs:.3g} with {best:.2g}; it began at {first:.3g}"
            + _multiplied(multiple),
            cure=_cure(best, multiple),
            evidence={
                "rate": lr,
                "suggestion": best,
                "ours": ours,
                "theirs": theirs,
                "multiple": multiple,
            },
            changes={"lr": best / multiple},
        )


def learns_in(found: RangeTest) -> bool:
    """Returns whether anything was learnt at any learning rate; else its suggestion is noise."""
    first = _first(found)
    return first - min(found.losses) > max(0.03 * abs(first), _BEYOND_NOISE * _noise(found))


def _noise(found: RangeTest) -> float:
    """Returns the standard deviation that the losses have by their batches alone.

    From the first batches' losses, whose differences hold little of a fall.
    """
    smoothed = found.losses[:_SETTLED]
    sums = [loss * (1 - SMOOTHING ** (n + 1)) for n, loss in enumerate(smoothed)]
    raw = [after - SMOOTHING * before for before, after in pairwise([0.0, *sums])]
    apart = [abs(after - before) for before, after in pairwise(raw)]
    if not apart:
        return 0.0
    of_a_batch = statistics.median(apart) / (1 - SMOOTHING) / _MEDIAN_OF_DIFFERENCES
    return of_a_batch * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))


def _first(found: RangeTest) -> float:
    return statistics.median(found.losses[:_SETTLED])


def _beginning(found: RangeTest, level: float) -> float:
    """Returns the learning rate from which the loss stays below a level until its least value."""
    least = found.losses.index(min(found.losses))
    above = [n for n in range(least) if found.losses[n] > level]
    return found.rates[above[-1] + 1 if above else 0]
