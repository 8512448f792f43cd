"""Local response normalisation, Krizhevsky, Sutskever, Hinton 2012, as one function.

y_c = x_c / (k + α/n · Σ x_j²)^β over the n channels around c; one pass over memory each way.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.kernels.response import ResponseJob, response_backward, response_forward
from ravine.ops.library_inputs import loaded_library, match_layout
from ravine.ops.twice_differentiable import gradient_graph_is_wanted, gradients_in_torch


def local_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Returns y like x, (B, C, H, W) in channels_last.

    Args:
        x: (B, C, H, W) bfloat16 or float32, for which `library_for` has the library.
        size: n, channels that are summed over.
        alpha: α.
        beta: β.
        k: the constant of the denominator.
    """
    y: Tensor = _LocalResponseNorm.apply(x, size, alpha, beta, k)
    return y


class _LocalResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        y = torch.empty_like(x)
        ctx.constants = (size, alpha, beta, k)
        job = _job(x, *ctx.constants)
        job.y = y.data_ptr()
        response_forward(loaded_library(), job)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        (x,) = ctx.saved_tensors
        if gradient_graph_is_wanted():
            return _gradient_in_torch(dy, x, ctx.constants), None, None, None, None
        dy = match_layout(x, dy)
        dx = torch.empty_like(x)
        job = _job(x, *ctx.constants)
        job.dy, job.dx = dy.data_ptr(), dx.data_ptr()
        response_backward(loaded_library(), job)
        return dx, None, None, None, None


def _job(x: Tensor, size: int, alpha: float, beta: float, k: float) -> ResponseJob:
    channels = x.shape[1]
    pixels = x.numel() // channels
    return ResponseJob(
        x=x.data_ptr(), pixels=pixels, channels=channels, size=size, alpha=alpha, beta=beta, k=k,
        is_float32=x.dtype is torch.float32,
    )  # fmt: skip


def _gradient_in_torch(dy: Tensor, x: Tensor, constants: tuple[Any, ...]) -> Tensor | None:
    return gradients_in_torch(lambda x: F.local_response_norm(x, *constants), [x], dy)[0]
