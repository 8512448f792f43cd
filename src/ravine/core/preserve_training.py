"""Training that changes nothing: weights, gradients and the optimizer are put back as well."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.core.preserve_state import preserve_state


@contextmanager
def preserve_training(model: nn.Module, optimizer: Optimizer | None = None) -> Iterator[None]:
    """Puts weights, gradients, the optimizer's state and settings back bitwise.

    Buffers, modes and random state too, as `preserve_state` does. Tensors keep their memory.
    """
    weights = [(p, p.detach().clone()) for p in model.parameters()]
    gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p, _ in weights]
    mine = [p for p, _ in weights]
    of_optimizer = nullcontext() if optimizer is None else preserve_optimizer(optimizer, mine)
    with preserve_state(model), of_optimizer:
        try:
            for p, _ in weights:
                p.grad = None  # the user's own tensors stay as they are
            yield
        finally:
            with torch.no_grad():
                for p, old in weights:
                    p.copy_(old)
                _put_back(gradients)


def _put_back(gradients: Iterable[tuple[Tensor, Tensor | None, Tensor | None]]) -> None:
    """Gives tensors their gradients again: the same objects, with the numbers that they had."""
    for p, grad, old in gradients:
        if grad is not None and old is not None:
            grad.copy_(old)
        p.grad = grad


@contextmanager
def preserve_optimizer(optimizer: Optimizer, but: Iterable[Tensor] = ()) -> Iterator[None]:
    """Puts the state, the settings and the parameters of an optimizer back bitwise.

    Args:
        optimizer: of any network, or of copies of a network's weights.
        but: parameters of any shape that somebody else puts back.
    """
    state, elsewhere = _copied(optimizer), {id(p) for p in but}
    groups = [_settings(g) for g in optimizer.param_groups]
    held = [p for group in optimizer.param_groups for p in group["params"]]
    own = [(p, p.detach().clone()) for p in held if id(p) not in elsewhere]
    gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p, _ in own]
    try:
        yield
    finally:
        with torch.no_grad():
            for p, old in own:
                p.copy_(old)
            _put_back(gradients)
        optimizer.state.clear()
        optimizer.state.update(state)
        for group, kept in zip(optimizer.param_groups, groups, strict=True):
            group.update(kept)


def _copied(optimizer: Optimizer) -> dict[Any, Any]:
    return {p: copy.deepcopy(slots) for p, slots in optimizer.state.items()}


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: copy.copy(value) for key, value in group.items() if key != "params"}
