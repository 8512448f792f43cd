"""Training that changes nothing: weights, gradients and the optimizer are put back as well."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ravine.core.preserve_state import preserve_state


@contextmanager
def preserve_training(model: nn.Module, optimizer: Optimizer | None = None) -> Iterator[None]:
    """Puts weights, gradients, the optimizer's state and settings back bitwise.

    Buffers, modes and random state too, as `preserve_state` does. Tensors keep their memory.
    """
    weights = [(p, p.detach().clone()) for p in model.parameters()]
    gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p, _ in weights]
    of_optimizer = nullcontext() if optimizer is None else preserve_optimizer(optimizer)
    with preserve_state(model), of_optimizer:
        try:
            for p, _ in weights:
                p.grad = None  # the user's own tensors stay as they are
            yield
        finally:
            with torch.no_grad():
                for p, old in weights:
                    p.copy_(old)
                for p, grad, old_grad in gradients:
                    if grad is not None and old_grad is not None:
                        grad.copy_(old_grad)
                    p.grad = grad


@contextmanager
def preserve_optimizer(optimizer: Optimizer) -> Iterator[None]:
    """Puts the state and the settings of an optimizer back bitwise."""
    state = _copied(optimizer)
    groups = [_settings(g) for g in optimizer.param_groups]
    try:
        yield
    finally:
        optimizer.state.clear()
        optimizer.state.update(state)
        for group, kept in zip(optimizer.param_groups, groups, strict=True):
            group.update(kept)


def _copied(optimizer: Optimizer) -> dict[Any, Any]:
    return {p: copy.deepcopy(slots) for p, slots in optimizer.state.items()}


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: copy.copy(value) for key, value in group.items() if key != "params"}
