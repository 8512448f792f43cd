"""A network's forward pass as steps that one call of the C library runs, by address."""

import ctypes
from collections.abc import Sequence

from ravine.kernels.convolve import ConvolveJob
from ravine.kernels.library import Library
from ravine.kernels.response import ResponseJob

CONVOLUTION, WINDOW, RESPONSE = 0, 1, 2
#: Where a step's tensor lies, if not at so many bytes of the workspace; as in c/inference.h.
NOWHERE, IMAGES, RESULT = -1, -2, -3


def _structure(
    addresses: Sequence[str], numbers: Sequence[str]
) -> tuple[tuple[str, type[ctypes.c_void_p] | type[ctypes.c_int64]], ...]:
    return (
        *((name, ctypes.c_void_p) for name in addresses),
        *((name, ctypes.c_int64) for name in numbers),
    )


class AfterJob(ctypes.Structure):
    """struct after of c/convolve.h: what follows a convolution as its results are written."""

    _fields_ = _structure(
        ("shift", "second", "second_scale", "second_shift"), ("activation", "second_activation")
    )


class WindowJob(ctypes.Structure):
    """struct window of c/window.h: the largest or the mean of windows, and what follows."""

    _fields_ = _structure(
        ("x", "residual", "y", "scale", "shift"),
        (
            "images", "height", "width", "channels", "out_height", "out_width",
            "kernel_height", "kernel_width", "stride", "padding", "is_mean", "activation",
            "is_float32",
        ),
    )  # fmt: skip


class Step(ctypes.Structure):
    """struct step of c/inference.h: where its tensors lie, and one of three jobs."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "x", "residual", "y", "second")),
        ("convolution", ConvolveJob),
        ("after", AfterJob),
        ("kernel_bytes", ctypes.c_int64),
        ("window", WindowJob),
        ("response", ResponseJob),
    )


class InferenceJob(ctypes.Structure):
    """struct inference of c/inference.h: steps, and the groups of images that they are run on."""

    _fields_ = (
        ("steps", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("images", "result", "workspace")),
        *(
            (name, ctypes.c_int64)
            for name in ("workspace_bytes", "groups", "image_bytes", "result_bytes")
        ),
    )


def run_inference(library: Library, job: InferenceJob) -> None:
    """Fills the result of all groups.

    Raises:
        MemoryError: there is not enough for what the steps work on.
    """
    if library.run("ravine_inference", job):
        raise MemoryError("no memory for a forward pass")
