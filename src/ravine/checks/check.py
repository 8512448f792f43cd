"""`ravine.check`: what is wrong with a training before it begins, in seconds.

    findings = ravine.check(model, loss, batches, optimizer, step=train_one_batch)
    print(findings)

Data and wiring are looked at, one batch is sent forward and backward, eight examples are learnt
by heart, and the rate is compared with a range test. Afterwards model, optimizer and random state
are bitwise what they were.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.checks.activations import (
    check_symmetry,
    check_units,
    check_variances,
    inputs_faded,
    look_at_units,
)
from ravine.checks.context import Sample, Subject, take_batches
from ravine.checks.inputs import check_inputs, check_labels
from ravine.checks.labels import check_label_relation
from ravine.checks.learning import (
    check_decay,
    check_overfit,
    check_rate,
    overfit,
    rate_range,
)
from ravine.checks.loss_function import check_loss, form_of, logits_of
from ravine.checks.norm_statistics import check_norm_statistics
from ravine.checks.wiring import (
    check_dropout,
    check_gradients,
    check_mode,
    check_optimizer,
    check_step,
)
from ravine.core.errors import SettingError
from ravine.core.preserve_training import restored
from ravine.findings.finding import Finding, Findings, merge
from ravine.optim.range_test import RangeTest
from ravine.propagation.recording import Recording
from ravine.propagation.variance import VarianceProfile, as_layers, record

_EXAMPLES = 64  # that are sent through the network
_RANGE_EXAMPLES, _RANGE_STEPS, _RANGE_LEAST, _RANGE_SECONDS = 32, 60, 30, 5.0
# Findings that make the rest of the checks meaningless, or impossible.
_RESHAPING = ("flatten", "view", "reshape", "squeeze", "contiguous", "float", "to")
_STOPS = ("inputs-not-finite", "labels-out-of-range")


def check(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    batches: Iterable[Any],
    optimizer: Optimizer | None = None,
    step: Callable[[Any], Any] | None = None,
    *,
    labels_probe: bool = False,
    learn: bool = True,
) -> Findings:
    """Returns what is wrong with a training, before it begins or in the middle of it.

    Weights, buffers, modes, gradients, the optimizer's state and the random state are afterwards
    bitwise what they were. Batches are read, at most 16 of them, on the model's device.

    Args:
        model: any module.
        loss: of (output, targets) to a 0-dim tensor.
        batches: (inputs, targets) pairs, such as a DataLoader; inputs may be a tensor, a tuple of
            arguments or a dictionary of named ones.
        optimizer: of the model; with it its parameters and its rate are checked.
        step: your own training step: a function that is called with one batch as `batches` gives
            it, and trains `model` on it with `optimizer`. What it keeps elsewhere (a schedule, a
            counter) is not put back.
        labels_probe: also ask whether the labels belong to the inputs, which takes longer.
        learn: also learn eight examples by heart, and test the rate.

    Raises:
        SettingError: the model has no parameters that learn, it raises on a batch, the loss is
            not one number, or batches have a form that is not known.
    """
    return examine(
        model, loss, batches, optimizer, step, labels_probe=labels_probe, learn=learn
    ).findings


@dataclass(slots=True)
class Examination:
    """What `examine` found, and what it measured on the way.

    Attributes:
        findings: what `check` returns.
        rates: the range test of the rate, None where there was none.
        variance: of the first 64 examples, None where the checks ended before.
    """

    findings: Findings = field(default_factory=lambda: Findings(()))
    rates: RangeTest | None = None
    variance: VarianceProfile | None = None


def examine(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    batches: Iterable[Any],
    optimizer: Optimizer | None = None,
    step: Callable[[Any], Any] | None = None,
    *,
    labels_probe: bool = False,
    learn: bool = True,
) -> Examination:
    """Returns what `check` returns, with its range test and its measured variances."""
    learning = [p for p in model.parameters() if p.requires_grad]
    if not learning:
        raise SettingError("the model has no parameters that learn; pass one that has")
    if not callable(loss):
        raise SettingError(f"loss must be a function of (output, targets), got {loss!r}")
    samples = take_batches(batches, learning[0].device)
    subject = Subject(model=model, loss=loss, samples=samples, optimizer=optimizer, step=step)
    done = Examination()
    with torch.enable_grad():
        done.findings = merge(_all(subject, done, labels_probe=labels_probe, learn=learn))
    return done


def _all(
    subject: Subject, done: Examination, *, labels_probe: bool, learn: bool
) -> Iterator[Finding]:
    model, step = subject.model, subject.step
    found = [*check_inputs(subject.samples), *check_optimizer(subject), *check_dropout(model)]
    found += [*check_symmetry(model), *check_decay(subject)]
    if step is None:
        found += check_mode(model)
    yield from found
    if any(one.code in _STOPS for one in found):
        return
    with restored(model, subject.optimizer):
        model.train()
        broken = yield from _one_pass(subject, subject.samples[0].first(_EXAMPLES), done)
    if broken:
        return
    yield from check_norm_statistics(subject)
    if step is not None:
        yield from check_step(subject)
    if labels_probe:
        yield from check_label_relation(subject)
    if learn:
        yield from check_overfit(overfit(subject))
        if subject.optimizer is not None:
            yield from _rate(subject, done)


def _one_pass(
    subject: Subject, sample: Sample, done: Examination
) -> Generator[Finding, None, bool]:
    """Yields what one batch forward and backward shows; returns whether training is impossible."""
    with torch.no_grad():
        logits = logits_of(_output(subject, sample), sample)
    about_labels = list(check_labels(subject.samples, None if logits is None else logits.shape[1]))
    yield from about_labels
    if any(one.code in _STOPS for one in about_labels):
        return True
    seen: list[Any] = []

    def judge(output: Any) -> Tensor:
        seen.append(output)
        return _loss(subject, output, sample)

    recording = record(subject.model, sample.inputs, judge)
    form = None if logits is None else form_of(subject.loss, logits, sample.targets)
    if form is not None and logits is not None:
        yield from check_loss(form, logits, _last_function(recording, seen[0]))
    layers = as_layers(recording, sample.inputs)
    done.variance = VarianceProfile(layers=layers)
    yield from check_variances([layer for layer in layers if layer.weighted], logits)
    units = look_at_units(subject, sample)
    faded = inputs_faded(recording)
    yield from check_units(units, faded if len(faded) == len(units) else [False] * len(units))
    value = subject.value(sample)
    if value.requires_grad:
        value.backward()
    yield from check_gradients(subject.model)
    return not bool(value.isfinite())


def _output(subject: Subject, sample: Sample) -> Any:
    try:
        return subject.output(sample)
    except Exception as error:
        raise SettingError(
            f"the model raises on a batch: {type(error).__name__}: {error}; batches must give "
            "inputs that model(inputs) takes: a tensor, a tuple or a dict of arguments"
        ) from error


def _loss(subject: Subject, output: Any, sample: Sample) -> Tensor:
    try:
        return subject.loss(output, sample.targets)
    except Exception as error:
        raise SettingError(
            f"the loss raises on a batch: {type(error).__name__}: {error}; pass a function "
            f"of (output, targets); the model's output is {_shape(output)}"
        ) from error


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(str, value))}: take what the loss needs out of it"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}: take what the loss needs out of it"
    return type(value).__name__


def _last_function(recording: Recording, output: Any) -> str:
    """Returns the name of the function that made the output, reshaping left out."""
    if not isinstance(output, Tensor) or output not in recording.places:
        return ""
    op = recording.operations[recording.places[output]]
    while op.name in _RESHAPING and op.sources:
        op = recording.operations[op.sources[0]]
    return op.name


def _rate(subject: Subject, done: Examination) -> Iterator[Finding]:
    """Yields what a range test says of the rate; it is shortened where the network is slow."""
    with restored(subject.model, subject.optimizer):
        subject.model.train()
        began = time.monotonic()
        value = subject.value(subject.samples[0].first(_RANGE_EXAMPLES))
        if not value.requires_grad:
            return
        value.backward()
        seconds = time.monotonic() - began
    possible = int(_RANGE_SECONDS / max(seconds, 1e-6))
    slow = possible < _RANGE_LEAST
    found = rate_range(
        subject,
        examples=_RANGE_EXAMPLES // 2 if slow else _RANGE_EXAMPLES,
        steps=_RANGE_LEAST if slow else min(_RANGE_STEPS, possible),
    )
    if found is not None:
        done.rates = found
        yield from check_rate(subject, found)
