"""Checks of the wiring: the optimizer's parameters, gradients, modes, and the user's step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext, layer_of
from ravine.core.errors import SettingError
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import STRONG_DROPOUT

_BY_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
_CALLS = 8  # of a step that accumulates, until the optimizer must have stepped


def check_optimizer(context: CheckContext) -> Iterator[Finding]:
    """Yields parameters that require gradients and that the optimizer does not hold."""
    if context.optimizer is None:
        return
    held = {id(p) for group in context.optimizer.param_groups for p in group["params"]}
    learning = [p for p in context.model.parameters() if p.requires_grad]
    missing = [p for p in learning if id(p) not in held]
    if not missing:
        return
    all_of_them = len(missing) == len(learning)
    layers = list(dict.fromkeys(layer_of(context.model, p) for p in missing))
    shown = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
    yield Finding(
        severity="critical",
        code="not-in-optimizer",
        seen="the optimizer holds no parameter of this model"
        if all_of_them
        else f"the optimizer does not hold the parameters of {shown}",
        cause="it was made for another model, or before this one was made"
        if all_of_them
        else "they were left out, or the layer was put in after the optimizer was made",
        cure="make the optimizer from model.parameters() after the model is whole; freeze what "
        "shall not learn with requires_grad_(False)",
        layer=layers[0],
        evidence={"parameters": len(missing), "of": len(learning)},
    )


def check_mode(context: CheckContext) -> Iterator[Finding]:
    """Yields a model left in evaluation mode, where that matters and no step sets the mode."""
    if context.step is not None:
        return
    layers = [n for n, m in _layers_with_modes(context.model) if not m.training]
    if layers:
        yield _evaluating(layers, whole=not context.model.training)


def _layers_with_modes(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(n, m) for n, m in model.named_modules() if isinstance(m, _BY_MODE)]


def _evaluating(layers: list[str], *, whole: bool) -> Finding:
    return Finding(
        severity="critical" if whole else "warning",
        code="eval-mode",
        seen=f"{len(layers)} layers with batch norm or dropout are in evaluation mode"
        + (", and so is the whole model" if whole else ""),
        cause="model.eval() was called and model.train() not after it",
        cure="call model.train() before every epoch of training",
        layer=layers[0],
        evidence={"layers": len(layers)},
    )


def check_dropout(context: CheckContext) -> Iterator[Finding]:
    """Yields dropout that leaves next to nothing."""
    for name, module in context.model.named_modules():
        p = getattr(module, "p", None)
        if "Dropout" in type(module).__name__ and isinstance(p, float) and p > STRONG_DROPOUT:
            yield Finding(
                severity="warning",
                code="dropout-too-strong",
                seen=f"dropout takes away {p:.0%} of the units",
                cause="p is the share that is dropped, not the share that is kept",
                cure=f"set p = {round(1 - p, 3)}" if p < 1 else "set p between 0.1 and 0.5",
                layer=name,
                evidence={"p": p},
                changes={"dropout": 0.3},
            )
            return


def check_gradients(context: CheckContext) -> Iterator[Finding]:
    """Yields parameters without a gradient after the backward pass of the first batch."""
    model = context.model
    learning = [p for p in model.parameters() if p.requires_grad]
    without = [p for p in learning if p.grad is None]
    if not without:
        return
    layers = list(dict.fromkeys(layer_of(model, p) for p in without))
    share = sum(p.numel() for p in without) / sum(p.numel() for p in learning)
    yield Finding(
        severity="critical" if len(without) > 2 or share > 0.1 else "warning",
        code="no-gradient",
        seen=f"{len(without)} of {len(learning)} parameters get no gradient "
        f"({share:.0%} of the weights), the last of them in {layers[-1]}",
        cause="the forward pass does not use them, or cuts the graph behind them "
        "(detach, no_grad, .data, argmax, numpy)",
        cure=f"inspect what follows {layers[-1]} in forward()",
        layer=layers[0],
        evidence={"parameters": len(without), "share": share},
    )


@dataclass(slots=True)
class _StepRecord:
    """What the user's step did.

    Attributes:
        gradients: by index of the parameter, of each step of the optimizer.
        training: of each forward pass, whether the model was in training mode.
        calls: of the user's step.
    """

    gradients: list[dict[int, Tensor]] = field(default_factory=list)
    training: list[bool] = field(default_factory=list)
    calls: int = 0


def check_step(context: CheckContext) -> Iterator[Finding]:
    """Yields faults of the user's own step, called twice on one batch from one state."""
    if context.step is None:
        return
    sample = context.samples[0]
    with preserve_training(context.model, context.optimizer):
        before = [p.detach().clone() for p in context.model.parameters()]
        first = _observe(context, sample)
        moved = any(
            not torch.equal(a, b) for a, b in zip(before, context.model.parameters(), strict=True)
        )
        kept = [p.grad for p in context.model.parameters()]
    if not first.gradients or not moved:
        yield _does_not_update(first, moved)
    with_modes = [name for name, _ in _layers_with_modes(context.model)]
    if with_modes and first.training and not all(first.training):
        yield _evaluating(with_modes, whole=True)
    if not first.gradients:
        return
    with preserve_training(context.model, context.optimizer):
        for p, gradient in zip(context.model.parameters(), kept, strict=True):
            p.grad = gradient
        second = _observe(context, sample)
    if second.gradients:
        yield from _compare(first.gradients[0], second.gradients[0])


def _observe(context: CheckContext, sample: CheckBatch) -> _StepRecord:
    """Calls the user's step until the optimizer has stepped once."""
    record = _StepRecord()
    parameters = list(context.model.parameters())

    def before_step(_optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        grads = {n: p.grad.detach().clone() for n, p in enumerate(parameters) if p.grad is not None}
        if grads:
            record.gradients.append(grads)

    def before_forward(module: nn.Module, _inputs: Any) -> None:
        record.training.append(module.training)

    hooks = [
        register_optimizer_step_pre_hook(before_step),
        context.model.register_forward_pre_hook(before_forward),
    ]
    assert context.step is not None
    try:
        while not record.gradients and record.calls < _CALLS:
            record.calls += 1
            try:
                context.step(sample.original)
            except Exception as error:
                raise SettingError(
                    f"step raises on a batch: {type(error).__name__}: {error}; pass a function "
                    "that takes one batch as batches gives it, and trains on it"
                ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return record


def _does_not_update(record: _StepRecord, moved: bool) -> Finding:
    stepped = bool(record.gradients)
    return Finding(
        severity="critical",
        code="step-does-not-update",
        seen="the optimizer steps, and no weight of the model changes"
        if stepped
        else f"in {record.calls} calls the step never calls optimizer.step() with gradients"
        + (", though weights change" if moved else ""),
        cause="the optimizer holds other tensors, or its learning rate is 0"
        if stepped
        else "backward() or optimizer.step() is missing",
        cure="make the optimizer from this model's parameters, with a learning rate above 0"
        if stepped
        else "call loss.backward() and then optimizer.step()",
        evidence={"calls": record.calls},
    )


def _compare(first: dict[int, Tensor], second: dict[int, Tensor]) -> Iterator[Finding]:
    """Yields gradients (by index) that a second step from the same weights finds added up."""
    both = [n for n in first if n in second]
    product = sum(float((first[n].double() * second[n].double()).sum()) for n in both)
    square = sum(float(first[n].double().square().sum()) for n in both)
    ratio = product / square if square > 0 else 1.0
    if ratio > 1.5:
        yield Finding(
            severity="critical",
            code="gradients-not-cleared",
            seen=f"the second step on the same batch from the same weights has {ratio:.2f} times "
            "the gradient of the first",
            cause="the gradients of all earlier steps add up: zero_grad is not called",
            cure="call optimizer.zero_grad() in every step, before loss.backward()",
            evidence={"ratio": ratio},
        )
