"""The trainings that checks judge: eight examples that must be overfitted, and a range test.

Each restores everything that it changed.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch, joined
from ravine.checks.context import CheckContext, layer_of
from ravine.checks.parameters import make_dense_
from ravine.core.errors import SettingError
from ravine.core.nested import tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.target_floor import measured_floor
from ravine.findings.thresholds import (
    OVERFIT,
    RATE_FAR,
    RATE_HIGH,
    RATE_LOW,
    RATE_NEAR,
)
from ravine.nn.freezing import training_mode_
from ravine.optim.lr_range_test import SMOOTHING, RangeTest, range_test

_EXAMPLES = 8
_SETTLED = 10  # first losses of a range test, whose median is the start
_BEYOND_NOISE = 3.0  # standard deviations
_MEDIAN_OF_DIFFERENCES = 0.954  # |x − y| of two normal numbers, over their standard deviation
_BEGUN = 0.1  # of the fall of the loss
_LOWEST, _HIGHEST = 1e-5, 10.0  # learning rates
_TRIES = ((1e-3, 60), (1e-2, 60))  # learning rate of Adam, steps
# Steps with a gradient of 0 after which it stays 0 (branches and a head that are initialised to
# zero have all theirs at the third), and steps of waiting for a gradient.
_STAYS, _SETTLES = 3, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfit:
    """How well eight examples were overfitted.

    Attributes:
        learnt: whether they were.
        before: loss at the start.
        after: least loss.
        accuracy: at the end; None without labels.
        unmoved: layers whose weights never got a gradient other than 0, over `steps`.
        steps: most steps in a row of whose gradients that is known.
    """

    learnt: bool
    before: float
    after: float
    accuracy: float | None
    unmoved: tuple[str, ...] = ()
    steps: int = 0


@dataclass(slots=True)
class _Waiting:
    """Weights that have got no gradient other than 0 yet.

    Attributes:
        weights: of more than one dimension; biases follow their layers.
        steps: most steps in a row in which the loss had a gradient by the output.
    """

    weights: list[Tensor]
    steps: int = 0

    def see(self) -> None:
        """Removes the weights that have a gradient now."""
        self.weights = [p for p in self.weights if not _has_gradient(p)]

    @property
    def least(self) -> float:
        """The least dL/d(output) that a zero says something after: products do not underflow."""
        return max((math.sqrt(torch.finfo(p.dtype).tiny) for p in self.weights), default=0.0)


def _has_gradient(p: Tensor) -> bool:
    return p.grad is not None and bool(p.grad.any())


def overfit(context: CheckContext) -> Overfit:
    """Returns how well the network overfits eight examples, with Adam of its own."""
    model = context.model
    sample = context.samples[0].first(_EXAMPLES)
    waiting = _Waiting([p for p in model.parameters() if p.requires_grad and p.dim() > 1])
    best: Overfit | None = None
    for lr, steps in _TRIES:
        with preserve_training(model):
            training_mode_(model)
            _without_dropout(model)
            found = _learn(context, sample, lr, steps, waiting)
        best = found if best is None or found.learnt or found.after < best.after else best
        if found.learnt:
            break
    assert best is not None
    still = waiting.weights if waiting.steps >= _STAYS else []
    layers = tuple(dict.fromkeys(layer_of(model, p) for p in still))
    return replace(best, unmoved=layers, steps=waiting.steps)


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if "Dropout" in type(module).__name__:
            module.eval()


def _learn(
    context: CheckContext, sample: CheckBatch, lr: float, steps: int, waiting: _Waiting
) -> Overfit:
    """Trains until the examples are overfitted and gradients are known, for `steps` at most."""
    adam = torch.optim.Adam([p for p in context.model.parameters() if p.requires_grad], lr=lr)
    losses: list[float] = []
    accuracy, level, learnt, in_a_row = None, math.nan, False, 0
    for step in range(steps):
        output = context.output(sample)
        loss = context.loss(output, sample.targets)
        losses.append(float(loss.detach()))
        accuracy = _accuracy(context, output, sample)
        if step == 0 and accuracy is None:
            level = _learnt_below(context, output, sample, losses[0])
        if not math.isfinite(losses[-1]) or not loss.requires_grad:
            break
        learnt = learnt or _is_learnt(losses, accuracy, level)
        adam.zero_grad()
        has_gradient = _backward(context.model, loss, output, waiting)
        in_a_row = in_a_row + 1 if has_gradient else 0
        waiting.steps = max(waiting.steps, in_a_row)
        if learnt and (not waiting.weights or step + 1 >= _SETTLES):
            break
        make_dense_(context.model.parameters())
        adam.step()
    return Overfit(learnt=learnt, before=losses[0], after=min(losses), accuracy=accuracy)


def _backward(model: nn.Module, loss: Tensor, output: object, waiting: _Waiting) -> bool:
    """Computes the gradients; returns whether the loss has a gradient by the output at all.

    Without one (examples fitted with full confidence) zeros say nothing about the layers.
    """
    outputs = [t for t in tensors_in(output) if t.requires_grad and t.dim()]
    for tensor in outputs:
        tensor.retain_grad()
    loss.backward()
    waiting.see()
    if not outputs:  # the module returns its loss
        return any(_has_gradient(p) for p in model.parameters())
    return any(t.grad is not None and float(t.grad.abs().max()) > waiting.least for t in outputs)


def _accuracy(context: CheckContext, output: object, sample: CheckBatch) -> float | None:
    logits = context.answers_of(output, sample)
    return None if logits is None else float((logits.argmax(1) == sample.targets).double().mean())


def _learnt_below(context: CheckContext, output: object, sample: CheckBatch, first: float) -> float:
    """Returns the loss below which examples without labels are learnt.

    OVERFIT of the way from the first loss to the least that these targets allow. A network that
    is trained already begins below what one constant output reaches, and is held to that.
    """
    floor = measured_floor(context.loss, output, sample.targets) or 0.0
    constant = measured_floor(context.loss, output, sample.targets, alike=True) or first
    return floor + OVERFIT * (max(first, constant) - floor)


def _is_learnt(losses: list[float], accuracy: float | None, level: float) -> bool:
    if accuracy is not None:
        return accuracy == 1.0 and (len(losses) == 1 or losses[-1] < losses[0])
    return losses[-1] < level


def check_overfit(found: Overfit) -> Iterator[Finding]:
    """Yields a network that cannot learn eight examples, and layers that get only zeros."""
    if found.unmoved:
        yield Finding(
            severity="critical",
            code="zero-gradient",
            seen=f"the gradient of {len(found.unmoved)} layers is 0 and stays 0 over "
            f"{found.steps} steps, in " + ", ".join(found.unmoved[:3]),
            cause="the units behind them are dead, or their weights are all 0",
            cure="draw random weights: ravine.nn.init_(model, 'he')",
            layer=found.unmoved[0],
            evidence={"layers": len(found.unmoved), "steps": found.steps},
            changes={"init": "he"},
        )
    if not found.learnt:
        accuracy = "" if found.accuracy is None else f", accuracy {found.accuracy:.0%}"
        yield Finding(
            severity="warning",
            code="cannot-overfit",
            seen=f"the network cannot overfit {_EXAMPLES} examples: loss {found.before:.3g} → "
            f"{found.after:.3g}{accuracy}",
            cause="the network is too small, the loss does not fit it, or something between is "
            "broken",
            cure="make layers wider; inspect outputs, targets and loss of these few examples",
            evidence={"before": found.before, "after": found.after},
        )


class _Losses(nn.Module):
    """A network whose input is the index of a batch, 0-dim, and whose output is the loss."""

    def __init__(self, context: CheckContext, samples: list[CheckBatch]) -> None:
        super().__init__()
        self.inner = context.model
        self._context = context
        self._samples = samples

    def forward(self, index: Tensor) -> Tensor:
        return self._context.value(self._samples[int(index)])


@dataclass(frozen=True, slots=True)
class _Index:
    images: Tensor
    targets: Tensor


def rate_range(context: CheckContext, *, examples: int, steps: int) -> RangeTest | None:
    """Returns the range test of the user's optimizer, None where the first loss is not finite."""
    assert context.optimizer is not None
    samples = _pieces(context.samples, examples)
    indices = (_Index(torch.tensor(n % len(samples)), torch.zeros(())) for n in range(steps))
    with preserve_training(context.model, context.optimizer):
        try:
            return range_test(
                _Losses(context, samples),
                context.optimizer,
                lambda loss, _: loss,
                indices,
                low=min(_LOWEST, _reference(context) / 10),
                high=max(_HIGHEST, _reference(context) * 2),
                steps=steps,
            )
        except SettingError:
            return None


def _reference(context: CheckContext) -> float:
    assert context.optimizer is not None
    lr = float(context.optimizer.param_groups[0]["lr"])
    return lr if 0 < lr < math.inf else 1e-3


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


def check_rate(context: CheckContext, found: RangeTest) -> Iterator[Finding]:
    """Yields a learning rate that is far from those of the range test.

    Too high is judged by the suggested learning rate, and by whether the loss is still below its
    start there; too low by the one where the loss begins to fall, and by the highest that a
    schedule is known to reach: on easy data the loss goes on falling far above a good rate.
    """
    if not learns_in(found):
        return
    lr, planned = _reference(context), _planned(context)
    first, least = _first(found), min(found.losses)
    begins = _beginning(found, first - _BEGUN * (first - least))
    ratio, is_lost = lr / found.suggestion, _loss_at(found, lr) >= first
    evidence = {
        "rate": lr, "suggestion": found.suggestion, "ratio": ratio, "begins": begins,
        "least": least,
    }  # fmt: skip
    if ratio > RATE_HIGH and (is_lost or lr > found.rates[-1] * RATE_NEAR):
        yield Finding(
            severity="critical" if lr > found.rates[-1] else "warning",
            code="rate-too-high",
            seen=f"the learning rate is {lr:.3g}; the range test suggests {found.suggestion:.2g}"
            + _beyond(found, lr, is_lost=is_lost),
            cause="steps lead across the valley and not along it",
            cure=f"set lr to {found.suggestion:.1g}",
            evidence=evidence,
            changes={"lr": found.suggestion},
        )
    elif planned < begins * RATE_LOW or (
        planned < RATE_FAR * found.suggestion and planned < 0.1 * begins
    ):
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
