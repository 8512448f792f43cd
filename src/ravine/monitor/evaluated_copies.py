"""Copies of the watched network, such as averages of its weights, that are evaluated in its place.

A monitor is given one network. A copy of it lives in the same process; it is found by its kind and
its shapes, and is asked for a batch of training, with the statistics of its batch norms and with
those of the batch. Buffers, modes and random states of the copy stay.
"""

import gc
import math

import torch
from torch import Tensor, nn

from ravine.core.nested import tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.monitor.loop_watch import Call

_MOST = 4


def copies_of(model: nn.Module) -> list[nn.Module]:
    """Returns other networks of the same class whose parameters have the same names and shapes."""
    inner, shapes = {id(m) for m in model.modules()}, _shapes(model)
    found = [
        one
        for one in gc.get_objects()
        if type(one) is type(model) and id(one) not in inner and _shapes(one) == shapes
    ]
    return found[-_MOST:]


def _shapes(model: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, p.shape) for name, p in model.named_parameters()]


def copy_differs(model: nn.Module, call: Call) -> tuple[float, float] | None:
    """Returns how far a copy's outputs lie from the network's on a batch of training.

    Both relative to the deviation of the network's outputs: with the copy's own norm statistics,
    and with those of the batch. Of several copies the one that is farthest with its own. None where
    there is no copy, or none with batch norm.
    """
    found: list[tuple[float, float]] = []
    for copy in copies_of(model):
        norms = [m for m in copy.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if not any(m.track_running_stats for m in norms):
            continue
        with preserve_state(model), preserve_state(copy), torch.no_grad():
            model.train()
            ours = _output(model, call)
            copy.eval()
            own = _output(copy, call)
            for module in norms:
                module.train()
            of_batch = _output(copy, call)
        if ours is not None and own is not None and of_batch is not None:
            found.append((_apart(own, ours), _apart(of_batch, ours)))
    return max(found, default=None)


def _output(model: nn.Module, call: Call) -> Tensor | None:
    args, kwargs = call
    fits = [t for t in tensors_in(model(*args, **kwargs)) if t.is_floating_point() and t.dim()]
    return fits[0].double() if fits else None


def _apart(one: Tensor, other: Tensor) -> float:
    spread = float((other - other.mean(0)).norm())
    return float((one - other).norm()) / spread if spread > 0 else math.inf
