"""Batch normalisation, addition and activation as one function with its own derivative.

act(weight·(x − mean)/√(var + ε) + bias + added), Ioffe, Szegedy 2015: on the CPU, in bfloat16 and
channels_last, each pass over memory goes through the C library.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ravine.kernels.batch_norm import ACTIVATIONS, ROOM, NormJob, norm_backward, norm_forward
from ravine.kernels.library import Library, load_library
from ravine.ops.epilogue_statistics import NormMade, find_gradient_sums, leave_norm


class Statistics(NamedTuple):
    """Where the norm's statistics come from and go to.

    Attributes:
        running_mean: (C,) float32; moved towards the batch's when training, else used.
        running_var: (C,) float32, likewise.
        momentum: share of the batch in the running statistics.
        eps: ε, added to the variance.
        of_batch: mean and variance are those of the batch, else the running ones.
        moments: (B, 2, C) float32, Σx and Σx² of each image, where they are known.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    momentum: float
    eps: float
    of_batch: bool
    moments: Tensor | None = None


def library_for(x: Tensor) -> Library | None:
    """Returns the library where it can work on images (B, C, H, W) like these, else None."""
    return load_library() if fits_library(x) else None


def fits_library(x: Tensor) -> bool:
    """Returns whether images are such that the library could work on them."""
    return (
        x.dtype is torch.bfloat16
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def must_be_seen() -> bool:
    """Returns whether the compiler or a function mode must see single operations."""
    return torch.compiler.is_compiling() or torch._C._len_torch_function_stack() > 0


def is_hooked(layer: nn.Module) -> bool:
    """Returns whether somebody waits for this layer to run."""
    return bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )


def norm_activation(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    statistics: Statistics,
    activation: str,
    *,
    added: Tensor | None = None,
) -> Tensor:
    """Returns act(norm(x) + added), (B, C, H, W) bfloat16 in channels_last.

    Args:
        x: (B, C, H, W), for which `library_for` has the library.
        weight: (C,) float32.
        bias: (C,) float32.
        statistics: of the norm.
        activation: a key of `ACTIVATIONS`.
        added: like x.
    """
    return _run(x, added, weight, bias, statistics, activation, beside=False)[0]


def norm_activation_beside(
    x: Tensor, weight: Tensor, bias: Tensor, statistics: Statistics, activation: str
) -> tuple[Tensor, Tensor]:
    """Returns (act(norm(x)), x): whoever uses this x has its gradient added in the same pass."""
    y, same = _run(x, None, weight, bias, statistics, activation, beside=True)
    assert same is not None
    return y, same


def _run(
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    statistics: Statistics,
    activation: str,
    *,
    beside: bool,
) -> tuple[Tensor, Tensor | None]:
    y, same, mean, rstd = _NormActivation.apply(
        x, added, weight, bias, statistics, activation, beside
    )
    if added is None and y.requires_grad:
        made = NormMade(x.detach(), mean, rstd, weight.detach(), bias.detach(), activation)
        leave_norm(y, made)
    return y, same


class _NormActivation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        statistics: Statistics,
        activation: str,
        beside: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        y, mean, rstd = norm_forward_pass(x, added, weight, bias, statistics, activation)
        ctx.mark_non_differentiable(mean, rstd)
        ctx.save_for_backward(x, added, weight, bias, mean, rstd)
        ctx.of_batch, ctx.activation = statistics.of_batch, activation
        ctx.set_materialize_grads(False)
        return y, x if beside else None, mean, rstd

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dx_more: Tensor | None, *_: None) -> tuple[Any, ...]:
        if dy is None:
            return dx_more, *(None,) * 6
        x, added, weight, bias, mean, rstd = ctx.saved_tensors
        gradients = norm_backward_pass(
            dy, dx_more, x, added, weight, bias, mean, rstd, ctx.of_batch, ctx.activation
        )
        return *gradients, None, None, None


def measure_statistics(
    x: Tensor, weight: Tensor, bias: Tensor, statistics: Statistics
) -> tuple[Tensor, Tensor]:
    """Returns mean and 1/√(var + ε), (C,) float32, and moves the running statistics."""
    mean, rstd = _mean_and_rstd(x, statistics)
    if statistics.of_batch:
        _normalise(x, None, None, weight, bias, mean, rstd, statistics, "identity")
    return mean, rstd


def norm_forward_pass(
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    statistics: Statistics,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns act(norm(x) + added) like x, and mean and 1/√(var + ε), (C,) float32."""
    y = torch.empty_like(x)
    mean, rstd = _mean_and_rstd(x, statistics)
    _normalise(x, added, y, weight, bias, mean, rstd, statistics, activation)
    return y, mean, rstd


def _normalise(
    x: Tensor,
    added: Tensor | None,
    y: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    rstd: Tensor,
    statistics: Statistics,
    activation: str,
) -> None:
    """Fills mean and rstd where they are those of the batch, and y."""
    job, library = _job(x, added, weight, bias, statistics.of_batch, activation)
    job.eps, job.momentum = statistics.eps, statistics.momentum
    if statistics.of_batch:
        job.running_mean, job.running_var = _addresses(
            statistics.running_mean, statistics.running_var
        )
        (job.moments,) = _addresses(statistics.moments)
    sums = torch.empty(ROOM * x.shape[1], dtype=torch.float64)
    job.y, job.mean, job.rstd, job.sums = _addresses(y, mean, rstd, sums)
    norm_forward(library, job)


def norm_backward_pass(
    dy: Tensor,
    dx_more: Tensor | None,
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    rstd: Tensor,
    of_batch: bool,
    activation: str,
    *,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Returns the gradients of x (with `dx_more` added), added, weight and bias.

    With `overwrite` the gradient of x takes the place of dy.
    """
    job, library = _job(x, added, weight, bias, of_batch, activation)
    dy = laid_out_like(x, dy)
    if (known := find_gradient_sums(dy, mean)) is not None:
        job.moments, job.images = known.data_ptr(), len(known)
    dx_more = None if dx_more is None else laid_out_like(x, dx_more)
    dx = dy if overwrite else torch.empty_like(x)
    dadded = None if added is None else torch.empty_like(x)
    dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
    sums = torch.empty(ROOM * x.shape[1], dtype=torch.float64)
    job.mean, job.rstd, job.sums = _addresses(mean, rstd, sums)
    job.dy, job.dx_more, job.dx, job.dadded = _addresses(dy, dx_more, dx, dadded)
    job.dweight, job.dbias = _addresses(dweight, dbias)
    norm_backward(library, job)
    return dx, dadded, dweight, dbias


def _job(
    x: Tensor,
    added: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    of_batch: bool,
    activation: str,
) -> tuple[NormJob, Library]:
    library = load_library()
    assert library is not None
    job = NormJob(
        rows=x.numel() // x.shape[1],
        channels=x.shape[1],
        images=len(x),
        activation=ACTIVATIONS[activation],
        frozen=not of_batch,
    )
    job.x, job.added, job.weight, job.bias = _addresses(x, added, weight, bias)
    return job, library


def _mean_and_rstd(x: Tensor, statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Returns room for the batch's statistics, or the running ones."""
    if statistics.of_batch:
        return x.new_empty(x.shape[1], dtype=torch.float32), x.new_empty(
            x.shape[1], dtype=torch.float32
        )
    assert statistics.running_mean is not None
    assert statistics.running_var is not None
    # A copy: what backward needs must not move with the running mean.
    return statistics.running_mean.clone(), (statistics.running_var + statistics.eps).rsqrt()


def laid_out_like(x: Tensor, images: Tensor) -> Tensor:
    """Returns images (B, C, H, W) in the type of x, in channels_last; themselves if they are."""
    return images.to(x.dtype).contiguous(memory_format=torch.channels_last)


def _addresses(*tensors: Tensor | None) -> tuple[int | None, ...]:
    return tuple(None if tensor is None else tensor.data_ptr() for tensor in tensors)
