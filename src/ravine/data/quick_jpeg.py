"""Plain JPEGs decoded by simplejpeg where it is installed: the same bits as by Pillow, sooner.

https://gitlab.com/jfolz/simplejpeg binds libjpeg-turbo, the library inside Pillow, without what
Pillow does around it. Only a file that is plain from its first marker to its last is decoded here:
baseline or progressive, 8 bits, grey or YCbCr as JFIF has them, upright. Whatever else a file is,
torn, turned by EXIF, of Adobe's colours, several pictures, too large, Pillow decodes and judges.

Builds of the library may differ, so each process first decodes some JPEGs of its own with both,
and leaves all to Pillow where a bit differs. Pixels do not depend on the choice, nor do caches.

Loads no torch.
"""

import io
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
from PIL import Image

_LIBRARY = "simplejpeg"
_SCALES = (8, 4, 2, 1)
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive
_PASSED_OVER = frozenset({0xC4, 0xDD, 0xFE})  # Huffman tables, restarts, comments
_QUANTIZATION, _JFIF, _EXIF, _ICC, _SCAN = 0xDB, 0xE0, 0xE1, 0xE2, 0xDA
_ORIENTATION = 0x0112
_COMPONENTS = {1: "GRAY", 3: "RGB"}


def quick_jpeg(
    content: bytes, channels: int, draft: int | None
) -> tuple[np.ndarray, str, tuple[int, int]] | None:
    """Returns a plain JPEG: pixels (H, W, C) uint8, Pillow's mode, and (height, width) in the file.

    Args:
        content: the file.
        channels: C, 1 or 3.
        draft: least pixels of the shorter side, as `decode` has it.

    Returns:
        None where Pillow has to decode the file.
    """
    if content[:3] != b"\xff\xd8\xff" or content[-2:] != b"\xff\xd9" or not _is_pillow_s():
        return None
    found = _plain_frame(content)
    if found is None:
        return None
    height, width, components = found
    scale = _scale(height, width, draft)
    pixels = _decoded(content, height, width, scale, _COMPONENTS[components])
    if pixels is None:
        return None
    mode = "L" if components == 1 else "RGB"
    if channels > components:
        pixels = np.repeat(pixels, channels, axis=2)
    elif channels < components:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return pixels, mode, (height, width)


def _scale(height: int, width: int, draft: int | None) -> int:
    """Returns the fraction at which Pillow's draft mode decodes: 1, 2, 4 or 8."""
    if not draft or min(height, width) < 2 * draft:
        return 1
    most = min(height, width) // (2 * draft)
    return next(scale for scale in _SCALES if most >= scale)


def _decoded(
    content: bytes, height: int, width: int, scale: int, colours: str
) -> np.ndarray | None:
    """Returns the pixels, at a fraction of the size; None where the file is not in order."""
    least = (-(-height // scale), -(-width // scale))
    try:
        pixels: np.ndarray = _library().decode_jpeg(
            content, colours, min_height=least[0], min_width=least[1]
        )
    except (ValueError, MemoryError):  # also for what is only a warning to the library
        return None
    return pixels if pixels.shape[:2] == least else None


def _plain_frame(content: bytes) -> tuple[int, int, int] | None:
    """Returns height, width and components; None where the markers are not a plain JPEG's."""
    at, frame, exifs = 2, None, 0
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        body = content[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            return None
        if marker == _SCAN:
            return frame
        if marker in _FRAMES:
            if frame is not None or (frame := _frame(body)) is None:
                return None
        elif marker == _EXIF:
            exifs += 1
            if exifs > 1 or not _is_upright(body):
                return None
        elif not _is_plain(marker, body):
            return None
        at += 2 + length
    return None


def _frame(body: bytes) -> tuple[int, int, int] | None:
    if len(body) < 6 or body[0] != 8 or body[5] not in _COMPONENTS or len(body) != 6 + 3 * body[5]:
        return None
    height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    if not 0 < height * width <= (Image.MAX_IMAGE_PIXELS or 0):
        return None
    return height, width, body[5]


def _is_plain(marker: int, body: bytes) -> bool:
    """Returns whether a segment changes no colours, and Pillow has no doubts of it."""
    if marker == _QUANTIZATION:
        at = 0
        while at < len(body):
            at += 65 if body[at] < 16 else 129
        return at == len(body)
    if marker == _JFIF:
        return body[:5] == b"JFIF\0" and len(body) >= 14
    if marker == _ICC:
        return body[:12] == b"ICC_PROFILE\0"
    return marker in _PASSED_OVER


def _is_upright(body: bytes) -> bool:
    """Returns whether a segment is EXIF that does not turn the picture."""
    if body[:6] != b"Exif\0\0":
        return False
    exif = Image.Exif()
    try:
        exif.load(body)
        return exif.get(_ORIENTATION, 1) == 1
    except Exception:  # as of damaged TIFFs, many types
        return False


def _library() -> Any:
    return import_module(_LIBRARY)


@cache
def _is_pillow_s() -> bool:
    """Returns whether simplejpeg is there and gives Pillow's bits, on JPEGs made here."""
    if find_spec(_LIBRARY) is None:
        return False
    try:
        return all(_agree(content) for content in _trial_files())
    except Exception:  # a library that does not load, or has another interface
        return False


def _trial_files() -> list[bytes]:
    """Returns JPEGs of all that plain ones differ in: subsampling, colours, tables, progress."""
    noise = np.random.default_rng(0).integers(0, 256, (53, 45, 3), np.uint8)
    kinds = [("RGB", *rest) for rest in product((0, 1, 2), (False, True))]
    files = []
    for mode, subsampling, progressive in [*kinds, ("L", 0, False)]:
        file = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(
            file, "JPEG", quality=60, subsampling=subsampling, progressive=progressive
        )
        files.append(file.getvalue())
    return files


def _agree(content: bytes) -> bool:
    """Returns whether both libraries give the same bits at each scale."""
    found = _plain_frame(content)
    if found is None:
        return False
    height, width, components = found
    for scale in _SCALES:
        with Image.open(io.BytesIO(content)) as image:
            if scale > 1:
                image.draft(None, (width // scale, height // scale))
            wanted = np.asarray(image).reshape(image.height, image.width, components)
        pixels = _decoded(content, height, width, scale, _COMPONENTS[components])
        if pixels is None or not np.array_equal(pixels, wanted):
            return False
    return True
