"""Batch normalisation, residual and activation as one function with its own derivative.

The passes over memory are in `norm_passes`; here is what autograd keeps and calls.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.ops.epilogue_statistics import AppliedNorm, attach_norm, gradient_sums_of
from ravine.ops.norm_passes import NormInputs, NormSpec, norm_backward_pass, norm_forward_pass
from ravine.ops.twice_differentiable import gradient_graph_is_wanted, gradients_in_torch

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z, "relu": F.relu, "gelu": F.gelu, "silu": F.silu,
}  # fmt: skip


def norm_activation(
    x: Tensor, norm: NormSpec, *, residual: Tensor | None = None, fork: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns (act(norm(x) + residual), x), both (B, C, H, W) in channels_last.

    Args:
        x: (B, C, H, W) bfloat16 or float32, for which `library_for` has the library.
        norm: of C channels; its running statistics are moved.
        residual: like x.
        fork: the x of the result has a gradient of its own, which the norm's backward pass adds
            to that of its input; else it is the x that was passed.
    """
    if not torch.is_grad_enabled():
        return norm_forward_pass(x, residual, norm)[0], x
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
        ctx.from_batch, ctx.activation, ctx.eps = norm.from_batch, norm.activation, norm.eps
        ctx.set_materialize_grads(False)
        return y, x if fork else None, mean, rstd

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dx_more: Tensor | None, *_: None) -> tuple[Any, ...]:
        if dy is None:
            return dx_more, *(None,) * 5
        made = NormInputs._make([*ctx.saved_tensors, ctx.from_batch, ctx.activation])
        if gradient_graph_is_wanted():
            return *_gradients_in_torch(dy, made, ctx.eps, dx_more), None, None
        gradients = norm_backward_pass(
            dy, made, dx_more=dx_more, gradient_sums=gradient_sums_of(dy, made.mean)
        )
        return *gradients, None, None


def norm_in_torch(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    *,
    made: NormInputs,
    eps: float,
) -> Tensor:
    """Returns act(norm(x) + residual), (B, C, H, W) float32, in torch's operations.

    Args:
        x: (B, C, H, W).
        residual: like x.
        weight: (C,) float32.
        bias: (C,) float32.
        made: whose statistics, unless they are the batch's, and activation are taken.
        eps: added to the batch's variance.
    """
    if made.from_batch:
        z = F.batch_norm(x.float(), None, None, weight, bias, training=True, eps=eps)
    else:
        mean, scale, shift = (c[:, None, None] for c in (made.mean, made.rstd * weight, bias))
        z = (x - mean) * scale + shift
    return _ACTIVATIONS[made.activation](z if residual is None else z + residual)


def _gradients_in_torch(
    dy: Tensor, made: NormInputs, eps: float, dx_more: Tensor | None
) -> list[Tensor | None]:
    """Returns the gradients of x, residual, weight and bias, which can be differentiated."""

    def apply(*inputs: Any) -> Tensor:
        return norm_in_torch(*inputs, made=made, eps=eps)

    dx, *others = gradients_in_torch(apply, [made.x, made.residual, made.weight, made.bias], dy)
    if dx is not None and dx_more is not None:
        dx = dx + dx_more
    return [dx, *others]
