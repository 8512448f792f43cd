"""Whether images are decoded once before training or again and again while it runs."""

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ravine.core.errors import SettingError
from ravine.core.memory import available_memory
from ravine.data.cache_writer import cache_key, cache_root
from ravine.data.collection import Collection
from ravine.data.decoded_cache import Form
from ravine.data.settings import DataSettings

_SHARE_OF_MEMORY = 0.5  # of what is free: the rest is the network's, and the system's
_ROOM_ON_DISK = 1.05  # times the images: what is learnt of them lies beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How images are read.

    Attributes:
        streamed: decoded while training.
        why: a part of a sentence.
    """

    streamed: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def choose_reading(collection: Collection, form: Form, settings: DataSettings) -> Reading:
    """Returns how the images of a collection are read.

    Raises:
        SettingError: decoding while training is asked for where there are no files to decode.
    """
    if collection.pixels is not None:
        if settings.stream == "on":
            raise SettingError(
                f"stream on: {settings.data} is one array and read whole; only image files and tar "
                "shards can be decoded while training; leave --stream out"
            )
        return Reading(streamed=False, why="the source is one array")
    if settings.stream != "auto":
        return Reading(streamed=settings.stream == "on", why="as asked")
    needed = len(collection.files) * form.image_size**2 * form.channels
    memory = available_memory()
    if memory is not None and needed > _SHARE_OF_MEMORY * memory:
        why = f"decoded they are {_size(needed)}, more than half of {_size(memory)} of free memory"
        return Reading(streamed=True, why=why)
    folder, room = _disk(collection, form, settings)
    if room is not None and _ROOM_ON_DISK * needed > room:
        why = f"decoded they are {_size(needed)}, and {folder} has {_size(room)} of free space"
        return Reading(streamed=True, why=why)
    return Reading(streamed=False, why=f"decoded they are {_size(needed)}, which fits memory")


def _disk(collection: Collection, form: Form, settings: DataSettings) -> tuple[Path, float | None]:
    """Returns where decoded images are kept, and the free space there; None if they are there."""
    folder = cache_root() if settings.cache else Path(tempfile.gettempdir())
    if settings.cache and (folder / cache_key(collection, form)).is_dir():
        return folder, None
    there = next((place for place in (folder, *folder.parents) if place.is_dir()), Path("/"))
    return folder, shutil.disk_usage(there).free


def _size(count: float) -> str:
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6)):
        if count >= bytes_:
            return f"{count / bytes_:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
