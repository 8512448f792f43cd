"""Bytes of images to normalised values, flipped and cropped in the same pass, by address.

The caller holds the tensors, and has checked that images are uint8 on the CPU in channels_last
without gaps, and that rows and columns lie within them.
"""

import ctypes

from ravine.kernels.library import Library


class PixelsJob(ctypes.Structure):
    """struct pixels of c/pixels.h: addresses, 0 for absent tensors, then sizes."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("bytes", "values", "table", "rows", "columns")),
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "channels")),
    )


def pixels_to_values(library: Library, job: PixelsJob) -> None:
    """Fills values, (images, height, width, channels) float32."""
    library.run("ravine_pixels_to_values", job)
