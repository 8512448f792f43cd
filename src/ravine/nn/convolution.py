"""Convolutions whose weight gradient is a product of tiles, where the processor has them.

oneDNN's gradient by weights runs at a quarter to a half of the speed of its forward pass on
processors with AMX; the C library's at two thirds and more. The sum over all positions is kept in
float32 and not rounded to bfloat16 on its way to the weights.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ravine.kernels.library import load_library
from ravine.kernels.weights import CHANNELS, WeightsJob, weight_gradient
from ravine.nn.fused_norm import must_be_seen


class Conv2d(nn.Conv2d):
    """The Conv2d of torch, (B, C, H, W) to (B, D, H', W'), with a faster gradient of the weights.

    Used under bfloat16 autocast on processors with AMX, for channels in multiples of 16,
    undivided and undilated with equal sides; elsewhere it is that of torch.
    """

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Returns (B, D, H', W'); with `added`, of the same shape, the sum of both."""
        if not self._goes_through_tiles(x):
            y = super().forward(x)
            # In place: no backward pass needs the convolution's own output.
            return y if added is None else y.add_(added)
        bias = None if self.bias is None else self.bias.to(torch.bfloat16)
        if added is not None:
            added = added.to(x.dtype).contiguous(memory_format=torch.channels_last)
        return _Convolve.apply(x, self.weight, bias, added, self.stride[0], self.padding[0])

    def _goes_through_tiles(self, x: Tensor) -> bool:
        return (
            x.dtype is torch.bfloat16
            and x.device.type == "cpu"
            and x.dim() == 4
            and x.numel() > 0
            and torch.is_grad_enabled()
            and self.weight.requires_grad
            and self.weight.dtype is torch.float32
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") is torch.bfloat16
            and self._has_suitable_shape()
            and x.is_contiguous(memory_format=torch.channels_last)
            and not must_be_seen()
            and (library := load_library()) is not None
            and library.has_tiles
        )

    def _has_suitable_shape(self) -> bool:
        pairs = (self.kernel_size, self.stride, self.padding)
        return (
            self.in_channels % CHANNELS == 0
            and self.out_channels % CHANNELS == 0
            and self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
            and all(len(pair) == 2 and pair[0] == pair[1] for pair in pairs)
        )


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        added: Tensor | None,
        stride: int,
        padding: int,
    ) -> Tensor:
        narrow = weight.to(torch.bfloat16)
        ctx.save_for_backward(x, narrow)
        ctx.stride, ctx.padding = stride, padding
        ctx.has_bias = bias is not None
        if added is not None:  # one pass less over the result
            return torch.ops.mkldnn._convolution_pointwise.binary(
                x, added, narrow, bias, [padding] * 2, [stride] * 2, [1, 1], 1,
                "add", 1.0, None, [], None,
            )  # fmt: skip
        return torch.ops.aten.convolution(
            x, narrow, bias, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = _gradient_of_images(dy, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            dweight = _gradient_of_weights(dy, x, weight, ctx.stride, ctx.padding)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            dbias = dy.sum((0, 2, 3), dtype=torch.float32).to(dy.dtype)
        return dx, dweight, dbias, dy if ctx.needs_input_grad[3] else None, None, None


def _gradient_of_images(dy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return torch.ops.aten.convolution_backward(
        dy, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1,
        [True, False, False],
    )[0]  # fmt: skip


def _gradient_of_weights(
    dy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int
) -> Tensor:
    """Returns (D, C, k, k) float32, in channels_last."""
    library = load_library()
    assert library is not None
    images, channels, height, width = x.shape
    _, out_channels, out_height, out_width = dy.shape
    kernel = weight.shape[2]
    dweight = torch.empty(out_channels, kernel, kernel, channels)
    job = WeightsJob(
        x=x.data_ptr(),
        dy=dy.data_ptr(),
        dw=dweight.data_ptr(),
        images=images,
        height=height,
        width=width,
        channels=channels,
        out_height=out_height,
        out_width=out_width,
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        padding=padding,
    )
    weight_gradient(library, job)
    return dweight.permute(0, 3, 1, 2)
