"""The weight gradient of a convolution as a product of AMX tiles, by address.

The caller holds the tensors, and has checked that images are bfloat16 on the CPU in
channels_last without gaps, and that channels are multiples of `CHANNELS`.
"""

import ctypes

from ravine.kernels.library import Library

CHANNELS = 16  # rows of a tile
MOST_STRIDE = 8  # as MOST_PHASES in c/weights.c
_ADDRESSES = ("x", "dy", "dw", "mean", "rstd", "weight", "bias")
_NUMBERS = (
    "images", "height", "width", "channels", "out_height", "out_width", "out_channels",
    "kernel", "stride", "padding", "relu",
    "algorithm", "is_float32",
)  # fmt: skip


class WeightsJob(ctypes.Structure):
    """struct weights of c/weights.h: addresses, 0 for absent tensors, then numbers."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _ADDRESSES),
        *((name, ctypes.c_int64) for name in _NUMBERS),
    )


def weight_gradient(library: Library, job: WeightsJob) -> None:
    """Fills dw, (out_channels, kernel, kernel, channels) float32.

    Raises:
        MemoryError: there is not enough for the rearranged images of one block per thread.
    """
    failed = library.run("ravine_weight_gradient", job)
    if failed:
        raise MemoryError("no memory for the weight gradient of a convolution")
