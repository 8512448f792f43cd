"""How an array holds images: (N, H, W), (N, H, W, C) or (N, C, H, W).

Shape letters: N images, M images of a block, H height, W width, C channels.
"""

from dataclasses import dataclass

import numpy as np

from ravine.core.errors import DataError
from ravine.data.sources.stored_array import StoredArray

_CHANNELS = (1, 3)


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


def image_layout(array: StoredArray) -> ImageLayout:
    """Returns how an array holds images.

    Raises:
        DataError: its shape is none of images, or there are no pixels in it.
    """
    shape = array.shape
    if len(shape) == 3:
        shape = (*shape, 1)
    first = len(shape) == 4 and shape[3] not in _CHANNELS and shape[1] in _CHANNELS
    if first:
        shape = (shape[0], shape[2], shape[3], shape[1])
    if len(shape) != 4 or shape[3] not in _CHANNELS or 0 in shape:
        raise DataError(
            f"{array.path}: {array.name} has the shape {array.shape}; wanted is (N, H, W, C) "
            "with 1 or 3 channels"
        )
    return ImageLayout((shape[0], shape[1], shape[2], shape[3]), first)
