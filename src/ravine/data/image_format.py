"""Which size and how many channels fit the images, by a stated rule.

The heads of a sample of files give a first answer, which decoding needs. Decoding then sees
every image; where that gives another answer, it is done again.
"""

import io
from dataclasses import dataclass

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection, FileEntry
from ravine.data.decode import GREY_MODES, RULE, Head, Unreadable, read_head
from ravine.data.decoded_cache import Form, Store, content_of
from ravine.data.settings import DataSettings

_SIZES = (32, 48, 64, 96, 128, 160, 192, 224)
_KEPT_UP_TO = 96  # pixels a side up to which images of one square size stay as they are
_SAMPLE = 500


@dataclass(frozen=True, slots=True)
class _Look:
    """Shorter sides, and whether all images are square and all are grey."""

    sides: np.ndarray
    square: bool
    grey: bool


def choose_form(collection: Collection, settings: DataSettings) -> tuple[Form, str]:
    """Returns size and channels, and the rule in a sentence, from the heads of a sample of files.

    Raises:
        DataError: no file is an image.
    """
    return _rule(_look_at_heads(collection), settings)


def confirm_form(
    collection: Collection, store: Store, settings: DataSettings
) -> tuple[Form, str] | None:
    """Returns what `choose_form` does, from all images now that they are decoded.

    None where no image could be decoded.
    """
    if collection.pixels is not None:
        return choose_form(collection, settings)
    readable = np.ones(len(collection.names), dtype=bool)
    readable[list(store.unreadable)] = False
    if not readable.any():
        return None
    sizes = store.sizes[readable]
    modes = {store.mode_names[place] for place in np.unique(store.modes[readable])}
    look = _Look(
        sides=sizes.min(1),
        square=bool((sizes[:, 0] == sizes[:, 1]).all()),
        grey=modes <= GREY_MODES,
    )
    return _rule(look, settings)


def _rule(look: _Look, settings: DataSettings) -> tuple[Form, str]:
    sides = look.sides
    if settings.channels != "auto":
        channels, colour = int(settings.channels), "as asked"
    elif look.grey:
        channels, colour = 1, "every image is grey"
    else:
        channels, colour = 3, "not every image is grey"
    if settings.image_size is not None:
        size, why = settings.image_size, "as asked"
    elif look.square and sides.min() == sides.max() and 8 <= sides[0] <= _KEPT_UP_TO:
        size, why = int(sides[0]), "the size of all images"
    else:
        middle = float(np.median(sides))
        size = max([s for s in _SIZES if s <= middle] or [_SIZES[0]])
        why = f"from the median of the shorter sides, {middle:.0f}"
    rule = (
        f"images become {size}×{size} ({why}), {'grey' if channels == 1 else 'colour'} ({colour}): "
        f"shorter side resized, middle cut out; {RULE}"
    )
    return Form(image_size=size, channels=channels), rule


def _look_at_heads(collection: Collection) -> _Look:
    if collection.pixels is not None:
        height, width, channels = collection.pixels.shape[1:]
        return _Look(np.array([min(height, width)]), height == width, channels == 1)
    step = max(1, len(collection.files) // _SAMPLE)
    heads = [_head(entry) for entry in collection.files[::step]]
    if not any(heads):
        heads = [_head(entry) for entry in collection.files]
    seen = [head for head in heads if head is not None]
    if not seen:
        first = collection.names[0]
        raise DataError(f"none of the {len(collection.files)} files is an image, such as {first!r}")
    return _Look(
        sides=np.array([head.side for head in seen]),
        square=all(head.square for head in seen),
        grey=all(head.grey for head in seen),
    )


def _head(entry: FileEntry) -> Head | None:
    if entry.offset is None:
        return read_head(entry.path)
    try:
        return read_head(io.BytesIO(content_of(entry)))
    except Unreadable:
        return None
