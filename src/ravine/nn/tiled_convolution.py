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
from ravine.nn.moments import leave_moments


def convolve_3x3(x: Tensor, weight: Tensor, added: Tensor | None = None) -> Tensor:
    """Returns x ∗ weight + added, (B, D, H, W) bfloat16, where `kernels.convolve.fits`.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        weight: (D, C, 3, 3) float32; it is rounded to bfloat16 as it is packed.
        added: (B, D, H, W) bfloat16 in channels_last.
    """
    y, moments = _Convolve.apply(x, weight, added, torch.is_grad_enabled())
    if moments is not None:
        leave_moments(y, moments)
    return y


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
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, added: Tensor | None, learns: bool
    ) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(x, weight)
        moments = torch.empty(len(x), 2, len(weight)) if learns else None
        if moments is not None:
            ctx.mark_non_differentiable(moments)
        return convolve_in_tiles(x, weight, added=added, moments=moments), moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: None) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        dx = convolve_in_tiles(dy, weight, back=True) if ctx.needs_input_grad[0] else None
        dweight = gradient_of_weights(dy, x, 3, 1, 1) if ctx.needs_input_grad[1] else None
        return dx, dweight, dy if ctx.needs_input_grad[2] else None, None


def convolve_in_tiles(
    x: Tensor,
    weight: Tensor,
    *,
    added: Tensor | None = None,
    moments: Tensor | None = None,
    back: bool = False,
) -> Tensor:
    """Returns x ∗ weight + added; or, `back`, the gradient by what weight was multiplied with.

    `moments` (B, 2, D) is filled with the sums of each image's values, and of their squares.
    """
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
        moments=None if moments is None else moments.data_ptr(),
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
    if weight.shape[2] == 1 and stride > 1 and padding == 0:
        return _gradient_of_every_other(dy, x, weight, stride)
    return torch.ops.aten.convolution_backward(
        dy, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1,
        [True, False, False],
    )[0]  # fmt: skip


def _gradient_of_every_other(dy: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """A product of matrices, and zeros between: a third of the time of torch's convolution."""
    images, out_channels, height, width = dy.shape
    product = dy.permute(0, 2, 3, 1).reshape(-1, out_channels) @ weight.flatten(1)
    dx = torch.zeros_like(x)
    dx[:, :, ::stride, ::stride] = product.view(images, height, width, -1).permute(0, 3, 1, 2)
    return dx


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
