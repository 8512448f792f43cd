"""The C library's passes as operators of torch, for compiled networks.

Eager code calls the same functions through `torch.autograd.Function`, which costs less per call; a
compiled graph keeps these operators as they are, with their derivatives.
"""

from typing import Any

import torch
from torch import Tensor

from ravine.kernels.library import load_library
from ravine.ops.fused_norm import Statistics, norm_backward_pass, norm_forward_pass


def library_is_here() -> bool:
    """Returns whether the C library can be used; asked once, when a graph is made."""
    return load_library() is not None


# What torch.compiler.assume_constant_result does, without importing the compiler and Triton.
library_is_here._dynamo_marked_constant = True  # type: ignore[attr-defined]


def compiled_norm_activation(
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    statistics: Statistics,
    activation: str,
) -> Tensor:
    """Returns act(norm(x) + added), in a graph; moves the running statistics."""
    running_mean, running_var, momentum, eps, of_batch, _ = statistics
    if of_batch or running_mean is None or running_var is None:
        y, mean, rstd = norm_activation_op(x, added, weight, bias, None, None, eps, activation)
        if running_mean is not None and running_var is not None:
            rows = x.numel() // x.shape[1]
            var = (rstd.detach() ** -2 - eps) * (rows / (rows - 1))
            running_mean.lerp_(mean.detach(), momentum)
            running_var.lerp_(var, momentum)
        return y
    y, _, _ = norm_activation_op(x, added, weight, bias, running_mean, running_var, eps, activation)
    return y


@torch.library.custom_op("ravine::norm_activation", mutates_args=())
def norm_activation_op(
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    eps: float,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns act(norm(x) + added), and mean and 1/√(var + ε) of each channel.

    With mean and var these are used, else those of the batch.
    """
    statistics = Statistics(mean, var, 0.0, eps, mean is None)
    return norm_forward_pass(x, added, weight, bias, statistics, activation)


@norm_activation_op.register_fake
def _(x: Tensor, _added: Any, weight: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)


@torch.library.custom_op("ravine::norm_activation_backward", mutates_args=())
def norm_activation_backward_op(
    dy: Tensor,
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    rstd: Tensor,
    of_batch: bool,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of x, added (empty without it), weight and bias."""
    dx, dadded, dweight, dbias = norm_backward_pass(
        dy, None, x, added, weight, bias, mean, rstd, of_batch, activation
    )
    return dx, x.new_empty(0) if dadded is None else dadded, dweight, dbias


@norm_activation_backward_op.register_fake
def _(
    _dy: Tensor, x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dadded = x.new_empty(0) if added is None else torch.empty_like(x)
    return torch.empty_like(x), dadded, torch.empty_like(weight), torch.empty_like(bias)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, added, weight, bias, given, _, _, ctx.activation = inputs
    ctx.of_batch = given is None
    ctx.save_for_backward(x, added, weight, bias, output[1], output[2])


def _backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Any, ...]:
    x, added, weight, bias, mean, rstd = ctx.saved_tensors
    dx, dadded, dweight, dbias = norm_activation_backward_op(
        dy, x, added, weight, bias, mean, rstd, ctx.of_batch, ctx.activation
    )
    return dx, None if added is None else dadded, dweight, dbias, *(None,) * 4


norm_activation_op.register_autograd(_backward, setup_context=_keep)
