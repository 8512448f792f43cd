"""How an array holds images: (N, H, W), (N, H, W, C) or (N, C, H, W), with C in 1..16.

Which axis is that of the channels, in this order: the last one where it is 1 or 3, else the second
one where it is; the one that is as long as was asked for; the only one of up to 16; the one that
leaves square images. What is still open is refused.

Shape letters: N images, M images of a block, H height, W width, C channels.
"""

from dataclasses import dataclass

import numpy as np

from ravine.core.errors import DataError
from ravine.data.channel_counts import MOST_BANDS, PLAIN
from ravine.data.sources.stored_array import StoredArray

_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """How an array holds images.

    Attributes:
        shape: (N, H, W, C).
        channels_first: the array is (N, C, H, W).
    """

    shape: tuple[int, int, int, int]
    channels_first: bool

    def arranged(self, block: np.ndarray) -> np.ndarray:
        """Returns a block of the array as (M, H, W, C)."""
        if self.channels_first:
            block = block.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(block).reshape(-1, *self.shape[1:])


def image_layout(array: StoredArray, channels: int | None = None) -> ImageLayout:
    """Returns how an array holds images.

    Args:
        array: of 3 or 4 dimensions.
        channels: that are asked for, or that the network takes; None where it is not known.

    Raises:
        DataError: its shape is none of images, can be read both ways, or there are no pixels in it.
    """
    shape = array.shape if len(array.shape) == _DIMENSIONS else (*array.shape, 1)
    fits = len(shape) == _DIMENSIONS and 0 not in shape
    if not fits or not (_may_be_channels(shape[1]) or _may_be_channels(shape[3])):
        raise DataError(
            f"{array.path}: {array.name} has the shape {array.shape}; wanted is (N, H, W, C) "
            f"with 1 to {MOST_BANDS} channels"
        )
    first = _is_first(shape, channels)
    if first is None:
        raise DataError(
            f"{array.path}: {array.name} has the shape {array.shape}, which may be (N, H, W, C) "
            f"or (N, C, H, W); {_remedy(shape)}"
        )
    if first:
        shape = (shape[0], shape[2], shape[3], shape[1])
    return ImageLayout((shape[0], shape[1], shape[2], shape[3]), first)


def _may_be_channels(length: int) -> bool:
    return 1 <= length <= MOST_BANDS


def _is_first(shape: tuple[int, ...], channels: int | None) -> bool | None:
    """Returns whether the channels are the second axis; None where both readings are likely."""
    second, third, last = shape[1:]
    if last in PLAIN or second in PLAIN:
        return last not in PLAIN
    if channels is not None and (second == channels) != (last == channels):
        return second == channels
    if _may_be_channels(second) != _may_be_channels(last):
        return _may_be_channels(second)
    if (second == third) != (third == last):
        return third == last
    return None


def _remedy(shape: tuple[int, ...]) -> str:
    if shape[1] == shape[3]:
        return f"save images of more than {MOST_BANDS} pixels a side"
    return f"name the channels: --channels {shape[3]}, or --channels {shape[1]}"
