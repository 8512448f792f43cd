"""What decoding leaves out of files: frames after the first, and bands beyond the colours.

Asked of a sample of the files whose formats may hold them. Loads no torch.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath

from PIL import Image

from ravine.data.collection import Collection, FileEntry
from ravine.data.decode import Unreadable
from ravine.data.image_file import read_image_bytes
from ravine.data.settings import DataSettings

_ENDINGS = frozenset({".tif", ".tiff", ".gif", ".webp"})
_SAMPLE = 100  # files
_SAMPLES_PER_PIXEL = 277  # tag of TIFF
_COLOURS = 3


def unseen_notes(collection: Collection, settings: DataSettings) -> list[str]:
    """Returns warnings in sentences; none where bands are chosen, or all of the files is read."""
    if settings.bands:
        return []
    files = [
        (name, entry)
        for name, entry in zip(collection.names, collection.files, strict=False)
        if PurePosixPath(name).suffix.lower() in _ENDINGS
    ]
    sample = files[:: max(1, len(files) // _SAMPLE)]
    beyond = [(name, *_frames_and_bands(entry)) for name, entry in sample]
    frames = [(name, count) for name, count, _ in beyond if count > 1]
    bands = [(name, count) for name, _, count in beyond if count > _COLOURS]
    notes = []
    if frames:
        notes.append(f"{_of(frames, sample)} pages or frames; the first is read")
    if bands:
        notes.append(
            f"{_of(bands, sample)} bands; the first three are read, others with --bands 4,3,2"
        )
    return notes


def _of(found: Sequence[tuple[str, int]], sample: Sequence[object]) -> str:
    name, count = found[0]
    return f"{len(found):,} of {len(sample):,} files looked at, such as {name!r}, have {count}"


def _frames_and_bands(entry: FileEntry) -> tuple[int, int]:
    """Returns the number of frames, and of bands where Pillow takes an image for RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(read_image_bytes(entry))) as image:
                tags = getattr(image, "tag_v2", {})
                bands = tags.get(_SAMPLES_PER_PIXEL, 1) if image.mode == "RGB" else 1
                return int(getattr(image, "n_frames", 1)), int(bands)
    except Unreadable:
        return 1, 1
    # On damaged files Pillow raises many types; the audit names them.
    except Exception:
        return 1, 1
