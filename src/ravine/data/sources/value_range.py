"""Which values mean black and white: decided once over all arrays of images of a source.

Shape letters: M images of a block.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ravine.core.errors import DataError

_ABOVE_ONE = 1.05  # resampling overshoots by some per cent
_BYTES_FROM = 10.0  # a maximum of floats from here on means 0..255
_MOST = 255.5

Scale = Literal["bytes", "unit"]
"""Values in 0..255 as they are, or values in 0..1 that become 0..255."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values of one array of images.

    Attributes:
        name: of the array, for messages.
        dtype: of its values.
        low: the least.
        high: the greatest; of an array of whole numbers at least 2 where it is only known to be
            above 1.
    """

    name: str
    dtype: np.dtype
    low: float
    high: float


def range_of(name: str, dtype: np.dtype, blocks: Callable[[], Iterator[np.ndarray]]) -> ValueRange:
    """Returns the range of an array; bytes are read only until one is above 1.

    Args:
        name: of the array, for messages.
        dtype: of its values.
        blocks: reads it, as blocks (M, …).

    Raises:
        DataError: it holds NaN, or something that is no number.
    """
    if dtype == np.bool_:
        return ValueRange(name, dtype, 0, 1)
    if dtype.kind not in "iuf":
        raise DataError(f"{name} holds {dtype}; wanted are bytes, or floats in 0..1")
    low, high = np.inf, -np.inf
    for block in blocks():
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        if np.isnan(block.max()):
            raise DataError(f"{name} holds NaN; wanted are values in 0..255 or 0..1")
        if dtype == np.uint8 and high > 1:
            break
    return ValueRange(name, dtype, low, high)


def common_scale(ranges: Iterable[ValueRange]) -> Scale:
    """Returns what the values of all arrays mean.

    Raises:
        DataError: they are neither in 0..255 nor in 0..1, or some are in one and some in the other.
    """
    found = list(ranges)
    high = max(found, key=lambda one: one.high)
    low = min(found, key=lambda one: one.low)
    unit = high.high <= _ABOVE_ONE
    if low.low < (1 - _ABOVE_ONE if unit else 0) or high.high > _MOST:
        odd = low if low.low < 0 else high
        raise DataError(
            f"{odd.name} reaches from {odd.low:g} to {odd.high:g}; wanted is 0..255 or 0..1"
        )
    if unit:
        return "unit"
    if high.dtype.kind == "f" and high.high < _BYTES_FROM:
        raise DataError(
            f"{high.name} reaches {high.high:g}: too much for 0..1, too little for 0..255; "
            "save the images as bytes"
        )
    for one in found:
        if one.dtype.kind == "f" and 0 < one.high <= _ABOVE_ONE:
            raise DataError(
                f"{one.name} reaches {one.high:g} and {high.name} {high.high:g}; "
                "save all images with the same range, 0..255 or 0..1"
            )
    return "bytes"


def as_bytes(block: np.ndarray, scale: Scale) -> np.ndarray:
    """Returns values of any type as bytes, in the same shape, uint8."""
    if scale == "bytes":
        return block if block.dtype == np.uint8 else block.clip(0, 255).astype(np.uint8)
    if block.dtype.kind in "iub":
        return block.astype(np.uint8) * np.uint8(255)
    return (block.clip(0, 1) * 255).round().astype(np.uint8)
