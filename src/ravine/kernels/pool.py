"""2×2 max pooling, by address.

The caller holds the tensors, and has checked that images are bfloat16, or all float32, on the CPU
in channels_last without gaps.
"""

import ctypes

from ravine.kernels.library import Library


class PoolJob(ctypes.Structure):
    """struct pool of c/pool.h: addresses, 0 for absent tensors, then sizes of x."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "y", "index", "dy", "dx")),
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "channels")),
        ("is_float32", ctypes.c_int32),
    )


def pool_forward(library: Library, job: PoolJob) -> None:
    """Fills y, and index unless its address is 0."""
    library.run("ravine_pool_forward", job)


def pool_backward(library: Library, job: PoolJob) -> None:
    """Fills dx from dy and index."""
    library.run("ravine_pool_backward", job)
