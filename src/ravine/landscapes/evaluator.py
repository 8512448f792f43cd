"""What a node's loss depends on, and a copy of it on another device."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ravine.landscapes.node import FixedBatches, LossFunction, NodeLoss, node_loss
from ravine.landscapes.plane import Plane
from ravine.landscapes.trajectory import Point, tensors_of


@dataclass(slots=True, kw_only=True)
class Ground:
    """What a node's loss depends on; all of it is fixed while a surface is made."""

    model: nn.Module
    plane: Plane
    loss: LossFunction
    batches: FixedBatches
    policy: str
    precision: torch.dtype
    buffers: Mapping[str, Tensor]

    def at(self, *coordinates: float) -> NodeLoss:
        """Returns the loss at a node, with the buffers of the centre."""
        self.go(*coordinates)
        return self._now()

    def go(self, *coordinates: float) -> None:
        """Puts the weights of a node and the buffers of the centre into the model."""
        for name, buffer in self.model.named_buffers():
            buffer.data.copy_(self.buffers[name])
        self.plane.go(*coordinates)

    def at_point(self, point: Point) -> NodeLoss:
        """Returns the true loss of a saved point, with the buffers that were saved with it."""
        self.plane.put(tensors_of(point), self.model)
        return self._now()

    def on(self, device: torch.device) -> "Ground":
        """Returns a ground of its own on `device`: a second model, and copies of what it needs."""
        model = deepcopy(self.model).to(device)
        return replace(
            self,
            model=model,
            plane=self.plane.on(device, model),
            batches=self.batches.on(device),
            buffers={name: b.to(device, copy=True) for name, b in self.buffers.items()},
        )

    def _now(self) -> NodeLoss:
        return node_loss(
            self.model, self.loss, self.batches, policy=self.policy, precision=self.precision
        )
