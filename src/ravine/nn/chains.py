"""Chains of norm, activation and convolution inside somebody else's modules, run as one.

Only where the order is certain: the children of a plain `nn.Sequential` run one after the other,
and timm's BatchNormAct2d is a batch norm with its activation.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ravine.nn.convolution import Conv2d
from ravine.nn.hooks import is_hooked
from ravine.nn.norm_act import BatchNorm2d, NormAct, norm_with_activation


class Sequential(nn.Sequential):
    """torch's Sequential; a batch norm, its activation and the convolution after them run as one.

    A child that carries hooks runs by itself.
    """

    def forward(self, x: Any) -> Any:
        """Returns what the children make of x in order; images are (B, C, H, W)."""
        layers = list(self)
        at = 0
        while at < len(layers):
            x, taken = _run_chain(layers[at : at + 3], x)
            at += taken
        return x


def _run_chain(layers: list[nn.Module], x: Any) -> tuple[Any, int]:
    """Returns the result of the first of these layers that run as one, and their number."""
    first = layers[0]
    if len(layers) < 2 or type(first) is not BatchNorm2d or not isinstance(x, Tensor):
        return first(x), 1
    if torch.compiler.is_compiling():
        y = None if is_hooked(first) else norm_with_activation(first, layers[1], x)
        return (first(x), 1) if y is None else (y, 2)
    pair = NormAct.of(first, layers[1])
    if len(layers) > 2 and type(convolution := layers[2]) is Conv2d:
        return convolution.norm_act_conv(pair, x)[0], 3
    return pair(x), 2


class BatchNormAct2d(nn.BatchNorm2d):
    """timm's layer of this name: norm, `drop`, then `act`, through the C library as one."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Returns act(drop(norm(x))), (B, C, H, W)."""
        if type(self.drop) is nn.Identity:
            fused = norm_with_activation(self, self.act, x)
            if fused is not None:
                return fused
        y: Tensor = self.act(self.drop(super().forward(x)))
        return y


def is_timms_norm(module: nn.Module) -> bool:
    """Returns whether a module is timm's BatchNormAct2d itself, and not a subclass of it."""
    kind = type(module)
    return (
        kind.__module__.partition(".")[0] == "timm"
        and kind.__name__ == "BatchNormAct2d"
        and isinstance(module, nn.BatchNorm2d)
        and {"drop", "act"} <= module._modules.keys()
    )
