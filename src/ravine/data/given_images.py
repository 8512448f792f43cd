"""Images that a program has in its hands: Pillow's, arrays, or tensors, to predict.

Shape letters: N images, H height, W width, C channels, S side of the square.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.channel_counts import PLAIN
from ravine.data.dataset import Preprocessing, Unlabelled
from ravine.data.decode import decode_image
from ravine.data.network_images import format_of

_CHANNELS = (1, 3, 4)


def open_given(images: Sequence[Any], *, preprocessing: Preprocessing) -> Unlabelled:
    """Returns images in the form that the network takes, resized and fitted as files are.

    Args:
        images: Pillow's images; arrays (H, W), (H, W, C) or (N, H, W, C); tensors (H, W), (C, H, W)
            or (N, C, H, W). Integers are in 0..255, floating-point numbers in 0..1. A network of
            bands takes arrays and tensors of as many channels.
        preprocessing: of the network.

    Raises:
        DataError: one has another type, shape or range.
    """
    image_format = format_of(preprocessing)
    channels = image_format.channels
    singles = [one for image in images for one in _singles(image, channels)]
    decoded = (
        one if isinstance(one, np.ndarray) else decode_image(one, channels, image_format.grey_range)
        for one in singles
    )
    squares = [image_format.square(pixels) for pixels in decoded]
    if not squares:
        raise DataError("there are no images to predict")
    return Unlabelled(
        images=np.stack(squares),
        names=[f"image {number}" for number in range(len(squares))],
        unreadable=[],
    )


def _singles(image: Any, channels: int) -> list[Image.Image] | list[np.ndarray]:
    """Returns the images in one value; those for a network of bands (H, W, C) uint8."""
    if isinstance(image, Image.Image):
        if channels not in PLAIN:
            raise DataError(
                f"an image of Pillow has 1 or 3 channels, and the network takes {channels}; give "
                f"an array (H, W, {channels})"
            )
        return [image]
    if isinstance(image, np.ndarray):
        return _of_array(image, image.shape, channels)
    if type(image).__module__.split(".")[0] == "torch":
        tensor = image.detach().cpu()
        values = np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
        last = np.moveaxis(values, -3, -1) if values.ndim >= 3 else values
        return _of_array(last, values.shape, channels)
    kind = type(image).__name__
    raise DataError(f"a {kind} is no image: give a path, an image of Pillow, an array or a tensor")


def _of_array(
    values: np.ndarray, shape: tuple[int, ...], channels: int
) -> list[Image.Image] | list[np.ndarray]:
    items = values if values.ndim == 4 else values[None]
    if channels in PLAIN:
        return [_plain(item, shape) for item in items]
    if items.ndim != 4 or items.shape[3] != channels:
        raise DataError(
            f"an array of shape {tuple(shape)} does not have the {channels} channels that the "
            f"network takes: arrays are (H, W, {channels}) or (N, H, W, {channels}), tensors "
            f"({channels}, H, W) or (N, {channels}, H, W)"
        )
    return [_bytes_of(item) for item in items]


def _plain(values: np.ndarray, shape: tuple[int, ...]) -> Image.Image:
    grey = values.ndim == 2
    if not grey and not (values.ndim == 3 and values.shape[2] in _CHANNELS):
        raise DataError(
            f"an array of shape {tuple(shape)} is no image: arrays are (H, W), (H, W, C) or "
            "(N, H, W, C), tensors (H, W), (C, H, W) or (N, C, H, W), with 1, 3 or 4 channels"
        )
    pixels = _bytes_of(values)
    return Image.fromarray(pixels if grey or pixels.shape[2] > 1 else pixels[:, :, 0])


def _bytes_of(values: np.ndarray) -> np.ndarray:
    """Returns values as uint8, of the same shape."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype == bool or not np.issubdtype(values.dtype, np.number):
        raise DataError(f"an array of {values.dtype} is no image: integers or floats are")
    most = 1.0 if np.issubdtype(values.dtype, np.floating) else 255.0
    low, high = float(np.min(values, initial=0)), float(np.max(values, initial=0))
    if not 0 <= low <= high <= most:  # NaN is neither
        raise DataError(
            f"an image of {values.dtype} has values in 0..{most:g}, got {low:.4g}..{high:.4g}; "
            "give it as it was before any normalisation"
        )
    return np.round(values.astype(np.float64) * (255.0 / most)).astype(np.uint8)
