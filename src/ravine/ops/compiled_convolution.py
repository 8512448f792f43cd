"""Convolutions through the C library's tiles as operators of torch, for compiled networks.

Eager code calls the same functions through `torch.autograd.Function`, which costs less per call.
"""

from typing import Any

import torch
from torch import Tensor

from ravine.kernels.library import load_library
from ravine.ops.fused_norm import laid_out_like
from ravine.ops.tiled_convolution import (
    convolution,
    convolve_by_torch,
    gradient_of_images,
    gradient_of_images_in_tiles,
    gradient_of_weights,
    result_size,
)


def tiles_are_here() -> bool:
    """Returns whether the processor has tiles; asked once, when a graph is made."""
    library = load_library()
    return library is not None and library.has_tiles


# What torch.compiler.assume_constant_result does, without importing the compiler and Triton.
tiles_are_here._dynamo_marked_constant = True  # type: ignore[attr-defined]


@torch.library.custom_op("ravine::convolution", mutates_args=())
def convolution_op(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    added: Tensor | None,
    stride: int,
    padding: int,
    whole: bool,
) -> Tensor:
    """Returns x ∗ weight + bias + added, (B, D, H', W') bfloat16 in channels_last.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        weight: (D, C, k, k) float32.
        bias: (D,) bfloat16.
        added: like the result.
        stride: along both sides.
        padding: along both sides.
        whole: all of it goes through the tiles, and not the gradient by weight alone.
    """
    if whole:
        return convolution(x, weight, stride, padding, added=added)
    return convolve_by_torch(x, weight.to(x.dtype), bias, added, stride, padding)


@convolution_op.register_fake
def _(
    x: Tensor, weight: Tensor, _bias: Any, _added: Any, stride: int, padding: int, _whole: bool
) -> Tensor:
    height, width = result_size(x, weight.shape[2], stride, padding)
    return x.new_empty(x.shape[0], height, width, weight.shape[0]).permute(0, 3, 1, 2)


@torch.library.custom_op("ravine::convolution_backward", mutates_args=())
def convolution_backward_op(
    dy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, whole: bool, of_images: bool
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x (empty unless `of_images`) and of weight."""
    dy = laid_out_like(x, dy)
    dweight = gradient_of_weights(dy, x, weight.shape[2], stride, padding)
    if not of_images:
        return x.new_empty(0), dweight
    if whole:
        return gradient_of_images_in_tiles(dy, x, weight, stride, padding), dweight
    return gradient_of_images(dy, x, weight.to(x.dtype), stride, padding), dweight


@convolution_backward_op.register_fake
def _(
    _dy: Tensor, x: Tensor, weight: Tensor, _s: int, _p: int, _whole: bool, of_images: bool
) -> tuple[Tensor, Tensor]:
    out, channels, kernel, _ = weight.shape
    dweight = weight.new_empty(out, kernel, kernel, channels).permute(0, 3, 1, 2)
    return torch.empty_like(x) if of_images else x.new_empty(0), dweight


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch names it)
    x, weight, bias, added, ctx.stride, ctx.padding, ctx.whole = inputs
    ctx.has_bias, ctx.has_added = bias is not None, added is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, weight = ctx.saved_tensors
    of_images = ctx.needs_input_grad[0]
    dx, dweight = convolution_backward_op(
        dy, x, weight, ctx.stride, ctx.padding, ctx.whole, of_images
    )
    dbias = dy.sum((0, 2, 3), dtype=torch.float32).to(dy.dtype) if ctx.has_bias else None
    dadded = dy if ctx.has_added else None
    return dx if of_images else None, dweight, dbias, dadded, None, None, None


convolution_op.register_autograd(_backward, setup_context=_keep)
