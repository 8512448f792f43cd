"""The scale of grey of more than 8 bits: one for all images of a set, from their own values.

Whole numbers of 16 bits that use their range are divided by 257. What uses less than a quarter of
it (12 bits in 16, X-rays), is signed, or has 32 bits is scaled by the least and the greatest value
of the set. The same value is then the same grey in every image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ravine.data.collection import FileEntry
from ravine.data.decode import DEEP_MODES, SIXTEEN_BIT_MODES, Unreadable, deep_range
from ravine.data.image_file import read_image_bytes
from ravine.data.settings import DataSettings

_SAMPLE = 2000  # files that are read for the range
_WIDE = 1 << 14  # of 2^16 values: from a quarter on, 64 of 256 levels and more are used


@dataclass(frozen=True, slots=True)
class GreyScale:
    """Values that become black and white.

    Attributes:
        low: becomes 0, as does all below.
        high: becomes 255, as does all above.
        said: the scale in a clause.
    """

    low: float
    high: float
    said: str


def grey_scale(
    files: Sequence[FileEntry], modes: frozenset[str], settings: DataSettings
) -> GreyScale | None:
    """Returns the scale of a set's deep grey; None where there is none, or 257 divides it.

    Args:
        files: of the images; none where they are arrays.
        modes: Pillow's modes that occur.
        settings: `grey_range`, and `bands`, whose values are scaled as deep grey is.
    """
    bands = settings.band_numbers
    if not files or not (bands or modes & DEEP_MODES):
        return None
    sample = files[:: max(1, len(files) // _SAMPLE)]
    ranges = [found for entry in sample if (found := _range(entry, bands)) is not None]
    if not ranges:
        return None
    low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
    plain = not bands and modes & DEEP_MODES <= SIXTEEN_BIT_MODES and low >= 0
    if plain and high >= _WIDE and settings.grey_range == "auto":
        return None
    of = "" if len(sample) == len(files) else f" (of {len(sample):,} of {len(files):,} files)"
    what, become = ("bands", "become") if bands else ("deep grey", "becomes")
    return GreyScale(low, high, f"{what} from {low:g} to {high:g}{of} {become} 0 to 255 in all")


def _range(entry: FileEntry, bands: tuple[int, ...]) -> tuple[float, float] | None:
    try:
        return deep_range(read_image_bytes(entry), bands)
    except Unreadable:
        return None
