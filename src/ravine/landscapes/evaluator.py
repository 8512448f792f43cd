"""The grid evaluator: the loss at any node of a plane, and copies of it on other devices."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ravine.landscapes.node import FixedBatches, LossFunction, NodeLoss, node_loss
from ravine.landscapes.plane import Plane
from ravine.landscapes.trajectory import Point, tensors_of


@dataclass(slots=True, kw_only=True)
class GridEvaluator:
    """What the loss of a node depends on; all of it is fixed while a surface is computed.

    Args:
        model: its weights and buffers are overwritten; the caller restores them.
        plane: through the weights of `model`.
        loss: of (outputs, targets).
        batches: the same at every node.
        policy: for batch norm, one of `POLICIES`.
        precision: of activations and products.
        buffers: of the centre, by name, each of the shape of its buffer in `model`.
    """

    model: nn.Module
    plane: Plane
    loss: LossFunction
    batches: FixedBatches
    policy: str
    precision: torch.dtype
    buffers: Mapping[str, Tensor]

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def centre(self) -> tuple[float, ...]:
        """The coordinates of the centre."""
        return (0.0,) * len(self.plane.directions)

    def loss_at(self, *coordinates: float) -> NodeLoss:
        """Returns the loss at a node, with the buffers of the centre."""
        self.move_to(*coordinates)
        return self._current_loss()

    def move_to(self, *coordinates: float) -> None:
        """Writes the weights of a node and the buffers of the centre into the model."""
        for name, buffer in self.model.named_buffers():
            buffer.data.copy_(self.buffers[name])
        self.plane.move_to(*coordinates)

    def loss_of(self, point: Point) -> NodeLoss:
        """Returns the true loss of a saved point, with the buffers that were saved with it."""
        self.plane.load(tensors_of(point), self.model)
        return self._current_loss()

    def on(self, device: torch.device) -> "GridEvaluator":
        """Returns an independent evaluator on `device`: copies of the model and of all tensors."""
        model = deepcopy(self.model).to(device)
        return replace(
            self,
            model=model,
            plane=self.plane.on(device, model),
            batches=self.batches.on(device),
            buffers={name: b.to(device, copy=True) for name, b in self.buffers.items()},
        )

    def _current_loss(self) -> NodeLoss:
        return node_loss(
            self.model, self.loss, self.batches, policy=self.policy, precision=self.precision
        )
