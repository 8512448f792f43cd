"""`ravine.check`: what is wrong with a training before it begins, in seconds.

    findings = ravine.check(model, loss, batches, optimizer, step=train_one_batch)
    print(findings)

The checks are those of `check_table.py`, in its stages: data and wiring are read, the first batch
runs forward and backward, eight examples are overfitted, and the learning rate is compared with a
range test. Afterwards model, optimizer and random state are bitwise what they were.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.checks.activations import inputs_faded
from ravine.checks.check_batch import CheckBatch, dense_logits_of, logits_of, rows_of, take_batches
from ravine.checks.check_table import EXPLAINS, functions_of
from ravine.checks.context import CheckContext
from ravine.checks.loss_form import form_of
from ravine.checks.maximised import maximises, with_negative_loss
from ravine.checks.parameters import leaves_of
from ravine.checks.reshaped_head import reshaped_end
from ravine.checks.step_observation import observe_step
from ravine.checks.step_record import Tensors
from ravine.checks.whole_batches import with_whole_batches
from ravine.checks.witnessed_step import witness_step
from ravine.core.compiled import uncompiled, unwrapped
from ravine.core.errors import SettingError
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_random import generators_of, preserve_random
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding, Findings, merge
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.nn.freezing import training_mode_
from ravine.optim.lr_range_test import RangeTest
from ravine.propagation.recording import Recording
from ravine.propagation.variance import VarianceProfile, as_layers, record

_EXAMPLES = 64  # that are sent through the network
_RESHAPING = (
    *("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "permute", "transpose"),
    *("contiguous", "float", "to"),
)
# Findings that make the rest of the checks meaningless, or impossible.
_STOPS = ("inputs-not-finite", "labels-out-of-range")
_TURNED = "loss-of-wrong-sign"  # which a likelihood has that is to be maximised


@sleeps_when_busy()
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
        batches: (inputs, targets) pairs, such as a DataLoader; inputs may be a tensor (N, …), a
            tuple of arguments or a dictionary of named ones.
        optimizer: of the model; with it its parameters and its learning rate are checked.
        step: your own training step: a function that is called with one batch as `batches` gives
            it, and trains `model` on it with `optimizer`. State that it keeps elsewhere (a
            schedule, a counter) is not put back.
        labels_probe: also ask whether the labels belong to the inputs, which takes longer.
        learn: also overfit eight examples, and test the learning rate.

    Raises:
        SettingError: the model has no parameters that require gradients, it raises on a batch,
            the loss is not one number, or batches have a form that is not known.
    """
    return examine(
        model, loss, batches, optimizer, step, labels_probe=labels_probe, learn=learn
    ).findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The findings of `examine`, and what it measured on the way.

    Attributes:
        findings: as of `check`.
        rates: the range test of the learning rate, None where there was none.
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
    precision: torch.dtype = torch.float32,
) -> Examination:
    """Returns the findings of `check`, with its range test and its measured variances.

    Batches hold tensors of any shape whose first dimension is the batch; the loss is 0-dim. The
    range test runs in `precision`, as the training will.
    """
    learning = [p for p in model.parameters() if p.requires_grad]
    if not learning:
        raise SettingError("the model has no parameters that learn; pass one that has")
    if not callable(loss):
        raise SettingError(f"loss must be a function of (output, targets), got {loss!r}")
    # A DataLoader draws from torch's generator where it begins, and its data set may as it is read.
    with preserve_random(*generators_of(batches)), torch.enable_grad(), uncompiled():
        context = CheckContext(
            model=unwrapped(model),
            loss=loss,
            samples=take_batches(batches, learning[0].device),
            optimizer=optimizer,
            step=step,
            precision=precision,
            source=batches,
        )
        context, found = _found(context, labels_probe=labels_probe, learn=learn)
        if any(one.code == _TURNED for one in found) and _climbs(context):
            turned = with_negative_loss(context)
            again = list(_run_checks(turned, labels_probe=labels_probe, learn=learn))
            if all(one.code != _TURNED for one in again):
                found, context = again, turned
    measured = context.measured
    return Examination(
        findings=merge(found, EXPLAINS),
        rates=measured.range_test,
        variance=measured.variance,
    )


def _found(
    context: CheckContext, *, labels_probe: bool, learn: bool
) -> tuple[CheckContext, list[Finding]]:
    """Returns the findings of all stages, and their context: of whole batches where it must be.

    A graph cannot be trained on some of its nodes and tried on the others: no probe does that then.
    """
    try:
        return context, list(_run_checks(context, labels_probe=labels_probe, learn=learn))
    except (SettingError, RuntimeError):  # what torch raises for a shape that does not fit
        whole = with_whole_batches(context)
        if whole is None:
            raise
        return whole, list(_run_checks(whole, labels_probe=False, learn=False))


def _climbs(context: CheckContext) -> bool:
    """Returns whether the optimizer, or that of the step, maximises."""
    pair = context.measured.steps
    return maximises(context.optimizer) or (pair is not None and maximises(pair.first.optimizer))


def _run_checks(context: CheckContext, *, labels_probe: bool, learn: bool) -> Iterator[Finding]:
    """Yields the findings of all stages; the first that makes the rest meaningless ends them."""
    if (yield from _run_stage("before", context)):
        return
    with preserve_training(context.model, context.optimizer):
        training_mode_(context.model)
        impossible = yield from _first_batch(context, context.samples[0].first(_EXAMPLES))
    if impossible:
        return
    own = {id(p) for p in context.model.parameters()}
    with preserve_tensors([p for p in context.measured.leaves if id(p) not in own]):
        yield from _later_stages(context, labels_probe=labels_probe, learn=learn)


def _later_stages(context: CheckContext, *, labels_probe: bool, learn: bool) -> Iterator[Finding]:
    """Yields the findings of the stages that ask more than one batch."""
    yield from _run_stage("evaluation", context)
    context.measured.steps = observe_step(context)
    context.measured.witness = witness_step(context)
    yield from _run_stage("state", context)
    if labels_probe:
        yield from _run_stage("labels probe", context)
    if learn:
        yield from _run_stage("training", context)


def _run_stage(stage: str, context: CheckContext) -> Generator[Finding, None, bool]:
    """Yields the findings of a stage; returns whether one of them ends the checks."""
    ends = False
    for function in functions_of(stage):
        for one in function(context):
            ends = ends or one.code in _STOPS
            yield one
    return ends


def _first_batch(context: CheckContext, sample: CheckBatch) -> Generator[Finding, None, bool]:
    """Yields the findings of one batch forward and backward; returns whether training can't be.

    What the checks of stage "first batch" read is measured here, each random draw in one order.
    """
    measured = context.measured
    with torch.no_grad():
        rows = rows_of(_output(context, sample), sample)
    measured.columns = None if rows is None else rows.shape[1]
    measured.logits = logits_of(rows, sample)
    if (yield from _run_stage("labels", context)):
        return True
    recording = record(context.model, sample.inputs, lambda out: _loss(context, out, sample))
    if measured.logits is not None:
        measured.loss_form = form_of(context.loss, measured.logits, sample.targets)
    measured.dense = dense_logits_of(recording.output, sample)
    if measured.dense is not None:
        measured.dense_form = form_of(context.loss, measured.dense, sample.targets)
    measured.reshaped = reshaped_end(recording.output)
    measured.last_function = _last_function(recording, recording.output)
    measured.ends = tuple(_last_function(recording, t) for t in tensors_in(recording.output))
    measured.variance = VarianceProfile(layers=as_layers(recording, sample.inputs))
    measured.units = tuple(recording.units)
    faded = inputs_faded(recording)
    is_matched = len(faded) == len(measured.units)
    measured.faded = faded if is_matched else (False,) * len(measured.units)
    value = _differentiated(context, sample, recording)
    yield from _run_stage("first batch", context)
    return not bool(value.isfinite())


def _differentiated(context: CheckContext, sample: CheckBatch, recording: Recording) -> Tensor:
    """Returns the loss of a batch, 0-dim; keeps what checks read of it and of its gradients."""
    measured, output, value = context.measured, recording.output, recording.loss
    assert value is not None
    measured.outputs, measured.targets = map_tensors(output, Tensor.detach), sample.targets
    measured.output = next(
        (t.detach() for t in tensors_in(output) if t.is_floating_point() and t.dim()), None
    )
    if not value.requires_grad:
        learning = [n for n, p in enumerate(context.model.parameters()) if p.requires_grad]
        measured.without_gradient = tuple(learning)
        return value
    measured.leaves = tuple(leaves_of(value))
    for p, slope in recording.slopes.items():
        p.grad = slope
    measured.without_gradient = tuple(
        n for n, p in enumerate(context.model.parameters()) if p.requires_grad and p.grad is None
    )
    measured.penalty = _past_the_output(context, output, sample)
    return value


def _past_the_output(
    context: CheckContext, output: Any, sample: CheckBatch
) -> tuple[Tensors, Tensors] | None:
    """Returns the gradient of the loss by the weights past its outputs, and through them.

    None where nothing goes past them.
    """
    weights = list(context.model.parameters())
    alone = context.loss(map_tensors(output, Tensor.detach), sample.targets)
    if not isinstance(alone, Tensor) or not alone.requires_grad:
        return None
    learning = {n: p for n, p in enumerate(weights) if p.requires_grad}
    found = torch.autograd.grad(alone, list(learning.values()), allow_unused=True)
    past = {n: g for n, g in zip(learning, found, strict=True) if g is not None}
    whole = {n: p.grad for n, p in learning.items() if p.grad is not None}
    through = {n: g - past[n] if n in past else g for n, g in whole.items()}
    return (past, through) if past else None


def _output(context: CheckContext, sample: CheckBatch) -> Any:
    try:
        return context.output(sample)
    except Exception as error:
        raise SettingError(
            f"the model raises on a batch: {type(error).__name__}: {error}; batches must give "
            "inputs that model(inputs) takes: a tensor, a tuple or a dict of arguments"
        ) from error


def _loss(context: CheckContext, output: Any, sample: CheckBatch) -> Tensor:
    try:
        return context.loss(output, sample.targets)
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
    while (made := recording.maker_of_vector(output)) is not None:
        name, output = made
        if name not in _RESHAPING:
            return name
    op = recording.operation_of(output)
    while op is not None and op.name in _RESHAPING and op.sources:
        op = recording.operations[op.sources[0]]
    return "" if op is None else op.name
