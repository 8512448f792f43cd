"""The gradients of a depthwise convolution's filters and biases, by address.

The caller holds the tensors, and has checked that images are bfloat16, or all float32, on the CPU
in channels_last without gaps, and that kernel and stride are among `KERNELS` and `STRIDES`.
"""

import ctypes

from ravine.kernels.library import Library

KERNELS = (5, 7)  # as in c/depthwise.c; of side 3 oneDNN's are as fast
STRIDES = (1, 2)
_NUMBERS = (
    "images", "height", "width", "channels", "out_height", "out_width", "kernel", "stride",
    "padding",
)  # fmt: skip


class DepthwiseJob(ctypes.Structure):
    """struct depthwise of c/depthwise.h: addresses, 0 for absent tensors, then numbers."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "dy", "dw", "dbias")),
        *((name, ctypes.c_int64) for name in _NUMBERS),
        ("is_float32", ctypes.c_int32),
    )


def depthwise_gradient(library: Library, job: DepthwiseJob) -> None:
    """Fills dw, (channels, kernel, kernel) float32, and dbias unless its address is 0.

    Raises:
        MemoryError: there is not enough for a few rows of the images.
    """
    if library.run("ravine_depthwise_gradient", job):
        raise MemoryError("no memory for the weight gradient of a depthwise convolution")
