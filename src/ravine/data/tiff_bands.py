"""How many bands a TIFF says that it has: satellite images have more than Pillow reads.

TIFF 6.0, tag 277, SamplesPerPixel. Loads no torch.
"""

import struct

_SAMPLES_PER_PIXEL = 277
_MOST_TAGS = 4096
_PLAIN = frozenset({1, 3})  # grey or RGB: it is not the bands that are wrong


def tiff_bands(content: bytes) -> int | None:
    """Returns the bands of the first image of a TIFF; None if the bytes are no TIFF.

    >>> head = b"II*\\0" + struct.pack("<IHHHIHHI", 8, 1, 277, 3, 1, 13, 0, 0)
    >>> tiff_bands(head), tiff_bands(b"no TIFF")
    (13, None)
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (tags,) = struct.unpack_from(f"{order}H", content, start)
        for number in range(min(tags, _MOST_TAGS)):
            at = start + 2 + 12 * number
            tag, kind, _, value = struct.unpack_from(f"{order}HHI4s", content, at)
            if tag == _SAMPLES_PER_PIXEL:
                return int(struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", value)[0])
    except struct.error:
        return None
    return 1


def many_bands(content: bytes) -> str | None:
    """Returns why a TIFF that Pillow refuses is not read, if it is for its bands; else None."""
    bands = tiff_bands(content)
    if bands is None or bands in _PLAIN:
        return None
    return f"a TIFF of {bands} bands; name three of them, or one: --bands 4,3,2"
