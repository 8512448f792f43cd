"""A normalisation and the activation after it, as one pass over memory where it can be."""

from collections import OrderedDict
from typing import Self

import torch
from torch import Tensor, nn

from ravine.nn.hooks import is_hooked
from ravine.ops.compiled_norm import compiled_norm_activation
from ravine.ops.epilogue_statistics import SUMMABLE, output_sums_of
from ravine.ops.fused_norm import norm_activation
from ravine.ops.library_inputs import (
    fits_library,
    library_for,
    library_is_here,
    match_layout,
    operations_are_observed,
)
from ravine.ops.norm_passes import NormSpec


class NormAct(nn.Sequential):
    """`norm`, then `act`: images (B, C, H, W) to the same shape.

    Both are ordinary layers. On the CPU in channels_last, in bfloat16 or float32, batch norm
    followed by ReLU, GELU, SiLU or nothing goes through the C library: one pass for the statistics
    and one for the rest, and two backward. Where hooks are registered on the two layers, a function
    mode observes operations, or one of torch.func's transforms is at work, the layers run.

    Args:
        norm: a layer that normalises; `nn.Identity` for none.
        act: the activation's layer.
    """

    norm: nn.Module
    act: nn.Module

    def __init__(self, norm: nn.Module, act: nn.Module) -> None:
        super().__init__(OrderedDict(norm=norm, act=act))

    @classmethod
    def of(cls, norm: nn.Module, act: nn.Module) -> Self:
        """Returns the pair of two layers that belong to another module, in its mode."""
        pair = cls(norm, act)
        pair.training = norm.training
        return pair

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Returns act(norm(x) + residual), all (B, C, H, W); x may be overwritten."""
        if (norm := self._fusible(x)) is not None:
            if residual is not None:
                residual = match_layout(x, residual)
            return _run(x, residual, norm)
        x = self.norm(x)
        return self.act(x if residual is None else x.add_(residual))

    def forward_and_fork(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (act(norm(x)), x), both (B, C, H, W).

        Who also needs x uses the one of the result: both input gradients are then added in one
        pass.
        """
        if (norm := self._fusible(x)) is None:
            return self.act(self.norm(x)), x
        if torch.compiler.is_compiling():
            return _run(x, None, norm), x
        return norm_activation(x, norm, fork=True)

    def for_convolution(self, x: Tensor) -> NormSpec | None:
        """Returns the norm of x (B, C, H, W) for a convolution that applies it to its input.

        None where it cannot: hooks wait for the layers, or the batch's statistics are not known
        before the first image is convolved.
        """
        stored = getattr(self.norm, "running_mean", None)
        is_known = output_sums_of(x) is not None or not (self.norm.training or stored is None)
        if not is_known or is_hooked(self) or _name(self.act) not in SUMMABLE:
            return None
        return self._fusible(x)

    def _fusible(self, x: Tensor) -> NormSpec | None:
        """Returns what the fused function needs, or None where the layers must run themselves."""
        activation = _name(self.act)
        if activation is None or is_hooked(self.norm) or is_hooked(self.act):
            return None
        return _fusible_norm(self.norm, x, activation)


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm2d, on the CPU in channels_last through the C library."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns norm(x), (B, C, H, W)."""
        norm = _fusible_norm(self, x, "identity")
        return super().forward(x) if norm is None else _run(x, None, norm)


def norm_with_activation(norm: nn.BatchNorm2d, act: nn.Module, x: Tensor) -> Tensor | None:
    """Returns act(norm(x)) in one pass, (B, C, H, W); None where the layers must run themselves.

    The caller has asked whether `norm` is nothing but a batch norm; its own hooks go on running.
    """
    activation = _name(act)
    if activation is None or is_hooked(act):
        return None
    spec = _spec_of(norm, x, activation)
    return None if spec is None else _run(x, None, spec)


def _run(x: Tensor, residual: Tensor | None, norm: NormSpec) -> Tensor:
    if torch.compiler.is_compiling():
        return compiled_norm_activation(x, residual, norm)
    return norm_activation(x, norm, residual=residual)[0]


def _fusible_norm(norm: nn.Module, x: Tensor, activation: str) -> NormSpec | None:
    """Returns norm and activation for the kernel, or None where it does not fit.

    In training mode the norm's batch is counted: the caller must run it.
    """
    if type(norm) not in (nn.BatchNorm2d, BatchNorm2d):
        return None
    assert isinstance(norm, nn.BatchNorm2d)
    return _spec_of(norm, x, activation)


def _spec_of(norm: nn.BatchNorm2d, x: Tensor, activation: str) -> NormSpec | None:
    if not _can_run(x):
        return None
    from_batch = norm.training or norm.running_mean is None
    if norm.momentum is None or not _is_affine_in_float32(norm):
        return None
    if from_batch and x.numel() == x.shape[1]:
        return None  # one value per channel: torch's layer raises its own error
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    sums = None if torch.compiler.is_compiling() or not from_batch else output_sums_of(x)
    return NormSpec(
        norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.momentum, norm.eps,
        from_batch, activation, sums,
    )  # fmt: skip


def _can_run(x: Tensor) -> bool:
    """Whether the kernel can take x here; a graph in the making asks for the library once."""
    if torch.compiler.is_compiling():
        return library_is_here() and fits_library(x)
    return not operations_are_observed() and library_for(x) is not None


def _is_affine_in_float32(norm: nn.BatchNorm2d) -> bool:
    affine = norm.weight is not None and norm.bias is not None
    return affine and norm.weight.dtype is torch.float32


def _name(act: nn.Module) -> str | None:
    if type(act) is nn.GELU:
        return "gelu" if act.approximate == "none" else None
    names: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Identity: "identity"}
    return names.get(type(act))
