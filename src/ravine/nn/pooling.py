"""Pooling by the largest of 2×2 pixels that keeps a byte per result and not the images."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ravine.kernels.pool import PoolJob, pool_backward, pool_forward
from ravine.ops.fused_norm import library_for, must_be_seen


class MaxPool2d(nn.MaxPool2d):
    """torch's MaxPool2d; 2×2 in bfloat16 on the CPU goes through the C library."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, C, H', W')."""
        if not self._is_halving() or min(x.shape[-2:]) < 2 or must_be_seen():
            return super().forward(x)
        if library_for(x) is None:
            return super().forward(x)
        return _HalvingPool.apply(x)

    def _is_halving(self) -> bool:
        sides = [value if isinstance(value, tuple) else (value, value) for value in
                 (self.kernel_size, self.stride, self.padding, self.dilation)]  # fmt: skip
        plain = not self.ceil_mode and not self.return_indices
        return plain and sides == [(2, 2), (2, 2), (0, 0), (1, 1)]


class _HalvingPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        images, channels, height, width = x.shape
        shape = (images, channels, height // 2, width // 2)
        layout = torch.channels_last
        y = torch.empty(shape, dtype=x.dtype, memory_format=layout)
        place = torch.empty(shape, dtype=torch.uint8, memory_format=layout)
        library = library_for(x)
        assert library is not None
        job = _job(x)
        job.x, job.y, job.place = x.data_ptr(), y.data_ptr(), place.data_ptr()
        pool_forward(library, job)
        ctx.save_for_backward(place)
        ctx.shape = x.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx = torch.empty(ctx.shape, dtype=dy.dtype, memory_format=torch.channels_last)
        library = library_for(dy)
        assert library is not None
        job = _job(dx)
        job.dy, job.dx, job.place = dy.data_ptr(), dx.data_ptr(), place.data_ptr()
        pool_backward(library, job)
        return dx


def _job(x: Tensor) -> PoolJob:
    images, channels, height, width = x.shape
    return PoolJob(images=images, height=height, width=width, channels=channels)
