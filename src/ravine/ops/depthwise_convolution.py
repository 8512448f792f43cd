"""A depthwise convolution, by torch but for the gradients of its filters and biases.

oneDNN's weight gradient of filters of side 5 and 7 takes 20 to 90 times as long as its forward
pass, that of the C library twice as long (docs/speed.md).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.kernels.depthwise import KERNELS, STRIDES, DepthwiseJob, depthwise_gradient
from ravine.ops.library_inputs import address, loaded_library, match_layout
from ravine.ops.twice_differentiable import gradient_graph_is_wanted, gradients_in_torch


def has_depthwise_gradient(kernel: int, stride: int) -> bool:
    """Returns whether the library has the gradients for a kernel's side and stride."""
    return kernel in KERNELS and stride in STRIDES


def depthwise_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int, padding: int
) -> Tensor:
    """Returns the convolution of each channel with its own filter, (B, C, H', W').

    Args:
        x: (B, C, H, W), for which `library_for` has the library.
        weight: (C, 1, k, k) float32; it is rounded to the type of x.
        bias: (C,) float32, rounded likewise.
        stride: along both sides; `has_depthwise_gradient` it and k.
        padding: along both sides.
    """
    y: Tensor = _Depthwise.apply(x, weight, bias, stride, padding)
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.stride, ctx.padding = stride, padding
        return _in_torch(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        if gradient_graph_is_wanted():

            def apply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
                return _in_torch(x, weight, bias, stride, padding)

            return *gradients_in_torch(apply, [x, weight, bias], dy), None, None
        dy = match_layout(x, dy)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = _input_gradient(dy, x, weight, stride, padding)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            dweight, dbias = _filter_gradients(dy, x, weight, bias, stride, padding)
        return dx, dweight, dbias, None, None


def _in_torch(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    narrow = None if bias is None else bias.to(x.dtype)
    return F.conv2d(x, weight.to(x.dtype), narrow, stride, padding, groups=len(weight))


def _input_gradient(dy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return torch.ops.aten.convolution_backward(
        dy, x, weight.to(x.dtype), None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0],
        len(weight), [True, False, False],
    )[0]  # fmt: skip


def _filter_gradients(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
) -> tuple[Tensor, Tensor | None]:
    """Returns the gradients of the filters, (C, 1, k, k), and of the biases, (C,), in float32."""
    images, channels, height, width = x.shape
    dweight = torch.empty(weight.shape)
    dbias = None if bias is None else torch.empty(channels)
    job = DepthwiseJob(
        x=x.data_ptr(), dy=dy.data_ptr(), dw=dweight.data_ptr(), dbias=address(dbias),
        images=images, height=height, width=width, channels=channels,
        out_height=dy.shape[2], out_width=dy.shape[3],
        kernel=weight.shape[2], stride=stride, padding=padding,
        is_float32=x.dtype is torch.float32,
    )  # fmt: skip
    depthwise_gradient(loaded_library(), job)
    return dweight, dbias
