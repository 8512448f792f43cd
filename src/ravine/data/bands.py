"""Images of other numbers of channels than grey's one and colour's three: bands, out of arrays.

Files of images stay grey or colour; only arrays bring 2 or 4 to 16 channels. Loads no torch.

Shape letters: H height, W width, C channels.
"""

import numpy as np
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.channel_counts import PLAIN
from ravine.data.collection import Collection
from ravine.data.decode import BANDS

_COLOURS = 3


def mode_of(channels: int) -> str:
    """Returns Pillow's mode of an array's images, or `BANDS` where it has none."""
    return {1: "L", 3: "RGB"}.get(channels, BANDS)


def shown_note(channels: int) -> str:
    """Returns in a clause which bands the pictures for people show."""
    which = "the first as grey" if channels < _COLOURS else "the first three as red, green, blue"
    return f"pictures of them show {which}"


def as_picture(pixels: np.ndarray) -> Image.Image:
    """Returns an image as people are shown it: of bands the first three, of two the first.

    Args:
        pixels: (H, W, C) uint8.

    >>> [as_picture(np.zeros((8, 8, bands), np.uint8)).mode for bands in (1, 2, 5)]
    ['L', 'L', 'RGB']
    """
    shown = pixels[:, :, :_COLOURS] if pixels.shape[2] >= _COLOURS else pixels[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(shown))


def refuse_other_channels(collection: Collection, channels: int, data: str) -> None:
    """Raises `DataError` if a network of `channels` cannot take the images of a collection.

    Args:
        collection: the images, not yet decoded.
        channels: that the network takes.
        data: the source, for the message.
    """
    if collection.pixels is None:
        if channels not in PLAIN:
            raise DataError(
                f"{data}: image files are read as 1 or 3 channels, and the network takes "
                f"{channels}; give it an array of {channels}, as in a .npz"
            )
        return
    found = collection.pixels.shape[3]
    if found != channels and not {found, channels} <= set(PLAIN):
        raise DataError(
            f"{data} has images of {found} channels, and the network takes {channels}; give it "
            f"images of {channels}"
        )
