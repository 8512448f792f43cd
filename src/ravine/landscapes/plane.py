"""A plane through a network's weights: going to a node, and leaving all as it was.

The node's weights are written into the network itself, so that beside its own only three copies
exist: the centre and the two directions. Every node is reached from the centre in one step, and
not from the node before, so that no rounding adds up. A saved point is read into the network
tensor by tensor.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ravine.landscapes.directions import Direction, moved_parameters


class Plane:
    """The weights w + Σ cₖ dₖ of a model, written into the model.

    Args:
        model: moved in place; use it inside `held`.
        centre: its weights w, as `held` gives them.
        directions: dₖ.
    """

    def __init__(
        self, model: nn.Module, centre: Sequence[Tensor], directions: Sequence[Direction]
    ) -> None:
        self._parameters = list(moved_parameters(model).values())
        self._centre = centre
        self.directions = directions

    def on(self, device: torch.device, model: nn.Module) -> "Plane":
        """Returns the same plane through `model`, a copy of the network on another device."""
        centre = [at.to(device, copy=True) for at in self._centre]
        directions = [[part.to(device, copy=True) for part in d] for d in self.directions]
        return Plane(model, centre, directions)

    @torch.no_grad()
    def go(self, *coordinates: float) -> None:
        """Puts the weights of the node at `coordinates` into the model."""
        for place, (p, at) in enumerate(zip(self._parameters, self._centre, strict=True)):
            p.data.copy_(at)
            for c, direction in zip(coordinates, self.directions, strict=True):
                if c != 0:
                    p.data.add_(direction[place], alpha=c)

    @torch.no_grad()
    def put(self, weights: Iterable[tuple[str, Tensor]], model: nn.Module) -> None:
        """Puts weights and buffers of a saved state, name by name, into the model."""
        own = dict(model.named_parameters()) | dict(model.named_buffers())
        for name, value in weights:
            if name in own:
                own[name].data.copy_(value)


@contextmanager
def guarded(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Gives a copy of the buffers; afterwards all but the weights is bitwise as before.

    Buffers, modes, requires_grad and the random state are what is kept; gradients are never
    touched.
    """
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    modes = [(module, module.training) for module in model.modules()]
    flags = [(p, p.requires_grad) for p in model.parameters()]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield buffers
        finally:
            for name, buffer in model.named_buffers():
                buffer.data.copy_(buffers[name])
            for module, mode in modes:
                module.training = mode
            for p, flag in flags:
                p.requires_grad_(flag)


@contextmanager
def put_back(model: nn.Module) -> Iterator[list[Tensor]]:
    """Gives a copy of the moved weights; afterwards they are bitwise as before."""
    weights = [p.detach().clone() for p in moved_parameters(model).values()]
    try:
        yield weights
    finally:
        for p, at in zip(moved_parameters(model).values(), weights, strict=True):
            p.data.copy_(at)


@contextmanager
def held(model: nn.Module) -> Iterator[list[Tensor]]:
    """Gives a copy of the moved weights; afterwards all of the model is bitwise as before."""
    with guarded(model), put_back(model) as weights:
        yield weights
