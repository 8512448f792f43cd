"""A norm, its activation and the convolution after it as one function with its own derivative.

act(norm(x)) is computed as the convolution copies its input, and again for the weight gradient: it
is never written to memory.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.ops.algorithm_names import Algorithm
from ravine.ops.convolution_passes import (
    convolution_pass,
    input_gradient_pass,
    weight_gradient_pass,
)
from ravine.ops.epilogue_statistics import AppliedNorm
from ravine.ops.fused_norm import norm_in_torch
from ravine.ops.library_inputs import match_layout
from ravine.ops.norm_passes import NormInputs, NormSpec, measure_statistics, norm_backward_pass
from ravine.ops.twice_differentiable import gradient_graph_is_wanted, gradients_in_torch


def norm_act_convolution(
    x: Tensor,
    norm: NormSpec,
    weight: Tensor,
    residual: Tensor | None,
    *,
    stride: int,
    padding: int,
    algorithm: Algorithm,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns (act(norm(x)) ∗ weight + residual, x, output sums).

    The gradient of this x is added to that of the norm's input in one pass.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        norm: of C channels, its activation one of `SUMMABLE`; its output sums are known, or its
            statistics are not the batch's.
        weight: (D, C, k, k) float32, k > 1.
        residual: (B, D, H', W') like x.
        stride: along both sides.
        padding: along both sides.
        algorithm: a whole one that `ops.algorithm.can_run` this shape.
    """
    if not torch.is_grad_enabled():
        mean, rstd = measure_statistics(x, norm)
        applied = AppliedNorm(x, mean, rstd, norm.weight, norm.bias, norm.activation)
        y, _ = convolution_pass(
            x, weight, stride, padding, algorithm=algorithm, residual=residual, norm=applied
        )
        return y, x, None
    return _NormActConvolution.apply(
        x, norm.weight, norm.bias, weight, residual, norm, stride, padding, algorithm
    )


class _NormActConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        weight: Tensor,
        residual: Tensor | None,
        norm: NormSpec,
        stride: int,
        padding: int,
        algorithm: Algorithm,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        mean, rstd = measure_statistics(x, norm)
        applied = AppliedNorm(x, mean, rstd, norm_weight, norm_bias, norm.activation)
        ctx.save_for_backward(weight, *applied[:-1])
        ctx.activation, ctx.from_batch = norm.activation, norm.from_batch
        ctx.stride, ctx.padding, ctx.algorithm, ctx.eps = stride, padding, algorithm, norm.eps
        ctx.set_materialize_grads(False)
        y, sums = convolution_pass(
            x,
            weight,
            stride,
            padding,
            algorithm=algorithm,
            residual=residual,
            sums_wanted=True,
            norm=applied,
        )
        if sums is not None:
            ctx.mark_non_differentiable(sums)
        return y, x, sums

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dx_more: Tensor | None, _: None) -> tuple[Any, ...]:
        if dy is None:
            return dx_more, *(None,) * 8
        weight, *saved = ctx.saved_tensors
        norm = AppliedNorm._make([*saved, ctx.activation])
        x, stride, padding = norm.x, ctx.stride, ctx.padding
        made = NormInputs(
            x, None, norm.weight, norm.bias, norm.mean, norm.rstd, ctx.from_batch, norm.activation
        )
        dresidual = dy if ctx.needs_input_grad[4] else None
        if gradient_graph_is_wanted():
            gradients = _gradients_in_torch(dy, made, weight, ctx, dx_more)
            return *gradients, dresidual, *(None,) * 4
        dy = match_layout(x, dy)
        dx = dweight = dnorm_weight = dnorm_bias = None
        if any(ctx.needs_input_grad[:3]):
            dactive, sums = input_gradient_pass(
                dy, x, weight, stride, padding, algorithm=ctx.algorithm, norm=norm
            )
            dx, _none, dnorm_weight, dnorm_bias = norm_backward_pass(
                dactive, made, dx_more=dx_more, gradient_sums=sums, overwrite=True
            )
        if ctx.needs_input_grad[3]:
            dweight = weight_gradient_pass(
                dy, x, weight.shape[2], stride, padding, algorithm=ctx.algorithm, norm=norm
            )
        return dx, dnorm_weight, dnorm_bias, dweight, dresidual, *(None,) * 4


def _gradients_in_torch(
    dy: Tensor, made: NormInputs, weight: Tensor, ctx: Any, dx_more: Tensor | None
) -> list[Tensor | None]:
    """Returns differentiable gradients of x, of the norm's parameters and of weight."""

    def apply(x: Tensor, norm_weight: Tensor, norm_bias: Tensor, weight: Tensor) -> Tensor:
        active = norm_in_torch(x, None, norm_weight, norm_bias, made=made, eps=ctx.eps)
        return F.conv2d(active, weight, None, ctx.stride, ctx.padding)

    dx, *others = gradients_in_torch(apply, [made.x, made.weight, made.bias, weight], dy)
    if dx is not None and dx_more is not None:
        dx = dx + dx_more
    return [dx, *others]
