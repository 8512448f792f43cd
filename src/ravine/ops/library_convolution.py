"""Convolutions through the C library as functions of autograd, with one entrance.

The passes are in `convolution_passes`; here is which of them a convolution takes, and what
autograd keeps. Three ways: all of it by one algorithm; all of it with a norm before it; oneDNN's
with the weight gradient alone in tiles. Which algorithm, `algorithm.py` and the kernel plan say.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ravine.ops.algorithm import is_whole
from ravine.ops.algorithm_names import Algorithm
from ravine.ops.convolution_passes import (
    bias_gradient,
    convolution_pass,
    input_gradient_pass,
    torch_convolution,
    torch_input_gradient,
    weight_gradient_pass,
)
from ravine.ops.epilogue_statistics import (
    AppliedNorm,
    attach_gradient_sums,
    attach_output_sums,
    norm_of,
)
from ravine.ops.library_inputs import match_layout
from ravine.ops.norm_act_conv import norm_act_convolution
from ravine.ops.norm_passes import NormSpec
from ravine.ops.twice_differentiable import gradient_graph_is_wanted, gradients_in_torch


def library_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    stride: int,
    padding: int,
    algorithm: Algorithm,
    fork: bool = False,
    norm: NormSpec | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns (x ∗ weight + bias + residual, x), the first (B, D, H', W') in channels_last.

    Args:
        x: (B, C, H, W) in channels_last, in a type that the algorithm has; C a multiple of 16.
        weight: (D, C, k, k) float32, D a multiple of 16; it is rounded to the type of x.
        bias: (D,) like x; only where the algorithm is not whole.
        residual: (B, D, H', W') like x, in channels_last.
        stride: along both sides.
        padding: along both sides.
        algorithm: one that `ops.algorithm.can_run` this shape, and not torch's.
        fork: the x of the result has a gradient of its own, which is added to that of the input
            in one pass; else it is the x that was passed. Only where the algorithm is whole.
        norm: act(norm(x)) is convolved in place of x; only with `fork`, and k > 1.
    """
    if not is_whole(algorithm):
        return _OwnWeightGradient.apply(x, weight, bias, residual, stride, padding), x
    if norm is not None:
        y, forked, sums = norm_act_convolution(
            x, norm, weight, residual, stride=stride, padding=padding, algorithm=algorithm
        )
    else:
        y, forked, sums = _convolution(x, weight, residual, stride, padding, algorithm, fork)
    if sums is not None:
        attach_output_sums(y, sums)
    return y, forked


def _convolution(
    x: Tensor,
    weight: Tensor,
    residual: Tensor | None,
    stride: int,
    padding: int,
    algorithm: Algorithm,
    fork: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    if not torch.is_grad_enabled():
        y, _ = convolution_pass(x, weight, stride, padding, algorithm=algorithm, residual=residual)
        return y, x, None
    y, sums, forked = _Convolution.apply(
        x, weight, residual, stride, padding, algorithm, fork, norm_of(x)
    )
    return y, x if forked is None else forked, sums


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        residual: Tensor | None,
        stride: int,
        padding: int,
        algorithm: Algorithm,
        fork: bool,
        norm: AppliedNorm | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ctx.save_for_backward(x, weight, *(norm[:-1] if norm else ()))
        ctx.activation = norm.activation if norm else None
        ctx.stride, ctx.padding, ctx.algorithm = stride, padding, algorithm
        ctx.set_materialize_grads(False)
        y, sums = convolution_pass(
            x, weight, stride, padding, algorithm=algorithm, residual=residual, sums_wanted=True
        )
        if sums is not None:
            ctx.mark_non_differentiable(sums)
        return y, sums, x if fork else None

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, _: None, dx_more: Tensor | None) -> tuple[Any, ...]:
        if dy is None:
            return dx_more, *(None,) * 7
        x, weight, *saved = ctx.saved_tensors
        if gradient_graph_is_wanted():
            dx, dweight = _gradients_in_torch(dy, x, weight, ctx, dx_more)
            return dx, dweight, dy if ctx.needs_input_grad[2] else None, *(None,) * 5
        norm = AppliedNorm._make([*saved, ctx.activation]) if saved else None
        dy = match_layout(x, dy)
        dx_more = None if dx_more is None else match_layout(x, dx_more)
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            dx, sums = input_gradient_pass(
                dy, x, weight, ctx.stride, ctx.padding, algorithm=ctx.algorithm, dx_more=dx_more,
                norm=norm,
            )  # fmt: skip
            if norm is not None and sums is not None:
                attach_gradient_sums(dx, norm.mean, sums)
        if ctx.needs_input_grad[1]:
            dweight = weight_gradient_pass(
                dy, x, weight.shape[2], ctx.stride, ctx.padding, algorithm=ctx.algorithm
            )
        return dx, dweight, dy if ctx.needs_input_grad[2] else None, *(None,) * 5


def _gradients_in_torch(
    dy: Tensor, x: Tensor, weight: Tensor, ctx: Any, dx_more: Tensor | None
) -> list[Tensor | None]:
    """Returns the gradients of x and weight, which can be differentiated."""

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight.to(x.dtype), None, ctx.stride, ctx.padding)

    dx, dweight = gradients_in_torch(apply, [x, weight], dy)
    if dx is not None and dx_more is not None:
        dx = dx + dx_more
    return [dx, dweight]


class _OwnWeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        stride: int,
        padding: int,
    ) -> Tensor:
        narrow = weight.to(torch.bfloat16)
        ctx.save_for_backward(x, narrow)
        ctx.stride, ctx.padding = stride, padding
        ctx.has_bias = bias is not None
        return torch_convolution(x, narrow, bias, residual, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        dy = match_layout(x, dy)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = torch_input_gradient(dy, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            dweight = weight_gradient_pass(
                dy, x, weight.shape[2], ctx.stride, ctx.padding, algorithm="tiles-weights"
            )
        if ctx.has_bias and ctx.needs_input_grad[2]:
            dbias = bias_gradient(dy)
        return dx, dweight, dbias, dy if ctx.needs_input_grad[3] else None, None, None
