"""The table of a network: layer, output shape, parameters, multiply-adds."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer.

    Attributes:
        layer: its dotted name.
        kind: its class.
        output_shape: without the batch; empty where the output is no tensor.
        parameters: its own; those of a layer that is called twice count once.
        multiply_adds: for one image, in linear layers and convolutions only.
    """

    layer: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@torch.no_grad()
def summary(model: nn.Module, *, channels: int, image_size: int) -> list[Row]:
    """Returns a row for each call of a layer, in the order of the calls.

    Args:
        model: called once on zeros (1, channels, image_size, image_size) in evaluation mode.
        channels: of the images.
        image_size: pixels a side.
    """
    rows: list[Row] = []
    seen: set[int] = set()

    def record_calls(name: str, module: nn.Module) -> Any:
        def record(layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
            own = {id(p): p.numel() for p in layer.parameters(recurse=False)}
            rows.append(
                Row(
                    layer=name,
                    kind=type(layer).__name__,
                    output_shape=tuple(output.shape[1:]) if isinstance(output, Tensor) else (),
                    parameters=sum(n for key, n in own.items() if key not in seen),
                    multiply_adds=multiply_adds(layer, inputs, output),
                )
            )
            seen.update(own)

        return module.register_forward_hook(record)

    handles = [record_calls(name, m) for name, m in model.named_modules() if _is_shown(m)]
    modes = {module: module.training for module in model.modules()}
    some = next(model.parameters(), torch.zeros(()))
    try:
        model.eval()(torch.zeros(1, channels, image_size, image_size, device=some.device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return rows


def _is_shown(module: nn.Module) -> bool:
    """Returns whether a module is a leaf or has parameters besides its children's."""
    leaf = next(module.children(), None) is None and not isinstance(module, nn.Identity)
    return leaf or next(module.parameters(recurse=False), None) is not None


def multiply_adds(layer: nn.Module, inputs: tuple[Any, ...], output: object) -> int:
    """Returns the products of weights for one image; the output is (1, C, …) or (1, …, C).

    Every weight of a convolution is used once per output pixel (padding included), of a
    transposed one once per input pixel, of a linear layer once per position.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and isinstance(output, Tensor):
        return layer.weight.numel() * math.prod(output.shape[2:])
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return layer.weight.numel() * math.prod(inputs[0].shape[2:])
    if isinstance(layer, nn.Linear) and isinstance(output, Tensor):
        return layer.weight.numel() * math.prod(output.shape[1:-1])
    return 0
