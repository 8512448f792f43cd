"""The gradient of a convolution's weights as a product of AMX tiles, by address.

Whoever calls holds the tensors, and has checked that images are bfloat16 on the CPU in
channels_last without gaps, and that channels are multiples of `CHANNELS`.
"""

import ctypes

from ravine.kernels.library import Library, threads

CHANNELS = 16  # rows of a tile


class WeightsJob(ctypes.Structure):
    """struct weights of c/weights.h."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("dy", ctypes.c_void_p),
        ("dw", ctypes.c_void_p),
        ("images", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("out_height", ctypes.c_int64),
        ("out_width", ctypes.c_int64),
        ("out_channels", ctypes.c_int64),
        ("kernel", ctypes.c_int64),
        ("stride", ctypes.c_int64),
        ("padding", ctypes.c_int64),
    )


def weight_gradient(library: Library, job: WeightsJob) -> None:
    """Fills dw, (out_channels, kernel, kernel, channels) float32.

    Raises:
        MemoryError: there is not enough for the rearranged images of one block per thread.
    """
    failed = library.functions.ravine_weight_gradient(
        ctypes.c_int32(library.level), ctypes.byref(job), ctypes.c_int32(threads())
    )
    if failed:
        raise MemoryError("no memory for the gradient of a convolution's weights")
