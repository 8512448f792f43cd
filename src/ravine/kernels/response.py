"""Local response normalisation, by address.

The caller holds the tensors, and has checked that images are bfloat16, or all float32, on the CPU
in channels_last without gaps.
"""

import ctypes

from ravine.kernels.library import Library


class ResponseJob(ctypes.Structure):
    """struct response of c/response.h: addresses, 0 for absent tensors, sizes, constants."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "y", "dy", "dx")),
        *((name, ctypes.c_int64) for name in ("pixels", "channels", "size")),
        *((name, ctypes.c_double) for name in ("alpha", "beta", "k")),
        ("is_float32", ctypes.c_int32),
    )


def response_forward(library: Library, job: ResponseJob) -> None:
    """Fills y.

    Raises:
        MemoryError: there is not enough for a few pixels.
    """
    _check(library.run("ravine_response_forward", job))


def response_backward(library: Library, job: ResponseJob) -> None:
    """Fills dx from x and dy.

    Raises:
        MemoryError: there is not enough for a few pixels.
    """
    _check(library.run("ravine_response_backward", job))


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("no memory for a local response normalisation")
