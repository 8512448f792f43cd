"""A norm, its activation and the convolution behind it as one function with its own derivative.

What stands between norm and convolution is made as the convolution copies its images, and made
again for the gradient of its weights: it is never written to memory.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ravine.ops.epilogue_statistics import NormMade, leave_moments
from ravine.ops.fused_norm import (
    Statistics,
    laid_out_like,
    measure_statistics,
    norm_backward_pass,
)
from ravine.ops.tiled_convolution import (
    convolution,
    gradient_of_images_in_tiles,
    gradient_of_weights,
)


def convolve_normed(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    statistics: Statistics,
    activation: str,
    weight: Tensor,
    added: Tensor | None,
    *,
    stride: int,
    padding: int,
) -> tuple[Tensor, Tensor]:
    """Returns (act(norm(x)) ∗ weight + added, x); the gradient of this x is added in a pass.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        norm_weight: (C,) float32.
        norm_bias: (C,) float32.
        statistics: of the norm; its moments are known, or it does not use the batch's.
        activation: one of `moments.SUMMABLE`.
        weight: (D, C, k, k) float32, where `kernels.convolve.fits`.
        added: (B, D, H', W') bfloat16 in channels_last.
        stride: along both sides.
        padding: along both sides.
    """
    y, same, moments = _NormedConvolution.apply(
        x, norm_weight, norm_bias, weight, added, statistics, activation, stride, padding,
        torch.is_grad_enabled(),
    )  # fmt: skip
    if moments is not None:
        leave_moments(y, moments)
    return y, same


class _NormedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        weight: Tensor,
        added: Tensor | None,
        statistics: Statistics,
        activation: str,
        stride: int,
        padding: int,
        learns: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        mean, rstd = measure_statistics(x, norm_weight, norm_bias, statistics)
        norm = NormMade(x, mean, rstd, norm_weight, norm_bias, activation)
        moments = torch.empty(len(x), 2, len(weight)) if learns else None
        if moments is not None:
            ctx.mark_non_differentiable(moments)
        ctx.save_for_backward(weight, *norm[:-1])
        ctx.activation, ctx.of_batch = activation, statistics.of_batch
        ctx.stride, ctx.padding = stride, padding
        ctx.set_materialize_grads(False)
        y = convolution(x, weight, stride, padding, added=added, moments=moments, norm=norm)
        return y, x, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dx_more: Tensor | None, _: None) -> tuple[Any, ...]:
        if dy is None:
            return dx_more, *(None,) * 9
        weight, *made = ctx.saved_tensors
        norm = NormMade._make([*made, ctx.activation])
        x, stride, padding = norm.x, ctx.stride, ctx.padding
        dy = laid_out_like(x, dy)
        dx = dweight = dnorm_weight = dnorm_bias = None
        if any(ctx.needs_input_grad[:3]):
            dactive = gradient_of_images_in_tiles(dy, x, weight, stride, padding, norm=norm)
            dx, _none, dnorm_weight, dnorm_bias = norm_backward_pass(
                dactive, dx_more, x, None, norm.weight, norm.bias, norm.mean, norm.rstd,
                ctx.of_batch, ctx.activation, overwrite=True,
            )  # fmt: skip
        if ctx.needs_input_grad[3]:
            dweight = gradient_of_weights(dy, x, weight.shape[2], stride, padding, norm)
        dadded = dy if ctx.needs_input_grad[4] else None
        return dx, dnorm_weight, dnorm_bias, dweight, dadded, *(None,) * 5
