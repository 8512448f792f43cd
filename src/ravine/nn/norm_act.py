"""A normalisation and the activation behind it, as one pass over memory where it can be."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ravine.nn.fused_norm import (
    Statistics,
    library_for,
    norm_activation,
    norm_activation_beside,
)


class NormAct(nn.Sequential):
    """`norm`, then `act`: images (B, C, H, W) to the same shape.

    Both are ordinary layers. In bfloat16 on the CPU, batch norm with ReLU, GELU, SiLU or nothing
    behind it goes through the C library: one pass for the statistics and one for the rest,
    and two backward. Hooks on the two layers, as well as functions that watch operations, get to
    see the layers themselves.

    Args:
        norm: a layer that normalises; `nn.Identity` for none.
        act: the activation's layer.
    """

    norm: nn.Module
    act: nn.Module

    def __init__(self, norm: nn.Module, act: nn.Module) -> None:
        super().__init__(OrderedDict(norm=norm, act=act))

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Returns act(norm(x) + added); x may be overwritten."""
        if (found := self._fusible(x)) is not None:
            if added is not None:
                added = added.to(x.dtype).contiguous(memory_format=torch.channels_last)
            return norm_activation(x, *found, added=added)
        x = self.norm(x)
        return self.act(x if added is None else x.add_(added))

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (act(norm(x)), x).

        The x of the result is to be used in place of the one that was given: the gradients of
        both are then added in one pass.
        """
        if (found := self._fusible(x)) is not None:
            return norm_activation_beside(x, *found)
        return self.act(self.norm(x)), x

    def _fusible(self, x: Tensor) -> tuple[Tensor, Tensor, Statistics, str] | None:
        """Returns what the fused function needs, or None where the layers must run themselves."""
        norm, act = self.norm, self.act
        if type(norm) is not nn.BatchNorm2d or _is_watched(norm) or _is_watched(act):
            return None
        activation = _name(act)
        of_batch = norm.training or norm.running_mean is None
        if activation is None or not _is_plain(norm) or library_for(x) is None:
            return None
        if of_batch and x.numel() == x.shape[1]:
            return None  # one value per channel: the layer refuses it in torch's own words
        momentum = 0.0
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        if norm.momentum is not None:
            momentum = norm.momentum
        statistics = Statistics(norm.running_mean, norm.running_var, momentum, norm.eps, of_batch)
        return norm.weight, norm.bias, statistics, activation


def _is_plain(norm: nn.BatchNorm2d) -> bool:
    """Whether the kernel knows this form: affine in float32, running means by momentum."""
    affine = norm.weight is not None and norm.bias is not None
    return affine and norm.weight.dtype is torch.float32 and norm.momentum is not None


def _is_watched(layer: nn.Module) -> bool:
    """Whether somebody must see this layer run: a hook, a function mode, the compiler."""
    hooks = (
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )
    return bool(hooks) or torch.compiler.is_compiling() or _modes_are_on()


def _modes_are_on() -> bool:
    return torch._C._len_torch_function_stack() > 0


def _name(act: nn.Module) -> str | None:
    if type(act) is nn.GELU:
        return "gelu" if act.approximate == "none" else None
    names: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Identity: "identity"}
    return names.get(type(act))
