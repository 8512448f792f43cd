"""A forward pass that changes nothing: buffers, modes and random state are put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def preserve_state(model: nn.Module) -> Iterator[None]:
    """Puts buffers, modes and random state back bitwise; the gradients are left to the caller."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(m, dict(m._buffers)) for m in model.modules()]
    kept = [(b, b.detach().clone()) for _, held in buffers for b in held.values() if b is not None]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, held in buffers:
            module._buffers.update(held)
        with torch.no_grad():
            for buffer, old in kept:
                buffer.copy_(old)
        for module, training in modes:
            module.training = training
