"""Chosen bands of a TIFF of many, as satellites take them: read by tifffile, an extra.

Loads no torch: decoding runs in worker processes.

Shape letters: H height, W width, C chosen bands.
"""

import io
import math
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from ravine.core.errors import DataError

_LIBRARY = "tifffile"
_MOST_BYTES = 1 << 31  # of all bands of an image


class BandsMissing(Exception):
    """The file has no such bands; the message is the reason."""


def refuse_without_library() -> None:
    """Raises `DataError` unless tifffile is installed."""
    if find_spec(_LIBRARY) is None:
        raise DataError(
            "--bands is read with tifffile, which is not installed: pip install 'ravine[tiff]'"
        )


def band_values(content: bytes, bands: tuple[int, ...]) -> np.ndarray:
    """Returns the values of bands, (H, W, C) float64.

    Args:
        content: a TIFF with its bands interleaved, in planes, or a page each.
        bands: numbers from 1.

    Raises:
        BandsMissing: it is no TIFF, or has fewer bands.
    """
    with import_module(_LIBRARY).TiffFile(io.BytesIO(content)) as file:
        series = file.series[0]
        height, width, count = _shape(series)
        if max(bands) > count:
            raise BandsMissing(f"it has {count} bands, and --bands names band {max(bands)}")
        if series.dtype.kind == "c":
            raise BandsMissing("it holds complex numbers; save their absolute values")
        if math.prod(series.shape) * series.dtype.itemsize > _MOST_BYTES:
            raise BandsMissing(f"{math.prod(series.shape):,} values are too many for an image")
        axes = series.axes
        values = np.moveaxis(series.asarray(), [axes.index("Y"), axes.index("X")], [0, 1])
    planes = values.reshape(height, width, count)
    return np.stack([planes[:, :, band - 1] for band in bands], axis=2).astype(np.float64)


def banded_size(content: bytes) -> tuple[int, int]:
    """Returns height and width of a TIFF of any number of bands."""
    with import_module(_LIBRARY).TiffFile(io.BytesIO(content)) as file:
        return _shape(file.series[0])[:2]


def _shape(series: Any) -> tuple[int, int, int]:
    """Returns (H, W, number of bands); bands are all axes but Y and X."""
    sides = dict(zip(series.axes, series.shape, strict=True))
    height, width = int(sides["Y"]), int(sides["X"])
    return height, width, math.prod(series.shape) // max(1, height * width)
