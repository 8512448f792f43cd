"""What decoding loses of the images: area that is cut off, levels of grey that are not used.

Shape letters: N images, S height and width, C channels.
"""

import numpy as np

from ravine.data.decoded_cache import DecodedCache
from ravine.data.image_file import ImageFormat

_CUT = 0.25  # share of the area that may be cut off before it is reported
_LEVELS = 64  # of 256 levels of grey, fewer are reported
_SAMPLE = 200  # images
_DIVIDED = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_BY_OWN_RANGE = frozenset({"I", "F"})


def image_notes(decoded: DecodedCache, image_format: ImageFormat) -> list[str]:
    """Returns warnings in sentences; none where little is lost.

    Args:
        decoded: of N images, (S, S, C) uint8 each.
        image_format: that they are brought to.
    """
    notes = []
    if image_format.fit == "crop":
        notes += _about_area(decoded.sizes[decoded.readable])
    if image_format.grey_range is None:
        notes += _about_levels(decoded)
    return notes


def _about_area(sizes: np.ndarray) -> list[str]:
    if not len(sizes):
        return []
    lost = 1 - sizes.min(1) / np.maximum(1, sizes.max(1))
    median = float(np.median(lost))
    if median < _CUT:
        return []
    return [
        f"the middle is cut out, and {100 * median:.0f} % of the area of the median image is lost; "
        "--fit pad or --fit squash keeps all of it"
    ]


def _about_levels(decoded: DecodedCache) -> list[str]:
    """Returns a sentence where 16-bit grey images use few of the 256 levels that are kept."""
    modes = {decoded.mode_names[mode] for mode in np.unique(decoded.modes[decoded.readable])}
    if modes & _BY_OWN_RANGE:
        return [
            "grey of 32 bits, or signed, is scaled image by image, so that equal values differ "
            "between images; --grey-range set scales all by one range"
        ]
    if decoded.images is None or not modes or not modes <= _DIVIDED:
        return []
    readable = np.flatnonzero(decoded.readable)
    sample = readable[:: max(1, len(readable) // _SAMPLE)]
    most = max(int(decoded.images[int(index)].max()) for index in sample)
    if most + 1 >= _LEVELS:
        return []
    return [
        f"16-bit grey is divided by 257, and these images use {most + 1} of 256 levels; "
        "--grey-range set scales all images by their own range"
    ]
