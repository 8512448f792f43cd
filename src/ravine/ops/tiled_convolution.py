"""Convolutions and their gradients through the C library's tiles, as functions of autograd.

oneDNN's gradient by weights runs at a quarter to a half of the speed of its forward pass on
processors with AMX; the C library's at two thirds and more. The sum over all positions is kept in
float32 and not rounded to bfloat16 on its way to the weights. Convolutions that fit and their
gradient by images gain a third on oneDNN's, and what a norm before or behind them needs to know
is added up on the way.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ravine.kernels.convolve import ConvolveJob, convolve
from ravine.kernels.library import load_library
from ravine.kernels.weight_gradient import WeightsJob, weight_gradient
from ravine.ops.epilogue_statistics import NormMade, find_norm, leave_gradient_sums, leave_moments
from ravine.ops.fused_norm import laid_out_like


def convolve_in_tiles(
    x: Tensor, weight: Tensor, added: Tensor | None, *, stride: int, padding: int
) -> Tensor:
    """Returns x ∗ weight + added, (B, D, H', W') bfloat16, where `kernels.convolve.fits`.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        weight: (D, C, k, k) float32; it is rounded to bfloat16 as it is packed.
        added: (B, D, H', W') bfloat16 in channels_last.
        stride: along both sides.
        padding: along both sides.
    """
    return _run(x, weight, added, stride, padding, beside=False)[0]


def convolve_beside(
    x: Tensor, weight: Tensor, *, stride: int, padding: int
) -> tuple[Tensor, Tensor]:
    """Returns (x ∗ weight, x): whoever uses this x has its gradient added in the same pass."""
    y, beside = _run(x, weight, None, stride, padding, beside=True)
    assert beside is not None
    return y, beside


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


def _run(
    x: Tensor, weight: Tensor, added: Tensor | None, stride: int, padding: int, *, beside: bool
) -> tuple[Tensor, Tensor | None]:
    norm = find_norm(x) if torch.is_grad_enabled() else None
    y, moments, same = _Convolve.apply(
        x, weight, added, stride, padding, torch.is_grad_enabled(), beside, norm
    )
    if moments is not None:
        leave_moments(y, moments)
    return y, same


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        added: Tensor | None,
        stride: int,
        padding: int,
        learns: bool,
        beside: bool,
        norm: NormMade | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ctx.save_for_backward(x, weight, *(norm[:-1] if norm else ()))
        ctx.activation = norm.activation if norm else None
        ctx.stride, ctx.padding = stride, padding
        ctx.set_materialize_grads(False)
        # oneDNN's 1×1 forward is faster, even with a pass for the moments.
        moments = torch.empty(len(x), 2, len(weight)) if learns and weight.shape[2] > 1 else None
        if moments is not None:
            ctx.mark_non_differentiable(moments)
        y = convolution(x, weight, stride, padding, added=added, moments=moments)
        return y, moments, x if beside else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, _: None, dx_more: Tensor | None) -> tuple[Any, ...]:
        if dy is None:
            return dx_more, *(None,) * 7
        x, weight, *made = ctx.saved_tensors
        norm = NormMade._make([*made, ctx.activation]) if made else None
        dy = laid_out_like(x, dy)
        dx_more = None if dx_more is None else laid_out_like(x, dx_more)
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            dx = gradient_of_images_in_tiles(
                dy, x, weight, ctx.stride, ctx.padding, added=dx_more, norm=norm
            )
        if ctx.needs_input_grad[1]:
            dweight = gradient_of_weights(dy, x, weight.shape[2], ctx.stride, ctx.padding)
        return dx, dweight, dy if ctx.needs_input_grad[2] else None, *(None,) * 5


def convolution(
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    *,
    added: Tensor | None = None,
    moments: Tensor | None = None,
    norm: NormMade | None = None,
) -> Tensor:
    """Returns x ∗ weight + added, (B, D, H', W'); with `norm`, norm(x) ∗ weight + added.

    `moments` (B, 2, D) is filled with the sums of each image's values, and of their squares.
    """
    out_channels, _, kernel, _ = weight.shape
    if kernel == 1:
        return convolve_by_torch(x, weight.to(x.dtype), None, added, stride, padding)
    y = _images(len(x), out_channels, result_size(x, kernel, stride, padding))
    more = norm.arguments() if norm else {}
    _convolve(x, weight, y, added, stride=stride, padding=padding, sums=_address(moments), **more)
    return y


def gradient_of_images_in_tiles(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    *,
    added: Tensor | None = None,
    norm: NormMade | None = None,
) -> Tensor:
    """Returns the gradient of x, (B, C, H, W), plus `added`.

    With `norm`, the one that has made x, what it needs for its own gradients is left with it.
    """
    dx = _images(len(x), x.shape[1], x.shape[2:])
    if norm is None:
        _convolve(dy, weight, dx, added, stride=stride, padding=padding, back=True)
        return dx
    # Parts of images, by the remainders of their positions, may be empty.
    sums = torch.zeros(len(x) * stride**2, 2, x.shape[1])
    _convolve(
        dy, weight, dx, added, stride=stride, padding=padding, back=True, sums=_address(sums),
        normed=_address(norm.x), **norm.arguments(),
    )  # fmt: skip
    leave_gradient_sums(dx, norm.mean, sums)
    return dx


def result_size(x: Tensor, kernel: int, stride: int, padding: int) -> tuple[int, ...]:
    """Returns (H', W') of a convolution of x (B, C, H, W)."""
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])


def _images(images: int, channels: int, size: tuple[int, ...]) -> Tensor:
    return torch.empty(
        (images, channels, *size), dtype=torch.bfloat16, memory_format=torch.channels_last
    )


def _convolve(
    x: Tensor, filters: Tensor, y: Tensor, added: Tensor | None, **more: int | None
) -> None:
    """Fills y, in whichever direction."""
    library = load_library()
    assert library is not None
    filters = filters.detach().contiguous(memory_format=torch.channels_last)
    job = ConvolveJob(
        x=x.data_ptr(),
        w=filters.data_ptr(),
        added=_address(added),
        y=y.data_ptr(),
        images=len(x),
        channels=x.shape[1],
        height=x.shape[2],
        width=x.shape[3],
        out_channels=y.shape[1],
        out_height=y.shape[2],
        out_width=y.shape[3],
        kernel=filters.shape[2],
        **more,
    )
    convolve(library, job)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


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
        dy = laid_out_like(x, dy)
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


def gradient_of_weights(
    dy: Tensor, x: Tensor, kernel: int, stride: int, padding: int, norm: NormMade | None = None
) -> Tensor:
    """Returns (D, C, k, k) float32, in channels_last; with `norm`, norm(x) was convolved."""
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
        **(norm.arguments() if norm else {}),
    )
    weight_gradient(library, job)
    return dweight.permute(0, 3, 1, 2)
