"""Decodes one image of any kind that Pillow reads into (S, S, C) uint8, by a stated rule.

Loads no torch: decoding runs in worker processes.

Shape letters: H height, W width, C channels, S side of the square.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ravine.data.banded_tiff import BandsMissing, band_values, banded_size
from ravine.data.channel_counts import PLAIN
from ravine.data.foreign_content import foreign_content
from ravine.data.openers import register_openers
from ravine.data.quick_jpeg import quick_jpeg
from ravine.data.tiff_bands import unread_tiff

RULE = (
    "turned as EXIF says; first frame of animations; transparency on white; CMYK and palettes to "
    "RGB"
)
DIVIDED = "16-bit grey divided by 257"  # where no scale of the set is taken
INTERPOLATION = "lanczos"
_METHODS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
DEEP_MODES = SIXTEEN_BIT_MODES | {"I", "F"}
GREY_MODES = frozenset({"1", "L", "LA", "La"}) | DEEP_MODES
BANDS = "bands"
"""The mode of a TIFF whose bands were chosen."""

_MOST_PIXELS = 1 << 30  # of a picture that is read by those who mean it
_SIXTEEN_BITS = frozenset({"PNG", "PPM"})  # formats whose mode I is always 16-bit grey
_PHOTOMETRIC, _BITS, _PLANAR, _SAMPLE_FORMAT = 262, 258, 284, 339  # tags of TIFF
_WITH_ALPHA = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


class Unreadable(Exception):
    """The file holds no readable image; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image before it is resized.

    Attributes:
        pixels: (H, W, C) uint8; of a large JPEG at a fraction of the size in the file.
        mode: Pillow's mode of the image in the file.
        size: height and width of the image in the file, upright.
    """

    pixels: np.ndarray
    mode: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The facts in an image file's header.

    Attributes:
        size: height and width, before it is turned as EXIF says.
        mode: Pillow's, or `BANDS`.
    """

    size: tuple[int, int]
    mode: str


def decode(
    content: bytes,
    channels: int,
    *,
    draft: int | None = None,
    large: bool = False,
    grey_range: tuple[float, float] | None = None,
    bands: tuple[int, ...] = (),
) -> Decoded:
    """Returns the image in a file's bytes, (H, W, C) uint8.

    Args:
        content: the file.
        channels: C, 1 or 3.
        draft: least pixels of the shorter side; a JPEG may then be decoded at a fraction.
        large: read pictures of more than 90 megapixels, too.
        grey_range: values of deep grey that become 0 and 255; None for the rule `RULE`.
        bands: of a TIFF of many, from 1, scaled by `grey_range`; () to read it as it is.

    Raises:
        Unreadable: the file is empty, torn, no image, or too large to be one.
    """
    if bands:
        values = _bands(content, bands)
        pixels = _scaled(values, *(grey_range or (0.0, 255.0))).astype(np.uint8)
        return Decoded(pixels, BANDS, (pixels.shape[0], pixels.shape[1]))
    if (plain := quick_jpeg(content, channels, draft)) is not None:
        return Decoded(*plain)
    with _opened(content, large=large) as image:
        return _decode_open(image, channels, draft, grey_range)


def deep_range(content: bytes, bands: tuple[int, ...] = ()) -> tuple[float, float] | None:
    """Returns the least and the greatest value of deep grey, or of bands; None for other images.

    Raises:
        Unreadable: the file is empty, torn, no image, or too large to be one.
    """
    if bands:
        return _finite_range(_bands(content, bands))
    with _opened(content, large=True) as image:
        return _finite_range(_deep_values(image, image)) if image.mode in DEEP_MODES else None


def _finite_range(values: np.ndarray) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _bands(content: bytes, bands: tuple[int, ...]) -> np.ndarray:
    """Returns chosen bands, (H, W, C) float64; whatever is wrong with the file is `Unreadable`."""
    try:
        return band_values(content, bands)
    except BandsMissing as error:
        raise Unreadable(str(error)) from None
    # On damaged files tifffile raises many types: TiffFileError, struct.error, ValueError, …
    except Exception as error:
        raise Unreadable(f"no TIFF whose bands can be read: {str(error)[:80]}") from None


def _deep_values(image: Image.Image, file: Image.Image) -> np.ndarray:
    """Returns the values of an image in deep grey, float64; `file` has the tags."""
    values = np.asarray(image)
    # Pillow has no whole numbers of 32 bits without a sign: those above 2^31 come as negative.
    if image.mode == "I" and file.format == "TIFF" and _tag(file, _SAMPLE_FORMAT) in (None, 1):
        values = values.view(np.uint32) if _tag(file, _BITS) == 32 else values
    return values.astype(np.float64)


@contextmanager
def _opened(content: bytes, *, large: bool) -> Iterator[Image.Image]:
    """Yields an image; whatever is wrong with it, here or in the block, is `Unreadable`."""
    if not content:
        raise Unreadable("the file is empty")
    register_openers()
    try:
        with warnings.catch_warnings(), _limit(large=large):
            warnings.simplefilter("ignore")
            if not large:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                yield image
    except Image.DecompressionBombWarning as error:
        text = f"too many pixels, a decompression bomb? ({error}); --large-images reads it"
        raise Unreadable(text) from None
    except Image.DecompressionBombError as error:
        known = "" if large else "; --large-images reads it"
        raise Unreadable(f"too many pixels, a decompression bomb? ({error}){known}") from None
    except UnidentifiedImageError:
        reason = unread_tiff(content) or foreign_content(content)
        raise Unreadable(reason or "not an image that Pillow can read") from None
    except MemoryError:
        raise Unreadable("too large for the memory") from None
    except Unreadable:
        raise
    # On damaged files Pillow's decoders raise many types: struct.error, KeyError, …
    except Exception as error:
        raise Unreadable(f"torn or damaged: {str(error) or type(error).__name__}") from None


@contextmanager
def _limit(*, large: bool) -> Iterator[None]:
    """Raises Pillow's limit of pixels for those who mean it, and puts it back."""
    before = Image.MAX_IMAGE_PIXELS
    if large:
        Image.MAX_IMAGE_PIXELS = _MOST_PIXELS // 2  # Pillow refuses what has twice as many
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def decode_image(
    image: Image.Image, channels: int, grey_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Returns an image that is open already, (H, W, C) uint8, by the same rule as a file's.

    Args:
        image: of any mode.
        channels: C, 1 or 3.
        grey_range: values of deep grey that become 0 and 255; None for the rule `RULE`.
    """
    return _decode_open(image, channels, None, grey_range).pixels


def _decode_open(
    image: Image.Image,
    channels: int,
    draft: int | None,
    grey_range: tuple[float, float] | None,
) -> Decoded:
    mode, sides = image.mode, image.size
    _refuse_misread(image)
    if draft and image.format == "JPEG" and min(sides) >= 2 * draft:
        image.draft(None, (2 * draft, 2 * draft))
    image.load()
    upright = _upright(image)
    if upright.mode in DEEP_MODES:
        inverted = image.format == "TIFF" and _tag(image, _PHOTOMETRIC) == 0
        if grey_range is None:
            upright = _eight_bits(upright, image.format)
        else:
            scaled = _scaled(_deep_values(upright, image), *grey_range)
            upright = Image.fromarray(scaled.astype(np.uint8))
        if inverted:  # white is zero: Pillow inverts 8 bits and fewer only
            upright = ImageOps.invert(upright)
    tall = upright.height > upright.width
    size = (max(sides), min(sides)) if tall else (min(sides), max(sides))
    return Decoded(_pixels(upright, channels), mode, size)


def _tag(image: Image.Image, number: int) -> Any:
    """Returns the value of a TIFF tag, the first where it has several; None without it."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value


def _refuse_misread(image: Image.Image) -> None:
    """Raises `Unreadable` for a TIFF that Pillow misreads: 16-bit planes, 8 bits with a sign."""
    if image.format != "TIFF":
        return
    bits = _tag(image, _BITS)
    if bits == 8 and _tag(image, _SAMPLE_FORMAT) == 2:
        raise Unreadable(
            "a TIFF of 8 bits with a sign, which Pillow misreads; tifffile reads it: --bands 1"
        )
    if _tag(image, _PLANAR) == 2 and isinstance(bits, int) and bits > 8:
        raise Unreadable(
            f"a planar TIFF of {bits} bits, which Pillow misreads; tifffile reads it: --bands 1,2,3"
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # Images with a damaged EXIF block are common and otherwise whole.
        return image


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    if image.mode == "LAB":
        image = _from_lab(image)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)
        layer = image.convert(straight).convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layer)
    image = image.convert("L" if channels == 1 else "RGB")
    return np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    turned = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert turned is not None
    return turned


def _eight_bits(image: Image.Image, format_name: str | None) -> Image.Image:
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and format_name in _SIXTEEN_BITS):
        small = values.clip(0, 65535).astype(np.uint32) // 257
    elif image.mode == "I" and values.min() >= 0 and values.max() <= 65535:
        small = values if values.max() <= 255 else values // 257
    else:
        small = _by_own_range(values.astype(np.float64))
    return Image.fromarray(small.astype(np.uint8))


def _by_own_range(values: np.ndarray) -> np.ndarray:
    """Returns values scaled to 0 at the least finite one and 255 at the greatest; NaN becomes 0."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise Unreadable("it holds no finite value")
    return _scaled(values, float(finite.min()), float(finite.max()))


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns values with `low` and all below as 0, `high` and above as 255; NaN becomes 0."""
    scaled = (values.clip(low, high) - low) * (255 / (high - low) if high > low else 0.0)
    return np.nan_to_num(scaled).round()


def fit_square(
    pixels: np.ndarray,
    size: int,
    fit: str = "crop",
    *,
    interpolation: str = INTERPOLATION,
    crop_share: float = 1.0,
) -> np.ndarray:
    """Returns an image as a square.

    Args:
        pixels: (H, W, C) uint8; what is neither grey nor colour goes band by band, as grey does.
        size: S, pixels a side.
        fit: crop resizes the shorter side to S and cuts out the middle; pad resizes the longer
            side and adds black on both sides; squash resizes each side.
        interpolation: lanczos, bicubic or bilinear, each over the area that a pixel covers.
        crop_share: share of the side that crop keeps, in (0, 1]; timm's crop_pct.

    Returns:
        (S, S, C) uint8.
    """
    height, width, channels = pixels.shape
    if height == width == size and (fit != "crop" or crop_share == 1.0):
        return pixels
    if channels not in PLAIN:
        one_by_one = (
            fit_square(band, size, fit, interpolation=interpolation, crop_share=crop_share)
            for band in np.split(pixels, channels, axis=2)
        )
        return np.concatenate(list(one_by_one), axis=2)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    method = _METHODS[interpolation]
    if fit == "pad" and height != width:
        return _padded(image, size, channels, method)
    if fit in ("pad", "squash"):
        image = image.resize((size, size), method, reducing_gap=3.0)
        return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
    side = min(height, width) * crop_share
    left, top = (width - side) / 2, (height - side) / 2
    # Cropping while resizing: of 1×60,000 pixels only a square is ever allocated.
    image = image.resize(
        (size, size),
        method,
        box=(left, top, left + side, top + side),
        reducing_gap=3.0,
    )
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def _padded(image: Image.Image, size: int, channels: int, method: Image.Resampling) -> np.ndarray:
    longer = max(image.size)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    small = image.resize((width, height), method, reducing_gap=3.0)
    square = np.zeros((size, size, channels), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    values = np.asarray(small, dtype=np.uint8).reshape(height, width, channels)
    square[top : top + height, left : left + width] = values
    return square


def read_header(file: str | Path | BinaryIO, *, banded: bool = False) -> ImageHeader | None:
    """Returns the header of an image file, or None if it is no image.

    Args:
        file: its path, or its bytes.
        banded: whether it is a TIFF whose bands are chosen; `file` holds its bytes then.
    """
    register_openers()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if banded and isinstance(file, io.BytesIO):
                return ImageHeader(size=banded_size(file.getvalue()), mode=BANDS)
            with Image.open(file) as image:
                return ImageHeader(size=(image.height, image.width), mode=image.mode)
    except Exception:
        return None
