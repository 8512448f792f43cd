"""Convolutions through the C library as operators of torch, for compiled networks.

Eager code calls the same passes through `torch.autograd.Function`, which costs less per call.
"""

from typing import Any

import torch
from torch import Tensor

from ravine.ops.algorithm import algorithm_named, is_whole
from ravine.ops.convolution_passes import (
    bias_gradient,
    convolution_pass,
    input_gradient_pass,
    output_size,
    torch_convolution,
    torch_input_gradient,
    weight_gradient_pass,
)
from ravine.ops.library_inputs import match_layout


@torch.library.custom_op("ravine::convolution", mutates_args=())
def convolution_op(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    algorithm: str,
) -> Tensor:
    """Returns x ∗ weight + bias + residual, (B, D, H', W') bfloat16 in channels_last.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        weight: (D, C, k, k) float32.
        bias: (D,) bfloat16.
        residual: like the result.
        stride: along both sides.
        padding: along both sides.
        algorithm: one of `ops.algorithm.ALGORITHMS` that can run this shape.
    """
    if is_whole(algorithm_named(algorithm)):
        return convolution_pass(
            x, weight, stride, padding, algorithm=algorithm_named(algorithm), residual=residual
        )[0]
    return torch_convolution(x, weight.to(x.dtype), bias, residual, stride, padding)


@convolution_op.register_fake
def _(
    x: Tensor, weight: Tensor, _bias: Any, _residual: Any, stride: int, padding: int, _name: str
) -> Tensor:
    height, width = output_size(x, weight.shape[2], stride, padding)
    return x.new_empty(x.shape[0], height, width, weight.shape[0]).permute(0, 3, 1, 2)


@torch.library.custom_op("ravine::convolution_backward", mutates_args=())
def convolution_backward_op(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    algorithm: str,
    wants_dx: bool,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x (empty unless `wants_dx`) and of weight.

    Args:
        dy: (B, D, H', W'), the gradient of the result.
        x: (B, C, H, W) bfloat16 in channels_last.
        weight: (D, C, k, k) float32.
        stride: along both sides.
        padding: along both sides.
        algorithm: as for `convolution_op`.
        wants_dx: the input's gradient is needed.
    """
    dy, named = match_layout(x, dy), algorithm_named(algorithm)
    dweight = weight_gradient_pass(dy, x, weight.shape[2], stride, padding, algorithm=named)
    if not wants_dx:
        return x.new_empty(0), dweight
    if is_whole(named):
        dx, _ = input_gradient_pass(dy, x, weight, stride, padding, algorithm=named)
        return dx, dweight
    return torch_input_gradient(dy, x, weight.to(x.dtype), stride, padding), dweight


@convolution_backward_op.register_fake
def _(
    _dy: Tensor, x: Tensor, weight: Tensor, _s: int, _p: int, _name: str, wants_dx: bool
) -> tuple[Tensor, Tensor]:
    out, channels, kernel, _ = weight.shape
    dweight = weight.new_empty(out, kernel, kernel, channels).permute(0, 3, 1, 2)
    return torch.empty_like(x) if wants_dx else x.new_empty(0), dweight


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch names it)
    x, weight, bias, residual, ctx.stride, ctx.padding, ctx.algorithm = inputs
    ctx.has_bias, ctx.has_residual = bias is not None, residual is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, weight = ctx.saved_tensors
    wants_dx = ctx.needs_input_grad[0]
    dx, dweight = convolution_backward_op(
        dy, x, weight, ctx.stride, ctx.padding, ctx.algorithm, wants_dx
    )
    dbias = bias_gradient(dy) if ctx.has_bias else None
    dresidual = dy if ctx.has_residual else None
    return dx if wants_dx else None, dweight, dbias, dresidual, None, None, None


convolution_op.register_autograd(_backward, setup_context=_keep)
