"""Chooses the size, the channels and the fit of the images, by a stated rule.

The headers of a sample of files give a first choice, which decoding needs. Decoding then reads
every image; where all of them give another choice, they are decoded again.

Shape letters: N images.
"""

import io
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ravine.core.errors import DataError, SettingError
from ravine.data.bands import mode_of, shown_note
from ravine.data.channel_counts import PLAIN
from ravine.data.collection import Collection, FileEntry
from ravine.data.decode import (
    DIVIDED,
    GREY_MODES,
    INTERPOLATION,
    RULE,
    SIXTEEN_BIT_MODES,
    ImageHeader,
    Unreadable,
    read_header,
)
from ravine.data.decoded_cache import DecodedCache
from ravine.data.fit_choice import Fit, choose_fit
from ravine.data.foreign_content import foreign_content
from ravine.data.grey_scale import grey_scale
from ravine.data.image_file import ImageFormat, read_image_bytes
from ravine.data.settings import DataSettings
from ravine.data.tiff_bands import unread_tiff

_SIZES = (32, 48, 64, 96, 128, 160, 192, 224)
_KEPT_UP_TO = 96  # pixels a side up to which images of one square size stay as they are
_SAMPLE = 500


@dataclass(frozen=True, slots=True)
class _ImageFacts:
    """What the choice depends on.

    Attributes:
        sizes: (N, 2) heights and widths.
        modes: Pillow's modes that occur.
        channels: of an array; None where the images are files.
    """

    sizes: np.ndarray
    modes: frozenset[str]
    channels: int | None = None


def choose_image_format(collection: Collection, settings: DataSettings) -> tuple[ImageFormat, str]:
    """Returns the format and the rule in a sentence, from the headers of a sample of files.

    Raises:
        DataError: no file is an image.
        SettingError: the images cannot have the channels that are asked for.
    """
    _refuse_channels(collection, settings)
    return _chosen(_facts_from_headers(collection, settings), collection, settings)


def _refuse_channels(collection: Collection, settings: DataSettings) -> None:
    asked = settings.channel_count
    if collection.pixels is not None and settings.bands is not None:
        raise SettingError(
            f"bands {settings.bands}: has no effect, it is for TIFFs; {settings.data} holds "
            "arrays, of which all channels are taken; leave --bands out"
        )
    if asked is None:
        return
    if collection.pixels is None:
        if asked not in PLAIN:
            raise SettingError(
                f"channels {asked}: image files are read as 1 (grey) or 3 (colour); bands come out "
                "of arrays, as in a .npz"
            )
        return
    found = collection.pixels.shape[3]
    if found != asked and not {found, asked} <= set(PLAIN):
        raise SettingError(
            f"channels {asked}: the images of {settings.data} have {found}; leave --channels out"
        )


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
    modes = (decoded.mode_names[mode] for mode in np.unique(decoded.modes[readable]))
    facts = _ImageFacts(sizes=decoded.sizes[readable], modes=frozenset(modes))
    return _chosen(facts, collection, settings)


def _chosen(
    facts: _ImageFacts, collection: Collection, settings: DataSettings
) -> tuple[ImageFormat, str]:
    image_format, rule = _rule(facts, settings)
    scale = grey_scale(collection.files, facts.modes, settings)
    if scale is None:
        is_deep = bool(facts.modes & SIXTEEN_BIT_MODES)
        return image_format, f"{rule}; {DIVIDED}" if is_deep else rule
    found = replace(image_format, grey_range=(scale.low, scale.high))
    return found, f"{rule}; {scale.said}"


def _rule(facts: _ImageFacts, settings: DataSettings) -> tuple[ImageFormat, str]:
    bands = settings.band_numbers
    if bands:
        channels, colour = len(bands), f"bands {', '.join(map(str, bands))}"
    elif facts.channels is not None and facts.channels not in PLAIN:
        channels, colour = facts.channels, "those of the array"
    elif settings.channel_count is not None:
        channels, colour = settings.channel_count, "as asked"
    elif facts.modes <= GREY_MODES:
        channels, colour = 1, "every image is grey"
    else:
        channels, colour = 3, "not every image is grey"
    fit = choose_fit(facts.sizes, settings.fit)
    size, why = _image_size(facts.sizes, fit, settings)
    kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} bands")
    treated = RULE if channels in PLAIN else f"each band as grey is; {shown_note(channels)}"
    rule = (
        f"images become {size}×{size} ({why}), {kind} ({colour}): {_fitted(fit, settings)}; "
        f"{treated}"
    )
    found = ImageFormat(
        image_size=size,
        channels=channels,
        fit=fit.name,
        large=settings.large_images,
        bands=bands,
        interpolation=settings.interpolation,
        crop_share=settings.crop_share,
    )
    return found, rule


def _fitted(fit: Fit, settings: DataSettings) -> str:
    """Returns how pictures become square, in words."""
    words = fit.said
    if fit.name == "crop" and settings.crop_share < 1:
        words += f" ({settings.crop_share:.4g} of the side)"
    if settings.interpolation != INTERPOLATION:
        words += f", {settings.interpolation}"
    return words


def _image_size(sizes: np.ndarray, fit: Fit, settings: DataSettings) -> tuple[int, str]:
    """Returns the pixels a side, and why."""
    if settings.image_size is not None:
        return settings.image_size, "as asked"
    low, high = int(sizes.min()), int(sizes.max())
    if low == high and 8 <= low <= _KEPT_UP_TO:
        return low, "the size of all images"
    if fit.name == "crop":
        median, what = float(np.median(sizes.min(1))), "the shorter sides"
    else:  # the whole picture keeps about as many pixels as it has
        median, what = float(np.median(np.sqrt(sizes.astype(np.float64).prod(1)))), "the sides"
    size = max([s for s in _SIZES if s <= median] or [_SIZES[0]])
    return size, f"from the median of {what}, {median:.0f}"


def _facts_from_headers(collection: Collection, settings: DataSettings) -> _ImageFacts:
    if collection.pixels is not None:
        height, width, channels = collection.pixels.shape[1:]
        mode = mode_of(channels)
        return _ImageFacts(np.array([(height, width)]), frozenset({mode}), channels)
    header = partial(_header, banded=bool(settings.bands))
    step = max(1, len(collection.files) // _SAMPLE)
    headers = [header(entry) for entry in collection.files[::step]]
    if not any(headers):
        headers = [header(entry) for entry in collection.files]
    found = [one for one in headers if one is not None]
    if not found:
        raise _no_image(collection)
    return _ImageFacts(
        sizes=np.array([one.size for one in found]), modes=frozenset(one.mode for one in found)
    )


def _no_image(collection: Collection) -> DataError:
    first = collection.names[0]
    try:
        content = read_image_bytes(collection.files[0])
        reason = unread_tiff(content) or foreign_content(content)
    except Unreadable:
        reason = None
    if reason is not None:
        return DataError(f"{first!r} is {reason}")
    return DataError(f"none of the {len(collection.files)} files is an image, such as {first!r}")


def _header(entry: FileEntry, *, banded: bool) -> ImageHeader | None:
    if entry.offset is None and not banded:
        return read_header(entry.path)
    try:
        return read_header(io.BytesIO(read_image_bytes(entry)), banded=banded)
    except Unreadable:
        return None
