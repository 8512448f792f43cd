"""The table of a network: layer, output shape, parameters, multiply-adds."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer.

    Attributes:
        layer: its dotted name.
        kind: its class.
        output_shape: without the batch.
        parameters: its own.
        multiply_adds: for one image; only products of weights are counted.
    """

    layer: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@torch.no_grad()
def summary(model: nn.Module, *, channels: int, image_size: int) -> list[Row]:
    """Returns a row for each layer, in the order in which one image passes them."""
    rows: list[Row] = []
    handles = []

    def look_at(name: str) -> None:
        def look(layer: nn.Module, _inputs: object, output: Tensor) -> None:
            rows.append(
                Row(
                    layer=name,
                    kind=type(layer).__name__,
                    output_shape=tuple(output.shape[1:]),
                    parameters=sum(p.numel() for p in layer.parameters()),
                    multiply_adds=_multiply_adds(layer, output),
                )
            )

        handles.append(model.get_submodule(name).register_forward_hook(look))

    for name, module in model.named_modules():
        if not any(True for _ in module.children()) and not isinstance(module, nn.Identity):
            look_at(name)
    was_training = model.training
    device = next(model.parameters()).device
    model.eval()(torch.zeros(1, channels, image_size, image_size, device=device))
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return rows


def _multiply_adds(layer: nn.Module, output: Tensor) -> int:
    """Every weight of a convolution is used once per output pixel, of a linear layer once."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return layer.weight.numel() * math.prod(output.shape[2:])
    if isinstance(layer, nn.Linear):
        return layer.weight.numel() * math.prod(output.shape[1:-1])
    return 0
