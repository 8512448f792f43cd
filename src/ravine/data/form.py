"""Which size and how many channels fit the images, by a stated rule."""

from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.decode import RULE, read_head
from ravine.data.settings import DataSettings
from ravine.data.store import Form

_SIZES = (32, 48, 64, 96, 128, 160, 192, 224)
_KEPT_UP_TO = 96  # pixels a side up to which images of one square size stay as they are
_SAMPLE = 500


def choose_form(collection: Collection, settings: DataSettings) -> tuple[Form, str]:
    """Returns size and channels, and the rule in a sentence.

    Raises:
        DataError: none of a sample of files is an image.
    """
    sides, square, grey = _look(collection)
    channels = int(settings.channels) if settings.channels != "auto" else (1 if grey else 3)
    if settings.image_size is not None:
        size, why = settings.image_size, "as asked"
    elif square and sides.min() == sides.max() and 8 <= sides[0] <= _KEPT_UP_TO:
        size, why = int(sides[0]), "the size of all images"
    else:
        middle = float(np.median(sides))
        size = max([s for s in _SIZES if s <= middle] or [_SIZES[0]])
        why = f"from the median of the shorter sides, {middle:.0f}"
    form = Form(image_size=size, channels=channels)
    colour = "grey" if channels == 1 else "colour"
    rule = (
        f"images become {size}×{size} {colour} ({why}): shorter side resized, middle cut out; "
        f"{RULE}"
    )
    return form, rule


def _look(collection: Collection) -> tuple[np.ndarray, bool, bool]:
    """Returns shorter sides, whether all are square, and whether all are grey."""
    if collection.pixels is not None:
        height, width, channels = collection.pixels.shape[1:]
        return np.array([min(height, width)]), height == width, channels == 1
    step = max(1, len(collection.files) // _SAMPLE)
    heads = [read_head(Path(entry.path)) for entry in collection.files[::step]]
    if not any(heads):
        heads = [read_head(Path(entry.path)) for entry in collection.files]
    seen = [head for head in heads if head is not None]
    if not seen:
        first = collection.names[0]
        raise DataError(f"none of the {len(collection.files)} files is an image, such as {first!r}")
    sides = np.array([abs(side) for side, _ in seen])
    return sides, all(side > 0 for side, _ in seen), all(grey for _, grey in seen)
