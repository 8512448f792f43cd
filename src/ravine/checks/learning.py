"""Checks that train for some steps and put everything back.

Eight examples must be overfitted; the learning rate is compared with a range test.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch, logits_of
from ravine.checks.context import CheckContext, layer_of
from ravine.core.errors import SettingError
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import (
    OVERFIT,
    RATE_FAR,
    RATE_HIGH,
    RATE_LOW,
    RATE_NEAR,
    STRONG_DECAY,
)
from ravine.optim.range_test import RangeTest, range_test

_EXAMPLES = 8
_SETTLED = 10  # first losses of a range test, whose median is the start
_BEGUN = 0.1  # of the fall of the loss
_LOWEST, _HIGHEST = 1e-5, 10.0  # learning rates
_TRIES = ((1e-3, 60), (1e-2, 60))  # learning rate of Adam, steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfit:
    """How eight examples were learnt by heart.

    Attributes:
        learnt: whether they were.
        before: loss at the start.
        after: least loss.
        accuracy: share of right answers at the end; None without labels.
        unmoved: layers whose weights never got a gradient other than 0.
    """

    learnt: bool
    before: float
    after: float
    accuracy: float | None
    unmoved: tuple[str, ...]


def overfit(subject: CheckContext) -> Overfit:
    """Returns how well the network learns eight examples by heart, with Adam of its own."""
    model = subject.model
    sample = subject.samples[0].first(_EXAMPLES)
    moved: set[int] = set()
    best: Overfit | None = None
    for rate, steps in _TRIES:
        with preserve_training(model):
            model.train()
            _without_dropout(model)
            found = _learn(subject, sample, rate, steps, moved)
        best = found if best is None or found.learnt or found.after < best.after else best
        if found.learnt:
            break
    assert best is not None
    return best


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if "Dropout" in type(module).__name__:
            module.eval()


def _learn(
    subject: CheckContext, sample: CheckBatch, rate: float, steps: int, moved: set[int]
) -> Overfit:
    learning = [p for p in subject.model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learning, lr=rate)
    losses: list[float] = []
    accuracy: float | None = None
    for step in range(steps):
        output = subject.output(sample)
        loss = subject.loss(output, sample.targets)
        losses.append(float(loss.detach()))
        accuracy = _accuracy(output, sample)
        if not math.isfinite(losses[-1]) or _is_learnt(losses, accuracy):
            break
        adam.zero_grad()
        if not loss.requires_grad:
            break
        loss.backward()
        if step < 2 or step == steps - 1:
            seen = [p for p in learning if p.grad is not None and bool(p.grad.any())]
            moved |= {id(p) for p in seen}
        adam.step()
    still = [p for p in learning if id(p) not in moved and p.dim() > 1]
    return Overfit(
        learnt=_is_learnt(losses, accuracy),
        before=losses[0],
        after=min(losses),
        accuracy=accuracy,
        unmoved=tuple(dict.fromkeys(layer_of(subject.model, p) for p in still)),
    )


def _accuracy(output: object, sample: CheckBatch) -> float | None:
    logits = logits_of(output, sample)
    return None if logits is None else float((logits.argmax(1) == sample.targets).double().mean())


def _is_learnt(losses: list[float], accuracy: float | None) -> bool:
    if not losses or not math.isfinite(losses[-1]):
        return False
    if accuracy is not None:
        return accuracy == 1.0 and (len(losses) == 1 or losses[-1] < losses[0])
    return losses[-1] < OVERFIT * losses[0]


def check_overfit(found: Overfit) -> Iterator[Finding]:
    """Yields a network that cannot learn eight examples, and layers that get only zeros."""
    if found.unmoved:
        yield Finding(
            severity="critical",
            code="zero-gradient",
            seen=f"the gradient of {len(found.unmoved)} layers is 0 and stays 0, in "
            + ", ".join(found.unmoved[:3]),
            cause="the units behind them are dead, or their weights are all 0",
            cure="draw the weights by chance: ravine.nn.init_(model, 'he')",
            layer=found.unmoved[0],
            evidence={"layers": len(found.unmoved)},
            changes={"init": "he"},
        )
    if not found.learnt:
        right = "" if found.accuracy is None else f", {found.accuracy:.0%} right"
        yield Finding(
            severity="warning",
            code="cannot-overfit",
            seen=f"{_EXAMPLES} examples cannot be learnt by heart: loss {found.before:.3g} → "
            f"{found.after:.3g}{right}",
            cause="the network is too small, the loss does not fit it, or something between is "
            "broken",
            cure="make layers wider; look at outputs, targets and loss of these few examples",
            evidence={"before": found.before, "after": found.after},
        )


class _Losses(nn.Module):
    """A network whose input is the index of a batch, 0-dim, and whose output is the loss."""

    def __init__(self, subject: CheckContext, samples: list[CheckBatch]) -> None:
        super().__init__()
        self.inner = subject.model
        self._subject = subject
        self._samples = samples

    def forward(self, index: Tensor) -> Tensor:
        return self._subject.value(self._samples[int(index)])


@dataclass(frozen=True, slots=True)
class _Index:
    images: Tensor
    targets: Tensor


def rate_range(subject: CheckContext, *, examples: int, steps: int) -> RangeTest | None:
    """Returns the range test of the user's optimizer, None where the first loss is not finite."""
    assert subject.optimizer is not None
    samples = _pieces(subject.samples, examples)
    indices = (_Index(torch.tensor(n % len(samples)), torch.zeros(())) for n in range(steps))
    with preserve_training(subject.model, subject.optimizer):
        try:
            return range_test(
                _Losses(subject, samples),
                subject.optimizer,
                lambda loss, _: loss,
                indices,
                low=min(_LOWEST, _reference(subject) / 10),
                high=max(_HIGHEST, _reference(subject) * 2),
                steps=steps,
            )
        except SettingError:
            return None


def _reference(subject: CheckContext) -> float:
    assert subject.optimizer is not None
    rate = float(subject.optimizer.param_groups[0]["lr"])
    return rate if 0 < rate < math.inf else 1e-3


def _pieces(samples: tuple[CheckBatch, ...], examples: int) -> list[CheckBatch]:
    """Returns samples of `examples` each, the first parts of all batches first."""
    most = max(1, len(samples[0]) // examples)
    return [s.first(examples, start=k * examples) for k in range(most) for s in samples]


def check_rate(subject: CheckContext, found: RangeTest) -> Iterator[Finding]:
    """Yields a learning rate that is far from those of the range test.

    Too high is judged by the suggested learning rate, too low by the one where the loss begins to
    fall: on easy data it goes on falling far above a good learning rate.
    """
    rate = _reference(subject)
    first, least = statistics.median(found.losses[:_SETTLED]), min(found.losses)
    if not least < first * 0.97:
        return  # nothing was learnt at any learning rate
    begins = _beginning(found, first - _BEGUN * (first - least))
    ratio = rate / found.suggestion
    evidence = {
        "rate": rate, "suggestion": found.suggestion, "ratio": ratio, "begins": begins,
        "least": least,
    }  # fmt: skip
    if ratio > RATE_HIGH and rate > found.rates[-1] * RATE_NEAR:
        yield Finding(
            severity="critical" if rate > found.rates[-1] else "warning",
            code="rate-too-high",
            seen=f"the learning rate is {rate:.3g}; the range test suggests {found.suggestion:.2g}"
            + (f": at {found.rates[-1]:.2g} the loss explodes" if rate > found.rates[-1] else ""),
            cause="steps lead across the valley and not along it",
            cure=f"set lr to {found.suggestion:.1g}",
            evidence=evidence,
            changes={"lr": found.suggestion},
        )
    elif rate < begins * RATE_LOW or (ratio < RATE_FAR and rate < 0.1 * begins):
        yield Finding(
            severity="warning",
            code="rate-too-low",
            seen=f"the learning rate is {rate:.3g}; in a range test the loss begins to fall at "
            f"{begins:.2g}",
            cause="steps are too small to get anywhere",
            cure=f"set lr to {found.suggestion:.1g}",
            evidence=evidence,
            changes={"lr": found.suggestion},
        )


def _beginning(found: RangeTest, level: float) -> float:
    """Returns the learning rate from which the loss stays below a level until its least value."""
    least = found.losses.index(min(found.losses))
    above = [n for n in range(least) if found.losses[n] > level]
    return found.rates[above[-1] + 1 if above else 0]


def check_decay(subject: CheckContext) -> Iterator[Finding]:
    """Yields weight decay that pulls the weights to 0 faster than they can learn."""
    if subject.optimizer is None:
        return
    for group in subject.optimizer.param_groups:
        decay = float(group.get("weight_decay", 0.0) or 0.0)
        if decay <= 0 or not group["params"]:
            continue
        apart = (
            isinstance(subject.optimizer, torch.optim.AdamW) or group.get("decay") == "decoupled"
        )
        pull = decay if not apart else decay / 10
        if pull > STRONG_DECAY:
            yield Finding(
                severity="warning",
                code="decay-too-strong",
                seen=f"weight decay is {decay:.3g}",
                cause="the weights are pulled to 0 more strongly than the loss pulls them away",
                cure="set weight_decay to 5e-4 (1e-2 for AdamW)",
                evidence={"weight_decay": decay},
                changes={"weight_decay": 5e-4},
            )
            return
