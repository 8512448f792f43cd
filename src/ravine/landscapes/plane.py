"""A plane through a network's weights, and context managers that restore the network.

The weights of a node are written into the network itself, so that besides its own only three
copies exist: the centre and the two directions. Every node is reached from the centre in one step,
not from the previous node, so that rounding errors do not add up. A saved point is read into the
network tensor by tensor.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ravine.core.preserve_state import preserve_state
from ravine.landscapes.directions import Direction, moved_parameters


class Plane:
    """The weights w + Σ cₖ dₖ of a model, written into the model.

    Args:
        model: overwritten in place; the caller restores it (`preserve_weights`).
        centre: its weights w, one tensor for each moved parameter, of its shape.
        directions: dₖ, each of the same shapes as `centre`.
    """

    def __init__(
        self, model: nn.Module, centre: Sequence[Tensor], directions: Sequence[Direction]
    ) -> None:
        self._parameters = list(moved_parameters(model).values())
        self._centre = centre
        self.directions = directions

    def on(self, device: torch.device, model: nn.Module) -> "Plane":
        """Returns the same plane through `model`, a copy of the network on another device."""
        centre = [weight.to(device, copy=True) for weight in self._centre]
        directions = [[part.to(device, copy=True) for part in d] for d in self.directions]
        return Plane(model, centre, directions)

    @torch.no_grad()
    def move_to(self, *coordinates: float) -> None:
        """Writes the weights of the node at `coordinates` into the model."""
        for index, (p, weight) in enumerate(zip(self._parameters, self._centre, strict=True)):
            p.data.copy_(weight)
            for c, direction in zip(coordinates, self.directions, strict=True):
                if c != 0:
                    p.data.add_(direction[index], alpha=c)

    @torch.no_grad()
    def load(self, state: Iterable[tuple[str, Tensor]], model: nn.Module) -> None:
        """Writes weights and buffers of a saved state, name by name, into the model.

        Args:
            state: names and tensors, each of the shape of the model's tensor of that name; names
                that the model does not have are passed over.
            model: the network of the plane.
        """
        own = dict(model.named_parameters()) | dict(model.named_buffers())
        for name, value in state:
            if name in own:
                own[name].data.copy_(value)


@contextmanager
def preserve_all_but_weights(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yields a copy of the buffers, by name and of their shapes; restores all but the weights.

    Buffers, modes, requires_grad and the random state are bitwise as before afterwards; gradients
    are left to the caller.
    """
    flags = [(p, p.requires_grad) for p in model.parameters()]
    with preserve_state(model):
        try:
            yield {name: b.clone() for name, b in model.named_buffers()}
        finally:
            for p, flag in flags:
                p.requires_grad_(flag)


@contextmanager
def preserve_weights(model: nn.Module) -> Iterator[list[Tensor]]:
    """Yields a copy of the moved parameters, in their order and shapes; restores them bitwise."""
    weights = [p.detach().clone() for p in moved_parameters(model).values()]
    try:
        yield weights
    finally:
        for p, weight in zip(moved_parameters(model).values(), weights, strict=True):
            p.data.copy_(weight)
