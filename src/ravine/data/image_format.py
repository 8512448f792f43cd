"""Chooses the size and the channels that fit the images, by a stated rule.

The headers of a sample of files give a first choice, which decoding needs. Decoding then reads
every image; where all of them give another choice, they are decoded again.
"""

import io
from dataclasses import dataclass, replace

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection, FileEntry
from ravine.data.decode import (
    GREY_MODES,
    INTERPOLATION,
    RULE,
    ImageHeader,
    Unreadable,
    deep_range,
    read_header,
)
from ravine.data.decoded_cache import DecodedCache
from ravine.data.image_file import ImageFormat, read_image_bytes
from ravine.data.settings import DataSettings
from ravine.data.tiff_bands import many_bands

_SIZES = (32, 48, 64, 96, 128, 160, 192, 224)
_KEPT_UP_TO = 96  # pixels a side up to which images of one square size stay as they are
_SAMPLE = 500
_SAMPLE_OF_RANGE = 2000  # files that are read for the range of deep grey
_FITS = {
    "crop": "shorter side resized, middle cut out",
    "pad": "longer side resized, black added",
    "squash": "each side resized",
}


@dataclass(frozen=True, slots=True)
class _ImageFacts:
    """What the choice depends on.

    Attributes:
        sides: (N,) pixels of the shorter sides.
        square: whether all images are square.
        grey: whether all images are grey.
    """

    sides: np.ndarray
    square: bool
    grey: bool


def choose_image_format(collection: Collection, settings: DataSettings) -> tuple[ImageFormat, str]:
    """Returns the format and the rule in a sentence, from the headers of a sample of files.

    Raises:
        DataError: no file is an image.
    """
    image_format, rule = _rule(_facts_from_headers(collection), settings)
    return _with_range(image_format, rule, collection, settings)


def _with_range(
    image_format: ImageFormat, rule: str, collection: Collection, settings: DataSettings
) -> tuple[ImageFormat, str]:
    """Adds the range of deep grey of a sample of the files, where it is asked for."""
    if settings.grey_range != "set" or not collection.files:
        return image_format, rule
    step = max(1, len(collection.files) // _SAMPLE_OF_RANGE)
    found = [_deep_range(entry) for entry in collection.files[::step]]
    ranges = [one for one in found if one is not None]
    if not ranges:
        return image_format, rule
    low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
    rule += f"; with --grey-range set, deep grey from {low:g} to {high:g} becomes 0 to 255"
    return replace(image_format, grey_range=(low, high)), rule


def _deep_range(entry: FileEntry) -> tuple[float, float] | None:
    try:
        return deep_range(read_image_bytes(entry))
    except Unreadable:
        return None


def confirm_image_format(
    collection: Collection, decoded: DecodedCache, settings: DataSettings
) -> tuple[ImageFormat, str] | None:
    """Returns the format and the rule in a sentence, from all images after decoding.

    None where no image could be decoded.
    """
    if collection.pixels is not None:
        return choose_image_format(collection, settings)
    readable = decoded.readable
    if not readable.any():
        return None
    sizes = decoded.sizes[readable]
    modes = {decoded.mode_names[mode] for mode in np.unique(decoded.modes[readable])}
    facts = _ImageFacts(
        sides=sizes.min(1),
        square=bool((sizes[:, 0] == sizes[:, 1]).all()),
        grey=modes <= GREY_MODES,
    )
    return _with_range(*_rule(facts, settings), collection, settings)


def _rule(facts: _ImageFacts, settings: DataSettings) -> tuple[ImageFormat, str]:
    sides = facts.sides
    if settings.channels != "auto":
        channels, colour = int(settings.channels), "as asked"
    elif facts.grey:
        channels, colour = 1, "every image is grey"
    else:
        channels, colour = 3, "not every image is grey"
    if settings.image_size is not None:
        size, why = settings.image_size, "as asked"
    elif facts.square and sides.min() == sides.max() and 8 <= sides[0] <= _KEPT_UP_TO:
        size, why = int(sides[0]), "the size of all images"
    else:
        median = float(np.median(sides))
        size = max([s for s in _SIZES if s <= median] or [_SIZES[0]])
        why = f"from the median of the shorter sides, {median:.0f}"
    rule = (
        f"images become {size}×{size} ({why}), {'grey' if channels == 1 else 'colour'} ({colour}): "
        f"{_fitted(settings)}; {RULE}"
    )
    found = ImageFormat(
        image_size=size,
        channels=channels,
        fit=settings.fit,
        large=settings.large_images,
        interpolation=settings.interpolation,
        crop_share=settings.crop_share,
    )
    return found, rule


def _fitted(settings: DataSettings) -> str:
    """Returns how pictures become square, in words."""
    words = _FITS[settings.fit]
    if settings.fit == "crop" and settings.crop_share < 1:
        words += f" ({settings.crop_share:.4g} of the side)"
    return (
        words if settings.interpolation == INTERPOLATION else f"{words}, {settings.interpolation}"
    )


def _facts_from_headers(collection: Collection) -> _ImageFacts:
    if collection.pixels is not None:
        height, width, channels = collection.pixels.shape[1:]
        return _ImageFacts(np.array([min(height, width)]), height == width, channels == 1)
    step = max(1, len(collection.files) // _SAMPLE)
    headers = [_header(entry) for entry in collection.files[::step]]
    if not any(headers):
        headers = [_header(entry) for entry in collection.files]
    found = [header for header in headers if header is not None]
    if not found:
        first = collection.names[0]
        if (bands := _bands(collection.files[0])) is not None:
            raise DataError(
                f"{first!r} is {bands}; write three of them as RGB first (EuroSAT has such a "
                "version, EuroSAT_RGB)"
            )
        raise DataError(f"none of the {len(collection.files)} files is an image, such as {first!r}")
    return _ImageFacts(
        sides=np.array([header.side for header in found]),
        square=all(header.square for header in found),
        grey=all(header.grey for header in found),
    )


def _bands(entry: FileEntry) -> str | None:
    try:
        return many_bands(read_image_bytes(entry))
    except Unreadable:
        return None


def _header(entry: FileEntry) -> ImageHeader | None:
    if entry.offset is None:
        return read_header(entry.path)
    try:
        return read_header(io.BytesIO(read_image_bytes(entry)))
    except Unreadable:
        return None
