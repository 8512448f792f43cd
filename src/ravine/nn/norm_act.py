"""A normalisation and the activation behind it, as one pass over memory where it can be."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ravine.ops.compiled_norm import compiled_norm_activation, library_is_here
from ravine.ops.epilogue_statistics import SUMMABLE, find_moments
from ravine.ops.fused_norm import (
    Statistics,
    fits_library,
    is_hooked,
    laid_out_like,
    library_for,
    must_be_seen,
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
                added = laid_out_like(x, added)
            return _run(x, added, *found)
        x = self.norm(x)
        return self.act(x if added is None else x.add_(added))

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (act(norm(x)), x).

        The x of the result is to be used in place of the one that was given: the gradients of
        both are then added in one pass.
        """
        if (found := self._fusible(x)) is not None and not torch.compiler.is_compiling():
            return norm_activation_beside(x, *found)
        if found is not None:
            return _run(x, None, *found), x
        return self.act(self.norm(x)), x

    def for_convolution(self, x: Tensor) -> tuple[Tensor, Tensor, Statistics, str] | None:
        """Returns weight, bias, statistics and activation for a convolution that applies them.

        None where it cannot: who waits for the layers must see them, and the batch's statistics
        must be known before the first image is convolved.
        """
        stored = getattr(self.norm, "running_mean", None)
        is_known = find_moments(x) is not None or not (self.norm.training or stored is None)
        if not is_known or is_hooked(self) or _name(self.act) not in SUMMABLE:
            return None
        return self._fusible(x)

    def _fusible(self, x: Tensor) -> tuple[Tensor, Tensor, Statistics, str] | None:
        """Returns what the fused function needs, or None where the layers must run themselves."""
        activation = _name(self.act)
        if activation is None or is_hooked(self.norm) or is_hooked(self.act):
            return None
        return _fusible_norm(self.norm, x, activation)


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm2d, in bfloat16 on the CPU through the C library."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns norm(x), (B, C, H, W)."""
        found = _fusible_norm(self, x, "identity")
        return super().forward(x) if found is None else _run(x, None, *found)


def _run(
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    statistics: Statistics,
    activation: str,
) -> Tensor:
    if torch.compiler.is_compiling():
        return compiled_norm_activation(x, added, weight, bias, statistics, activation)
    return norm_activation(x, weight, bias, statistics, activation, added=added)


def _fusible_norm(
    norm: nn.Module, x: Tensor, activation: str
) -> tuple[Tensor, Tensor, Statistics, str] | None:
    """Returns weight, bias, statistics and activation, or None where the kernel does not fit."""
    if type(norm) not in (nn.BatchNorm2d, BatchNorm2d) or not _can_run(x):
        return None
    assert isinstance(norm, nn.BatchNorm2d)
    of_batch = norm.training or norm.running_mean is None
    if norm.momentum is None or not _is_affine_in_float32(norm):
        return None
    if of_batch and x.numel() == x.shape[1]:
        return None  # one value per channel: the layer refuses it in torch's own words
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    known = None if torch.compiler.is_compiling() or not of_batch else find_moments(x)
    statistics = Statistics(
        norm.running_mean, norm.running_var, norm.momentum, norm.eps, of_batch, known
    )
    return norm.weight, norm.bias, statistics, activation


def _can_run(x: Tensor) -> bool:
    """Whether the kernel can take x here; a graph in the making asks for the library once."""
    if torch.compiler.is_compiling():
        return library_is_here() and fits_library(x)
    return not must_be_seen() and library_for(x) is not None


def _is_affine_in_float32(norm: nn.BatchNorm2d) -> bool:
    affine = norm.weight is not None and norm.bias is not None
    return affine and norm.weight.dtype is torch.float32


def _name(act: nn.Module) -> str | None:
    if type(act) is nn.GELU:
        return "gelu" if act.approximate == "none" else None
    names: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Identity: "identity"}
    return names.get(type(act))
