"""A plane through a network's weights: going to a node, and leaving all as it was.

The node's weights are written into the network itself, so that beside its own only three copies
exist: the centre and the two directions. Every node is reached from the centre in one step, and
not from the node before, so that no rounding adds up.
"""

from collections.abc import Iterator, Mapping, Sequence
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

    @torch.no_grad()
    def go(self, *coordinates: float) -> None:
        """Puts the weights of the node at `coordinates` into the model."""
        for place, (p, at) in enumerate(zip(self._parameters, self._centre, strict=True)):
            p.data.copy_(at)
            for c, direction in zip(coordinates, self.directions, strict=True):
                if c != 0:
                    p.data.add_(direction[place], alpha=c)

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor], model: nn.Module) -> None:
        """Puts weights and buffers of a saved state into the model."""
        own = dict(model.named_parameters()) | dict(model.named_buffers())
        for name, value in own.items():
            if name in weights:
                value.data.copy_(weights[name])


@contextmanager
def held(model: nn.Module) -> Iterator[list[Tensor]]:
    """Gives a copy of the moved weights; afterwards all of the model is bitwise as before.

    Weights, buffers, modes, requires_grad, gradients and the random state are what is kept.
    """
    weights = [p.detach().clone() for p in moved_parameters(model).values()]
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    modes = [(module, module.training) for module in model.modules()]
    flags = [(p, p.requires_grad) for p in model.parameters()]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield weights
        finally:
            for p, at in zip(moved_parameters(model).values(), weights, strict=True):
                p.data.copy_(at)
            for name, buffer in model.named_buffers():
                buffer.data.copy_(buffers[name])
            for module, mode in modes:
                module.training = mode
            for p, flag in flags:
                p.requires_grad_(flag)
