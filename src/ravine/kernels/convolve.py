"""Convolutions and their input gradients as products of AMX tiles, by address.

The caller holds the tensors, and has checked that images are bfloat16 on the CPU in
channels_last without gaps, and that `fits`.
"""

import ctypes

from ravine.kernels.library import Library

CHANNELS = 16  # of x and y: their multiples
MOST_KERNEL, MOST_STRIDE = 5, 3  # as in c/convolve.h
_IMAGE_BYTES = 1 << 20  # at most: two images and the weights stay in the second cache
_ADDRESSES = ("x", "w", "residual", "y", "sums", "normed", "mean", "rstd", "weight", "bias")
_NUMBERS = (
    "images", "height", "width", "channels", "out_height", "out_width", "out_channels",
    "kernel", "stride", "padding", "backward", "relu",
    "algorithm", "is_float32",
)  # fmt: skip


class ConvolveJob(ctypes.Structure):
    """struct convolution of c/convolve.h: addresses, 0 for absent tensors, and numbers."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _ADDRESSES),
        *((name, ctypes.c_int64) for name in _NUMBERS),
        ("kernels", ctypes.c_void_p),
        ("packed", ctypes.c_int64),
        ("after", ctypes.c_void_p),
        ("groups", ctypes.c_int64),
    )


def fits(
    channels: int, out_channels: int, height: int, width: int, *, kernel: int, stride: int
) -> bool:
    """Whether images of this size are convolved here, forward and backward.

    Args:
        channels: C of x (B, C, H, W).
        out_channels: D of the result.
        height: H.
        width: W.
        kernel: side of the kernel.
        stride: along both sides.
    """
    most = max(channels, out_channels)
    return (
        channels % CHANNELS == 0
        and out_channels % CHANNELS == 0
        and kernel <= MOST_KERNEL
        and stride <= MOST_STRIDE
        and (height + 1) * (width + 1) * most * 2 <= _IMAGE_BYTES
    )


def convolve(library: Library, job: ConvolveJob) -> None:
    """Fills y, (images, out_height, out_width, out_channels) bfloat16, and sums unless null.

    Raises:
        MemoryError: there is not enough for the packed weights and two blocks per thread.
    """
    failed = library.run("ravine_convolve", job)
    if failed:
        raise MemoryError("no memory for a convolution")


def kernel_bytes(library: Library, job: ConvolveJob) -> int:
    """Returns the bytes of a convolution's kernels as its products read them; not by tiles."""
    function = library.functions.ravine_kernel_bytes
    function.restype = ctypes.c_int64
    found: int = function(ctypes.c_int32(library.level), ctypes.byref(job))
    return found
