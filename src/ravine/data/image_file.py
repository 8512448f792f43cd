"""One image file, or one member of a tar shard: its bytes, decoded to a common image format.

Loads no torch: decoding runs in worker processes.
"""

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ravine.data.collection import FileEntry
from ravine.data.decode import INTERPOLATION, Decoded, Unreadable, decode, fit_square

_LARGEST_FILE = 1 << 29  # bytes of an image


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFormat:
    """Size and channels that all images of a data set are brought to.

    Attributes:
        image_size: S, pixels a side.
        channels: C: 1, 3, or the bands of arrays.
        fit: how a picture becomes square: crop, pad or squash.
        large: whether pictures of more than 90 megapixels are read.
        grey_range: values of deep grey that become 0 and 255; None for the rule of `decode`.
        bands: of TIFFs of many bands, from 1; () to read pictures as they are.
        interpolation: lanczos, bicubic or bilinear.
        crop_share: share of the shorter side that crop keeps.
    """

    image_size: int
    channels: int
    fit: str = "crop"
    large: bool = False
    grey_range: tuple[float, float] | None = None
    bands: tuple[int, ...] = ()
    interpolation: str = INTERPOLATION
    crop_share: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, for the processes that decode."""
        return asdict(self)

    def square(self, pixels: np.ndarray) -> np.ndarray:
        """Returns an image (H, W, C) uint8 as the square (S, S, C) uint8 of this format."""
        return fit_square(
            pixels,
            self.image_size,
            self.fit,
            interpolation=self.interpolation,
            crop_share=self.crop_share,
        )

    @property
    def bytes_per_image(self) -> int:
        """S·S·C."""
        return self.image_size**2 * self.channels


def read_image_bytes(entry: FileEntry) -> bytes:
    """Returns the encoded bytes of an image: a whole file, or a range of a tar shard.

    Raises:
        Unreadable: the file cannot be opened, is too large, or ends too early.
    """
    try:
        with open(entry.path, "rb") as file:
            length = os.fstat(file.fileno()).st_size if entry.offset is None else entry.length
            if length > _LARGEST_FILE:
                raise Unreadable(f"{length:,} bytes are too many for an image")
            file.seek(entry.offset or 0)
            content = file.read(length)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    if len(content) < length:
        raise Unreadable("the file ends before the image does")
    return content


def decode_file(entry: FileEntry, image_format: ImageFormat) -> Decoded:
    """Returns the image of one file or tar member, (H, W, C) uint8, before it is resized.

    Raises:
        Unreadable: the file cannot be read, or holds no image.
    """
    content = read_image_bytes(entry)
    return decode(
        content,
        image_format.channels,
        draft=image_format.image_size,
        large=image_format.large,
        grey_range=image_format.grey_range,
        bands=tuple(image_format.bands),
    )
