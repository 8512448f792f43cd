"""Checks of the wiring: what the optimizer holds, what gets a gradient, what the step does."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from ravine.checks.context import Sample, Subject, layer_of
from ravine.core.errors import SettingError
from ravine.core.preserve_training import restored
from ravine.findings.finding import Finding
from ravine.findings.thresholds import STRONG_DROPOUT

_BY_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
_CALLS = 8  # of a step that accumulates, until the optimizer must have stepped


def check_optimizer(subject: Subject) -> Iterator[Finding]:
    """Yields parameters that learn and that the optimizer does not hold."""
    if subject.optimizer is None:
        return
    held = {id(p) for group in subject.optimizer.param_groups for p in group["params"]}
    learning = [p for p in subject.model.parameters() if p.requires_grad]
    missing = [p for p in learning if id(p) not in held]
    if not missing:
        return
    all_of_them = len(missing) == len(learning)
    layers = list(dict.fromkeys(layer_of(subject.model, p) for p in missing))
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


def check_mode(model: nn.Module) -> Iterator[Finding]:
    """Yields a model that is left in its application stage, where that matters."""
    asleep = [n for n, m in model.named_modules() if isinstance(m, _BY_MODE) and not m.training]
    if asleep:
        yield _asleep(asleep, whole=not model.training)


def _asleep(asleep: list[str], *, whole: bool) -> Finding:
    return Finding(
        severity="critical" if whole else "warning",
        code="eval-mode",
        seen=f"{len(asleep)} layers with batch norm or dropout are in evaluation mode"
        + (", and so is the whole model" if whole else ""),
        cause="model.eval() was called and model.train() not after it",
        cure="call model.train() before every epoch of training",
        layer=asleep[0],
        evidence={"layers": len(asleep)},
    )


def check_dropout(model: nn.Module) -> Iterator[Finding]:
    """Yields dropout that leaves next to nothing."""
    for name, module in model.named_modules():
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


def check_gradients(model: nn.Module) -> Iterator[Finding]:
    """Yields parameters that got no gradient from the backward pass just before."""
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
        cure=f"look in forward() for what follows {layers[-1]}",
        layer=layers[0],
        evidence={"parameters": len(without), "share": share},
    )


@dataclass(slots=True)
class _Seen:
    """What a step of the user's did."""

    gradients: list[dict[int, Tensor]] = field(default_factory=list)
    training: list[bool] = field(default_factory=list)
    calls: int = 0


def check_step(subject: Subject) -> Iterator[Finding]:
    """Yields what the user's own step does wrong, called twice on one batch from one state."""
    sample = subject.samples[0]
    with restored(subject.model, subject.optimizer):
        before = [p.detach().clone() for p in subject.model.parameters()]
        first = _observe(subject, sample)
        moved = any(
            not torch.equal(a, b) for a, b in zip(before, subject.model.parameters(), strict=True)
        )
        kept = [p.grad for p in subject.model.parameters()]
    if not first.gradients or not moved:
        yield _does_not_update(first, moved)
    by_mode = [n for n, m in subject.model.named_modules() if isinstance(m, _BY_MODE)]
    if by_mode and first.training and not all(first.training):
        yield _asleep(by_mode, whole=True)
    if not first.gradients:
        return
    with restored(subject.model, subject.optimizer):
        for p, gradient in zip(subject.model.parameters(), kept, strict=True):
            p.grad = gradient
        second = _observe(subject, sample)
    if second.gradients:
        yield from _compare(first.gradients[0], second.gradients[0])


def _observe(subject: Subject, sample: Sample) -> _Seen:
    """Returns what happens until the optimizer has stepped once."""
    seen = _Seen()
    parameters = list(subject.model.parameters())

    def before_step(_optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        grads = {n: p.grad.detach().clone() for n, p in enumerate(parameters) if p.grad is not None}
        if grads:
            seen.gradients.append(grads)

    def before_forward(module: nn.Module, _inputs: Any) -> None:
        seen.training.append(module.training)

    hooks = [
        register_optimizer_step_pre_hook(before_step),
        subject.model.register_forward_pre_hook(before_forward),
    ]
    assert subject.step is not None
    try:
        while not seen.gradients and seen.calls < _CALLS:
            seen.calls += 1
            try:
                subject.step(sample.given)
            except Exception as error:
                raise SettingError(
                    f"step raises on a batch: {type(error).__name__}: {error}; pass a function "
                    "that takes one batch as batches gives it, and trains on it"
                ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _does_not_update(seen: _Seen, moved: bool) -> Finding:
    stepped = bool(seen.gradients)
    return Finding(
        severity="critical",
        code="step-does-not-update",
        seen="the optimizer steps, and no weight of the model changes"
        if stepped
        else f"in {seen.calls} calls the step never calls optimizer.step() with gradients"
        + (", though weights change" if moved else ""),
        cause="the optimizer holds other tensors, or its rate is 0"
        if stepped
        else "backward() or optimizer.step() is missing",
        cure="make the optimizer from this model's parameters, with a rate above 0"
        if stepped
        else "call loss.backward() and then optimizer.step()",
        evidence={"calls": seen.calls},
    )


def _compare(first: dict[int, Tensor], second: dict[int, Tensor]) -> Iterator[Finding]:
    """From the same weights on the same batch, what was not cleared is there twice."""
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
