"""2×2 max pooling that keeps the index of each maximum, one byte, and not the images."""

from typing import Any

import torch
from torch import Tensor

from ravine.kernels.pool import PoolJob, pool_backward, pool_forward
from ravine.ops.library_inputs import loaded_library
from ravine.ops.twice_differentiable import gradient_graph_is_wanted


def max_pool_2x2(x: Tensor) -> Tensor:
    """Returns the maxima of 2×2 pixels, (B, C, H//2, W//2), like x in channels_last.

    A last odd row or column is left out; of equal pixels the first has the gradient.

    Args:
        x: (B, C, H, W), for which `library_for` has the library; H and W at least 2.
    """
    y: Tensor = _MaxPool2x2.apply(x)
    return y


class _MaxPool2x2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        images, channels, height, width = x.shape
        shape = (images, channels, height // 2, width // 2)
        layout = torch.channels_last
        y = torch.empty(shape, dtype=x.dtype, memory_format=layout)
        index = torch.empty(shape, dtype=torch.uint8, memory_format=layout)
        job = _job(x)
        job.x, job.y, job.index = x.data_ptr(), y.data_ptr(), index.data_ptr()
        pool_forward(loaded_library(), job)
        ctx.save_for_backward(index)
        ctx.shape = x.shape
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (index,) = ctx.saved_tensors
        if gradient_graph_is_wanted():
            return _spread(dy, index, ctx.shape)
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx = torch.empty(ctx.shape, dtype=dy.dtype, memory_format=torch.channels_last)
        job = _job(dx)
        job.dy, job.dx, job.index = dy.data_ptr(), dx.data_ptr(), index.data_ptr()
        pool_backward(loaded_library(), job)
        return dx


def _job(x: Tensor) -> PoolJob:
    images, channels, height, width = x.shape
    return PoolJob(
        images=images, height=height, width=width, channels=channels,
        is_float32=x.dtype is torch.float32,
    )  # fmt: skip


def _spread(dy: Tensor, index: Tensor, shape: torch.Size) -> Tensor:
    """Returns dx in operations of torch, which can be differentiated."""
    dx = dy.new_zeros(shape)
    height, width = (side // 2 * 2 for side in shape[2:])
    for k in range(4):
        dx[:, :, k // 2 : height : 2, k % 2 : width : 2] = torch.where(index == k, dy, 0)
    return dx
