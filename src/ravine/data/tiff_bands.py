"""What the head of a TIFF says: satellite and scientific images hold what Pillow does not read.

TIFF 6.0: tags 258 BitsPerSample, 277 SamplesPerPixel, 339 SampleFormat. Loads no torch.
"""

import struct
from collections.abc import Mapping

_BITS, _SAMPLES, _FORMAT = 258, 277, 339
_MOST_TAGS = 4096
_PLAIN = frozenset({1, 3})  # grey or RGB: it is not the bands that are wrong
_SHORT = 3  # the kind of a value of two bytes
_FLOATING, _COMPLEX = 3, frozenset({5, 6})  # values of SampleFormat


def tiff_head(content: bytes) -> Mapping[int, int] | None:
    """Returns the first value of the three tags, of the first image; None if it is no TIFF.

    >>> head = b"II*\\0" + struct.pack("<IHHHIHHI", 8, 1, 277, 3, 1, 13, 0, 0)
    >>> tiff_head(head), tiff_head(b"no TIFF")
    ({277: 13}, None)
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return None
    found: dict[int, int] = {}
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (tags,) = struct.unpack_from(f"{order}H", content, start)
        for number in range(min(tags, _MOST_TAGS)):
            at = start + 2 + 12 * number
            tag, kind, count = struct.unpack_from(f"{order}HHI", content, at)
            if tag in (_BITS, _SAMPLES, _FORMAT):
                found[tag] = _first_value(content, order, kind, count, at + 8)
    except struct.error:
        return None
    return found


def _first_value(content: bytes, order: str, kind: int, count: int, at: int) -> int:
    """Returns a value, or the first of several, which lie elsewhere if they take over four bytes.

    Raises:
        struct.error: the file ends before.
    """
    size, letter = (2, "H") if kind == _SHORT else (4, "I")
    if size * count > 4:
        (at,) = struct.unpack_from(f"{order}I", content, at)
    return int(struct.unpack_from(f"{order}{letter}", content, at)[0])


def tiff_bands(content: bytes) -> int | None:
    """Returns the bands of the first image of a TIFF; None if the bytes are no TIFF."""
    head = tiff_head(content)
    return None if head is None else head.get(_SAMPLES, 1)


def unread_tiff(content: bytes) -> str | None:
    """Returns why a TIFF is not read, and what reads it; None if its head does not say."""
    head = tiff_head(content)
    if head is None:
        return None
    bands, bits, kind = head.get(_SAMPLES, 1), head.get(_BITS, 1), head.get(_FORMAT, 1)
    if kind in _COMPLEX:
        return "a TIFF of complex numbers; save their absolute values"
    if bands not in _PLAIN:
        three = "name three of them, or one: --bands 4,3,2"
        return f"a TIFF of {bands} bands; {three if bands > max(_PLAIN) else 'name one: --bands 1'}"
    if kind == _FLOATING or bits > 16:
        what = "floating-point" if kind == _FLOATING else "whole"
        asked = "1" if bands == 1 else "1,2,3"
        return f"a TIFF of {what} numbers of {bits} bits; tifffile reads them: --bands {asked}"
    return None
