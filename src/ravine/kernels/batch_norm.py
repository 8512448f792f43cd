"""Normalisation, residual and activation in one kernel, by address.

The caller holds the tensors, and has checked that images are bfloat16, or all float32, on the CPU
in channels_last without gaps, and that tensors of channels are float32 without gaps.
"""

import ctypes
from collections.abc import Mapping

from ravine.kernels.library import Library

#: As enum activation in c/norm.h.
ACTIVATIONS: Mapping[str, int] = {"identity": 0, "relu": 1, "gelu": 2, "silu": 3}
#: float64 numbers of workspace per channel: two sums for each of SHARES in c/norm.h.
WORKSPACE = 2 * 32

_ADDRESSES = (
    "x", "residual", "y", "dy", "dx_more", "dx", "dresidual", "weight", "bias", "mean", "rstd",
    "running_mean", "running_var", "dweight", "dbias", "sums", "known_sums",
)  # fmt: skip


class NormJob(ctypes.Structure):
    """struct norm of c/norm.h: addresses, 0 for absent tensors, then numbers."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _ADDRESSES),
        ("rows", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("images", ctypes.c_int64),
        ("eps", ctypes.c_double),
        ("momentum", ctypes.c_double),
        ("activation", ctypes.c_int32),
        ("frozen", ctypes.c_int32),
        ("is_float32", ctypes.c_int32),
    )


def norm_forward(library: Library, job: NormJob) -> None:
    """Fills y; unless frozen, also mean, rstd and the running statistics."""
    library.run("ravine_norm_forward", job)


def norm_backward(library: Library, job: NormJob) -> None:
    """Fills dx, dweight, dbias, and dresidual unless its address is 0."""
    library.run("ravine_norm_backward", job)
