"""A convolution and its gradients: by an algorithm of the C library, or by torch.

Shapes: x (B, C, H, W), weight (D, C, k, k), y (B, D, H', W'); stride and padding are the same along
both sides. Images are bfloat16 in channels_last, or float32 but by tiles; the library's weights are
float32. oneDNN's weight gradient runs at a quarter to a half of the speed of its forward pass on
processors with AMX, the C library's at two thirds and more; sums over positions stay in float32 on
their way to the weights.
"""

import torch
from torch import Tensor

from ravine.kernels.convolve import ConvolveJob, convolve
from ravine.kernels.weight_gradient import WeightsJob, weight_gradient
from ravine.ops.algorithm import number_in_library
from ravine.ops.algorithm_names import Algorithm
from ravine.ops.epilogue_statistics import AppliedNorm
from ravine.ops.library_inputs import address, loaded_library
from ravine.ops.packed_weights import packed_weights


def convolution_pass(
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    *,
    algorithm: Algorithm,
    residual: Tensor | None = None,
    sums_wanted: bool = False,
    norm: AppliedNorm | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Returns (x ∗ weight + residual, output sums); with `norm`, norm(x) is convolved.

    Args:
        x: (B, C, H, W) in channels_last, bfloat16 or float32.
        weight: (D, C, k, k) float32; in bfloat16 it is rounded as it is packed.
        stride: along both sides.
        padding: along both sides.
        algorithm: a whole one.
        residual: (B, D, H', W') like x.
        sums_wanted: return Σy and Σy² of each image, (B, 2, D) float32, else None; not in tiles for
            k = 1, where oneDNN's pass and a pass for the sums are faster together.
        norm: of x; only for k > 1.
    """
    out_channels, _, kernel, _ = weight.shape
    if kernel == 1 and algorithm == "tiles":
        return torch_convolution(x, weight.to(x.dtype), None, residual, stride, padding), None
    y = _empty_images(x, out_channels, output_size(x, kernel, stride, padding))
    sums = torch.empty(len(x), 2, out_channels) if sums_wanted else None
    fields: dict[str, int | None] = {**norm.arguments()} if norm else {}
    fields |= {"stride": stride, "padding": padding, "sums": address(sums)}
    _convolve(algorithm, x, weight, y, residual, **fields)
    return y, sums


def input_gradient_pass(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    *,
    algorithm: Algorithm,
    dx_more: Tensor | None = None,
    norm: AppliedNorm | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Returns (gradient of x plus `dx_more`, gradient sums of `norm`).

    Args:
        dy: (B, D, H', W') bfloat16 in channels_last.
        x: (B, C, H, W), what was convolved; only its shape is used.
        weight: (D, C, k, k) float32.
        stride: along both sides.
        padding: along both sides.
        algorithm: a whole one.
        dx_more: like x, another gradient of x.
        norm: that made x; its sums, (n, 2, C) float32, are Σdz and Σdz·(norm.x − mean). None
            without it.
    """
    dx = _empty_images(x, x.shape[1], x.shape[2:])
    fields: dict[str, int | None] = {"stride": stride, "padding": padding, "backward": True}
    if norm is None:
        _convolve(algorithm, dy, weight, dx, dx_more, **fields)
        return dx, None
    # Zeros: polyphase components of small images may be empty.
    sums = torch.zeros(len(x) * stride**2, 2, x.shape[1])
    fields |= {"sums": address(sums), "normed": address(norm.x), **norm.arguments()}
    _convolve(algorithm, dy, weight, dx, dx_more, **fields)
    return dx, sums


def weight_gradient_pass(
    dy: Tensor,
    x: Tensor,
    kernel: int,
    stride: int,
    padding: int,
    *,
    algorithm: Algorithm,
    norm: AppliedNorm | None = None,
) -> Tensor:
    """Returns (D, C, k, k) float32, in channels_last; with `norm`, norm(x) was convolved.

    Args:
        dy: (B, D, H', W') bfloat16 in channels_last.
        x: (B, C, H, W) bfloat16 in channels_last.
        kernel: k.
        stride: along both sides.
        padding: along both sides.
        algorithm: not torch's.
        norm: of x.
    """
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
        algorithm=number_in_library(algorithm),
        is_float32=x.dtype is torch.float32,
        **(norm.arguments() if norm else {}),
    )
    weight_gradient(loaded_library(), job)
    return dweight.permute(0, 3, 1, 2)


def torch_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
) -> Tensor:
    """Returns x ∗ weight + bias + residual, (B, D, H', W'), by oneDNN in one pass.

    Args:
        x: (B, C, H, W) bfloat16 in channels_last.
        weight: (D, C, k, k) bfloat16.
        bias: (D,) bfloat16.
        residual: (B, D, H', W') bfloat16 in channels_last.
        stride: along both sides.
        padding: along both sides.
    """
    if residual is not None:
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, residual, weight, bias, [padding] * 2, [stride] * 2, [1, 1], 1,
            "add", 1.0, None, [], None,
        )  # fmt: skip
    return torch.ops.aten.convolution(
        x, weight, bias, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1
    )


def torch_input_gradient(
    dy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int
) -> Tensor:
    """Returns the gradient of x, (B, C, H, W) bfloat16, by oneDNN; arguments in bfloat16."""
    return torch.ops.aten.convolution_backward(
        dy, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1,
        [True, False, False],
    )[0]  # fmt: skip


def bias_gradient(dy: Tensor) -> Tensor:
    """Returns Σdy over images and positions, (D,) in the type of dy (B, D, H', W')."""
    return dy.sum((0, 2, 3), dtype=torch.float32).to(dy.dtype)


def output_size(x: Tensor, kernel: int, stride: int, padding: int) -> tuple[int, ...]:
    """Returns (H', W') of a convolution of x (B, C, H, W)."""
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])


def _empty_images(x: Tensor, channels: int, size: tuple[int, ...]) -> Tensor:
    return torch.empty((len(x), channels, *size), dtype=x.dtype, memory_format=torch.channels_last)


def _convolve(
    algorithm: Algorithm,
    x: Tensor,
    filters: Tensor,
    y: Tensor,
    residual: Tensor | None,
    **more: int | None,
) -> None:
    """Fills y, forward or backward."""
    laid_out = filters.detach().contiguous(memory_format=torch.channels_last)
    job = ConvolveJob(
        x=x.data_ptr(),
        w=laid_out.data_ptr(),
        residual=address(residual),
        y=y.data_ptr(),
        images=len(x),
        channels=x.shape[1],
        height=x.shape[2],
        width=x.shape[3],
        out_channels=y.shape[1],
        out_height=y.shape[2],
        out_width=y.shape[3],
        kernel=filters.shape[2],
        algorithm=number_in_library(algorithm),
        is_float32=x.dtype is torch.float32,
        **more,
    )
    learns = job.backward or job.sums
    kept = packed_weights() if job.algorithm and not learns else None
    room = None if kept is None else kept.fill(job, filters)
    convolve(loaded_library(), job)
    if kept is not None and room is not None:
        kept.keep(job, filters, room)
