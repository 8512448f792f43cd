"""Convolutions and their gradients through the C library's tiles, as functions of autograd.

oneDNN's gradient by weights runs at a quarter to a half of the speed of its forward pass on
processors with AMX; the C library's at two thirds and more. The sum over all positions is kept in
float32 and not rounded to bfloat16 on its way to the weights. Convolutions 3×3 and their gradient
by images gain a third on oneDNN's.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ravine.kernels.convolve import ConvolveJob, convolve
from ravine.kernels.library import load_library
from ravine.kernels.weights import WeightsJob, weight_gradient


def convolve_3x3(x: Tensor, weight: Tensor, added: Tensor | None = None) -> Tensor:
    """Returns x ∗ weight + added, (B, D, H, W) bfloat16, where `kernels.convolve.fits`.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        weight: (D, C, 3, 3) float32; it is rounded to bfloat16 as it is packed.
        added: (B, D, H, W) bfloat16 in channels_last.
    """
    found: Tensor = _Convolve.apply(x, weight, added)
    return found


def convolve_with_tiled_gradient(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    added: Tensor | None,
    *,
    stride: int,
    padding: int,
) -> Tensor:
    """Returns torch's x ∗ weight + bias + added, (B, D, H', W'); its gradient by weight is tiled.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last, C a multiple of 16.
        weight: (D, C, k, k) float32, D a multiple of 16.
        bias: (D,) bfloat16.
        added: (B, D, H', W') bfloat16 in channels_last.
        stride: along both sides.
        padding: along both sides.
    """
    found: Tensor = _TiledGradient.apply(x, weight, bias, added, stride, padding)
    return found


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, added: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolve_in_tiles(x, weight, added=added)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        dx = convolve_in_tiles(dy, weight, back=True) if ctx.needs_input_grad[0] else None
        dweight = gradient_of_weights(dy, x, 3, 1, 1) if ctx.needs_input_grad[1] else None
        return dx, dweight, dy if ctx.needs_input_grad[2] else None


def convolve_in_tiles(
    x: Tensor, weight: Tensor, *, added: Tensor | None = None, back: bool = False
) -> Tensor:
    """Returns x ∗ weight + added; or, `back`, the gradient by what weight was multiplied with."""
    library = load_library()
    assert library is not None
    images, channels, height, width = x.shape
    out_channels = weight.shape[1 if back else 0]
    weight = weight.detach().contiguous(memory_format=torch.channels_last)
    y = torch.empty(
        (images, out_channels, height, width),
        dtype=x.dtype,
        memory_format=torch.channels_last,
    )
    job = ConvolveJob(
        x=x.data_ptr(),
        w=weight.data_ptr(),
        added=None if added is None else added.data_ptr(),
        y=y.data_ptr(),
        images=images,
        height=height,
        width=width,
        channels=channels,
        out_channels=out_channels,
        back=back,
    )
    convolve(library, job)
    return y


class _TiledGradient(torch.autograd.Function):
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
        return convolve_by_torch(x, narrow, bias, added, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = gradient_of_images(dy, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            dweight = gradient_of_weights(dy, x, weight.shape[2], ctx.stride, ctx.padding)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            dbias = dy.sum((0, 2, 3), dtype=torch.float32).to(dy.dtype)
        return dx, dweight, dbias, dy if ctx.needs_input_grad[3] else None, None, None


def convolve_by_torch(
    x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None, stride: int, padding: int
) -> Tensor:
    """Returns x ∗ weight + bias + added; the sum is made in the same pass."""
    if added is not None:
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, added, weight, bias, [padding] * 2, [stride] * 2, [1, 1], 1,
            "add", 1.0, None, [], None,
        )  # fmt: skip
    return torch.ops.aten.convolution(
        x, weight, bias, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1
    )


def gradient_of_images(dy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Returns (B, C, H, W) bfloat16, by torch."""
    return torch.ops.aten.convolution_backward(
        dy, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1,
        [True, False, False],
    )[0]  # fmt: skip


def gradient_of_weights(dy: Tensor, x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Returns (D, C, k, k) float32, in channels_last."""
    library = load_library()
    assert library is not None
    images, channels, height, width = x.shape
    _, out_channels, out_height, out_width = dy.shape
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
