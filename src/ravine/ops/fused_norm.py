"""Batch normalisation, residual and activation as one function with its own derivative.

The passes over memory are in `norm_passes`; here is what autograd keeps and calls.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ravine.ops.epilogue_statistics import AppliedNorm, attach_norm, gradient_sums_of
from ravine.ops.norm_passes import NormInputs, NormSpec, norm_backward_pass, norm_forward_pass


def norm_activation(
    x: Tensor, norm: NormSpec, *, residual: Tensor | None = None, fork: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns (act(norm(x) + residual), x), both (B, C, H, W) bfloat16 in channels_last.

    Args:
        x: (B, C, H, W), for which `library_for` has the library.
        norm: of C channels; its running statistics are moved.
        residual: like x.
        fork: the x of the result has a gradient of its own, which the norm's backward pass adds
            to that of its input; else it is the x that was passed.
    """
    y, forked, mean, rstd = _NormActivation.apply(x, residual, norm.weight, norm.bias, norm, fork)
    if residual is None and y.requires_grad:
        weight, bias = norm.weight.detach(), norm.bias.detach()
        attach_norm(y, AppliedNorm(x.detach(), mean, rstd, weight, bias, norm.activation))
    return y, x if forked is None else forked


class _NormActivation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        norm: NormSpec,
        fork: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        y, mean, rstd = norm_forward_pass(x, residual, norm)
        ctx.mark_non_differentiable(mean, rstd)
        ctx.save_for_backward(x, residual, weight, bias, mean, rstd)
        ctx.from_batch, ctx.activation = norm.from_batch, norm.activation
        ctx.set_materialize_grads(False)
        return y, x if fork else None, mean, rstd

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dx_more: Tensor | None, *_: None) -> tuple[Any, ...]:
        if dy is None:
            return dx_more, *(None,) * 5
        made = NormInputs._make([*ctx.saved_tensors, ctx.from_batch, ctx.activation])
        gradients = norm_backward_pass(
            dy, made, dx_more=dx_more, gradient_sums=gradient_sums_of(dy, made.mean)
        )
        return *gradients, None, None
