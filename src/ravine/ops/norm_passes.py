"""The passes of batch normalisation, residual and activation over memory, in the C library.

act(weight·(x − mean)/√(var + ε) + bias + residual), Ioffe, Szegedy 2015. Images are (B, C, H, W)
bfloat16 or float32, all alike, in channels_last.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ravine.kernels.batch_norm import (
    ACTIVATIONS,
    WORKSPACE,
    NormJob,
    norm_backward,
    norm_forward,
)
from ravine.ops.library_inputs import address, loaded_library, match_layout


class NormSpec(NamedTuple):
    """A batch norm and the activation after it, as they are to be applied.

    Attributes:
        weight: (C,) float32.
        bias: (C,) float32.
        running_mean: (C,) float32; moved towards the batch's when `from_batch`, else used.
        running_var: (C,) float32, likewise.
        momentum: weight of the batch in the running statistics.
        eps: ε, added to the variance.
        from_batch: mean and variance are those of the batch, else the running ones.
        activation: a key of `ACTIVATIONS`.
        output_sums: (B, 2, C) float32, Σx and Σx² of each image, where they are known.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None
    momentum: float
    eps: float
    from_batch: bool
    activation: str
    output_sums: Tensor | None = None


class NormInputs(NamedTuple):
    """What a forward pass of a norm keeps for its backward pass.

    Attributes:
        x: (B, C, H, W) in channels_last.
        residual: like x, or None.
        weight: (C,) float32.
        bias: (C,) float32.
        mean: (C,) float32.
        rstd: (C,) float32, 1/√(var + ε).
        from_batch: mean and variance are those of the batch.
        activation: a key of `ACTIVATIONS`.
    """

    x: Tensor
    residual: Tensor | None
    weight: Tensor
    bias: Tensor
    mean: Tensor
    rstd: Tensor
    from_batch: bool
    activation: str


def measure_statistics(x: Tensor, norm: NormSpec) -> tuple[Tensor, Tensor]:
    """Returns mean and 1/√(var + ε), (C,) float32, and moves the running statistics.

    Args:
        x: (B, C, H, W) in channels_last.
        norm: of C channels.
    """
    mean, rstd = _mean_and_rstd(x, norm)
    if norm.from_batch:
        _normalise(x, None, None, norm._replace(activation="identity"), mean, rstd)
    return mean, rstd


def norm_forward_pass(
    x: Tensor, residual: Tensor | None, norm: NormSpec
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns act(norm(x) + residual) like x, and mean and 1/√(var + ε), (C,) float32.

    Args:
        x: (B, C, H, W) in channels_last.
        residual: like x.
        norm: of C channels; its running statistics are moved.
    """
    y = torch.empty_like(x)
    mean, rstd = _mean_and_rstd(x, norm)
    _normalise(x, residual, y, norm, mean, rstd)
    return y, mean, rstd


def norm_backward_pass(
    dy: Tensor,
    made: NormInputs,
    *,
    dx_more: Tensor | None = None,
    gradient_sums: Tensor | None = None,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Returns the gradients of x (with `dx_more` added), residual, weight and bias.

    Args:
        dy: (B, C, H, W), the gradient of the output.
        made: of the forward pass.
        dx_more: like dy, another gradient of x.
        gradient_sums: (n, 2, C) float32, Σdz and Σdz·(x − mean) where they are known.
        overwrite: the gradient of x takes the memory of dy.
    """
    x = made.x
    dy = match_layout(x, dy)
    dx_more = None if dx_more is None else match_layout(x, dx_more)
    dx = dy if overwrite else torch.empty_like(x)
    dresidual = None if made.residual is None else torch.empty_like(x)
    dweight, dbias = torch.empty_like(made.weight), torch.empty_like(made.bias)
    workspace = torch.empty(WORKSPACE * x.shape[1], dtype=torch.float64)
    job = _job(x, made.residual, made.weight, made.bias, made.from_batch, made.activation)
    if gradient_sums is not None:
        job.known_sums, job.images = gradient_sums.data_ptr(), len(gradient_sums)
    job.mean, job.rstd, job.sums = address(made.mean), address(made.rstd), address(workspace)
    job.dy, job.dx_more, job.dx = address(dy), address(dx_more), address(dx)
    job.dresidual, job.dweight, job.dbias = address(dresidual), address(dweight), address(dbias)
    norm_backward(loaded_library(), job)
    return dx, dresidual, dweight, dbias


def _normalise(
    x: Tensor,
    residual: Tensor | None,
    y: Tensor | None,
    norm: NormSpec,
    mean: Tensor,
    rstd: Tensor,
) -> None:
    """Fills mean and rstd where they are those of the batch, and y."""
    job = _job(x, residual, norm.weight, norm.bias, norm.from_batch, norm.activation)
    job.eps, job.momentum = norm.eps, norm.momentum
    if norm.from_batch:
        job.running_mean, job.running_var = address(norm.running_mean), address(norm.running_var)
        job.known_sums = address(norm.output_sums)
    workspace = torch.empty(WORKSPACE * x.shape[1], dtype=torch.float64)
    job.y, job.mean, job.rstd, job.sums = map(address, (y, mean, rstd, workspace))
    norm_forward(loaded_library(), job)


def _job(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    from_batch: bool,
    activation: str,
) -> NormJob:
    job = NormJob(
        rows=x.numel() // x.shape[1],
        channels=x.shape[1],
        images=len(x),
        activation=ACTIVATIONS[activation],
        frozen=not from_batch,
        is_float32=x.dtype is torch.float32,
    )
    job.x, job.residual, job.weight, job.bias = map(address, (x, residual, weight, bias))
    return job


def _mean_and_rstd(x: Tensor, norm: NormSpec) -> tuple[Tensor, Tensor]:
    """Returns memory for the batch's statistics, or the running ones."""
    if norm.from_batch:
        empty = (x.new_empty(x.shape[1], dtype=torch.float32) for _ in range(2))
        return next(empty), next(empty)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    # A copy: what backward needs must not move with the running mean.
    return norm.running_mean.clone(), (norm.running_var + norm.eps).rsqrt()
