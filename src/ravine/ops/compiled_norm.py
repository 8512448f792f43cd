"""Batch normalisation, residual and activation as operators of torch, for compiled networks.

Eager code calls the same passes through `torch.autograd.Function`, which costs less per call; a
compiled graph keeps these operators as they are, with their derivatives.
"""

from typing import Any

import torch
from torch import Tensor

from ravine.ops.norm_passes import NormInputs, NormSpec, norm_backward_pass, norm_forward_pass


def compiled_norm_activation(x: Tensor, residual: Tensor | None, norm: NormSpec) -> Tensor:
    """Returns act(norm(x) + residual), in a graph; moves the running statistics.

    Args:
        x: (B, C, H, W) bfloat16 or float32 in channels_last.
        residual: like x.
        norm: of C channels; its output sums are not used.
    """
    mean, var = norm.running_mean, norm.running_var
    weight, bias, eps, activation = norm.weight, norm.bias, norm.eps, norm.activation
    if norm.from_batch or mean is None or var is None:
        y, batch_mean, rstd = norm_activation_op(
            x, residual, weight, bias, None, None, eps, activation
        )
        if mean is not None and var is not None:
            rows = x.numel() // x.shape[1]
            unbiased = (rstd.detach() ** -2 - eps) * (rows / (rows - 1))
            mean.lerp_(batch_mean.detach(), norm.momentum)
            var.lerp_(unbiased, norm.momentum)
        return y
    y, _, _ = norm_activation_op(x, residual, weight, bias, mean, var, eps, activation)
    return y


@torch.library.custom_op("ravine::norm_activation", mutates_args=())
def norm_activation_op(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    eps: float,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns act(norm(x) + residual), and mean and 1/√(var + ε) of each channel.

    Args:
        x: (B, C, H, W) bfloat16 or float32 in channels_last.
        residual: like x.
        weight: (C,) float32.
        bias: (C,) float32.
        mean: (C,) float32; with var the statistics to use, None for those of the batch.
        var: (C,) float32.
        eps: ε, added to the variance.
        activation: a key of `ACTIVATIONS`.
    """
    norm = NormSpec(weight, bias, mean, var, 0.0, eps, mean is None, activation)
    return norm_forward_pass(x, residual, norm)


@norm_activation_op.register_fake
def _(x: Tensor, _residual: Any, weight: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)


@torch.library.custom_op("ravine::norm_activation_backward", mutates_args=())
def norm_activation_backward_op(
    dy: Tensor,
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    rstd: Tensor,
    from_batch: bool,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of x, residual (empty if None), weight and bias; see `NormInputs`.

    dy, x and residual are (N, C, H, W); weight, bias, mean and rstd (C,) float32.
    """
    made = NormInputs(x, residual, weight, bias, mean, rstd, from_batch, activation)
    dx, dresidual, dweight, dbias = norm_backward_pass(dy, made)
    return dx, x.new_empty(0) if dresidual is None else dresidual, dweight, dbias


@norm_activation_backward_op.register_fake
def _(
    _dy: Tensor, x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dresidual = x.new_empty(0) if residual is None else torch.empty_like(x)
    return torch.empty_like(x), dresidual, torch.empty_like(weight), torch.empty_like(bias)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, residual, weight, bias, given_mean, _, _, ctx.activation = inputs
    ctx.from_batch = given_mean is None
    ctx.save_for_backward(x, residual, weight, bias, output[1], output[2])


def _backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Any, ...]:
    x, residual, weight, bias, mean, rstd = ctx.saved_tensors
    dx, dresidual, dweight, dbias = norm_activation_backward_op(
        dy, x, residual, weight, bias, mean, rstd, ctx.from_batch, ctx.activation
    )
    return dx, None if residual is None else dresidual, dweight, dbias, *(None,) * 4


norm_activation_op.register_autograd(_backward, setup_context=_keep)
