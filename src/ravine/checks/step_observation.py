"""What the user's step really does: gradients, updates, modes and buffers, called from one state.

The step runs until the optimizer has stepped once, twice from the same weights, on one batch;
beside it stands the gradient of the declared loss on that batch. Weights, the optimizer's state
and the random state are put back.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.step_record import StepPair, StepRecord, Tensors
from ravine.core.errors import SettingError
from ravine.core.preserve_training import preserve_training

_CALLS = 32  # of a step that accumulates, until the optimizer must have stepped
_SECONDS = 15.0  # after which no further call is waited for
_WARM_UP = 4  # calls in which a learning rate of 0 must rise


def observe_step(context: CheckContext) -> StepPair | None:
    """Returns what the user's step does; None where none was given.

    Raises:
        SettingError: it raises on a batch.
    """
    if context.step is None:
        return None
    sample = context.samples[0]
    with preserve_training(context.model, context.optimizer):
        first = _observed(context, sample)
        kept = [p.grad for p in context.model.parameters()]
    if first.optimizer is None:
        return StepPair(first=first, second=None, declared={})
    with preserve_training(context.model, context.optimizer):
        for p, gradient in zip(context.model.parameters(), kept, strict=True):
            p.grad = gradient
        second = _observed(context, sample)
    return StepPair(first=first, second=second, declared=declared_gradient(context, sample))


def declared_gradient(context: CheckContext, sample: CheckBatch) -> Tensors:
    """Returns the gradient of the declared loss in training mode; empty where there is none."""
    with preserve_training(context.model):
        context.model.train()
        value = context.value(sample)
        if not value.requires_grad:
            return {}
        value.backward()
        return _gradients(list(context.model.parameters()))


def _gradients(parameters: list[Tensor]) -> dict[int, Tensor]:
    return {
        n: p.grad.detach().to_dense().clone() if p.grad.is_sparse else p.grad.detach().clone()
        for n, p in enumerate(parameters)
        if p.grad is not None
    }


def _observed(context: CheckContext, sample: CheckBatch) -> StepRecord:
    """Calls the user's step until the optimizer has stepped, with a learning rate above 0."""
    parameters: list[Tensor] = list(context.model.parameters())
    before = [p.detach().clone() for p in parameters]
    frozen = _frozen_statistics(context.model)
    record, began = StepRecord(), time.monotonic()
    with _watching(context.model, parameters, record):
        while record.calls < _CALLS and (not record.calls or time.monotonic() - began < _SECONDS):
            _call(context, sample)
            record.calls += 1
            stepped = record.optimizer is not None
            if stepped and (not record.rests or len(record.learning_rates) >= _WARM_UP):
                break
    record.moved = any(not torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
    record.drifted = tuple(
        name
        for name, (module, mean) in frozen.items()
        if not torch.equal(module.running_mean, mean)
    )
    return record


def _call(context: CheckContext, sample: CheckBatch) -> None:
    assert context.step is not None
    try:
        context.step(sample.original)
    except Exception as error:
        raise SettingError(
            f"step raises on a batch: {type(error).__name__}: {error}; pass a function "
            "that takes one batch as batches gives it, and trains on it"
        ) from error


@contextmanager
def _watching(model: nn.Module, parameters: list[Tensor], record: StepRecord) -> Iterator[None]:
    """Fills a record in while the user's step runs."""
    weights: list[Tensor] = []

    def before_step(_: Optimizer, args: Any, kwargs: Any) -> None:
        if record.optimizer is None:
            weights[:] = [p.detach().clone() for p in parameters]
            record.gradients = _gradients(parameters)
            record.has_closure = any(callable(a) for a in (*args, *kwargs.values()))

    def after_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if record.optimizer is None:
            record.gradients = record.gradients or (
                _gradients(parameters) if record.has_closure else {}
            )
            if not record.gradients:
                record.without_gradients += 1
                return
            record.optimizer = optimizer
        if record.optimizer is optimizer:
            _note_update(record, optimizer, parameters, weights)

    def before_forward(module: nn.Module, _inputs: Any) -> None:
        if torch.is_grad_enabled():
            record.training.append(module.training)

    hooks: list[Any] = [
        register_optimizer_step_pre_hook(before_step),
        register_optimizer_step_post_hook(after_step),
        model.register_forward_pre_hook(before_forward),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _note_update(
    record: StepRecord, optimizer: Optimizer, parameters: list[Tensor], before: list[Tensor]
) -> None:
    """Notes the learning rates of a step, and the first update that is not at a rate of 0."""
    lrs = tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)
    if len(record.learning_rates) <= record.calls:
        record.learning_rates.append(lrs)
    if not record.updates and any(lrs):
        record.updates = {
            n: p.detach() - old for n, (p, old) in enumerate(zip(parameters, before, strict=True))
        }


def _frozen_statistics(model: nn.Module) -> dict[str, tuple[Any, Tensor]]:
    """Returns the batch norms whose own weights are frozen, with their running means."""
    found: dict[str, tuple[Any, Tensor]] = {}
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if is_norm and own and not any(p.requires_grad for p in own):
            mean = getattr(module, "running_mean", None)
            if mean is not None:
                found[name] = (module, mean.detach().clone())
    return found


def update_of(optimizer: Optimizer, model: nn.Module, gradients: Tensors) -> Tensors:
    """Returns what the optimizer would add to each parameter with these gradients, from its state.

    Everything is put back.
    """
    with preserve_training(model, optimizer):
        parameters = list(model.parameters())
        before = [p.detach().clone() for p in parameters]
        for n, p in enumerate(parameters):
            p.grad = gradients[n].clone() if n in gradients else None
        optimizer.step()
        return {
            n: p.detach() - old for n, (p, old) in enumerate(zip(parameters, before, strict=True))
        }
