"""One image of any kind that Pillow reads becomes (S, S, C) uint8, by a stated rule.

This file and what it imports load no torch: decoding runs in processes of its own.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

RULE = (
    "turned as EXIF says; first frame of animations; transparency on white; 16-bit grey by its "
    "upper byte, other deep grey by its own range; CMYK and palettes to RGB"
)
GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F"})
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I", "F"})
_WITH_ALPHA = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


class Unreadable(Exception):
    """A file is no image that can be read; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image before it is resized.

    Attributes:
        pixels: (H, W, C) uint8.
        mode: Pillow's name of what the file holds.
    """

    pixels: np.ndarray
    mode: str


def decode(content: bytes, channels: int, *, draft: int | None = None) -> Decoded:
    """Returns the image in a file's bytes with 1 or 3 channels.

    Args:
        content: the file.
        channels: 1 or 3.
        draft: pixels that the shorter side needs; a JPEG may then be decoded at a fraction.

    Raises:
        Unreadable: the file is empty, torn, no image, or too large to be one.
    """
    if not content:
        raise Unreadable("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)
            with Image.open(io.BytesIO(content)) as image:
                mode = image.mode
                if draft and image.format == "JPEG" and min(image.size) >= 2 * draft:
                    image.draft(None, (2 * draft, 2 * draft))
                image.load()
                upright = ImageOps.exif_transpose(image)
                return Decoded(_pixels(upright, channels), mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(f"too many pixels, a decompression bomb? ({error})") from None
    except UnidentifiedImageError:
        raise Unreadable("not an image that Pillow can read") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as error:
        raise Unreadable(f"torn or damaged: {error}") from None
    except MemoryError:
        raise Unreadable("too large for the memory") from None


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    if image.mode in _DEEP:
        image = _eight_bits(image)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layer)
    image = image.convert("L" if channels == 1 else "RGB")
    return np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey by its upper byte (v // 257 rounds to the same 256 steps); others by range."""
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (values.min() >= 0 and 255 < values.max() <= 65535):
        return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))
    if values.min() >= 0 and values.max() <= 255 and image.mode == "I":
        return Image.fromarray(values.astype(np.uint8))
    finite = np.nan_to_num(values.astype(np.float64))
    low, high = finite.min(), finite.max()
    scale = 255 / (high - low) if high > low else 0.0
    return Image.fromarray(((finite - low) * scale).round().astype(np.uint8))


def fit_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Returns the image with its shorter side resized to `size` and its middle cut out.

    Args:
        pixels: (H, W, C) uint8.
        size: pixels a side.
    """
    height, width, channels = pixels.shape
    if height == width == size:
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    shorter = min(height, width)
    side = (max(size, round(width * size / shorter)), max(size, round(height * size / shorter)))
    image = image.resize(side, Image.Resampling.LANCZOS, reducing_gap=3.0)
    left, top = (side[0] - size) // 2, (side[1] - size) // 2
    image = image.crop((left, top, left + size, top + size))
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def read_head(path: Path) -> tuple[int, bool] | None:
    """Returns the shorter side and whether the image is square and grey is all it holds.

    The sign of the side is negative for images that are not square. None if unreadable.
    """
    try:
        with Image.open(path) as image:
            shorter = min(image.size)
            square = image.size[0] == image.size[1]
            return (shorter if square else -shorter), image.mode in GREY_MODES
    except Exception:
        return None
