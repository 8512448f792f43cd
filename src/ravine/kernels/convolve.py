"""Convolutions 3×3 as products of AMX tiles, by address.

Whoever calls holds the tensors, and has checked that images are bfloat16 on the CPU in
channels_last without gaps, and that `fits`.
"""

import ctypes

from ravine.kernels.library import Library, threads

CHANNELS = 32  # of x and y: their multiples
_GRID = 1 << 20  # bytes of an image, two of which stay in the second cache beside the weights


class ConvolveJob(ctypes.Structure):
    """struct convolution of c/convolve.h."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("w", ctypes.c_void_p),
        ("added", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        ("moments", ctypes.c_void_p),
        ("images", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("out_channels", ctypes.c_int64),
        ("back", ctypes.c_int64),
    )


def fits(channels: int, out_channels: int, height: int, width: int) -> bool:
    """Whether images of this size are convolved here, there and back."""
    most = max(channels, out_channels)
    return (
        channels % CHANNELS == 0
        and out_channels % CHANNELS == 0
        and (height + 1) * (width + 1) * most * 2 <= _GRID
    )


def convolve(library: Library, job: ConvolveJob) -> None:
    """Fills y, (images, height, width, out_channels) bfloat16, and moments if they are wanted.

    Raises:
        MemoryError: there is not enough for the packed weights and two blocks per thread.
    """
    failed = library.functions.ravine_convolve(
        ctypes.c_int32(library.level), ctypes.byref(job), ctypes.c_int32(threads())
    )
    if failed:
        raise MemoryError("no memory for a convolution")
