"""Whether images are decoded once before training, or streamed: decoded anew for each batch."""

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ravine.core.errors import SettingError
from ravine.core.memory import available_memory
from ravine.data.cache_lookup import cache_key, cache_root
from ravine.data.collection import Collection
from ravine.data.image_file import ImageFormat
from ravine.data.settings import DataSettings

_SHARE_OF_MEMORY = 0.5  # of the free memory; the rest is for the network and the system
_ROOM_ON_DISK = 1.05  # times the bytes of the images, for their statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMode:
    """How images are loaded.

    Attributes:
        streamed: decoded while training, not once before.
        why: the reason, as a clause.
    """

    streamed: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def choose_load_mode(
    collection: Collection, image_format: ImageFormat, settings: DataSettings
) -> LoadMode:
    """Returns how the images of a collection are loaded.

    Raises:
        SettingError: streaming is requested for a source that is one array.
    """
    if collection.pixels is not None:
        if settings.stream == "on":
            raise SettingError(
                f"stream on: {settings.data} is one array and read whole; only image files and tar "
                "shards can be decoded while training; leave --stream out"
            )
        return LoadMode(streamed=False, why="the source is one array")
    if settings.stream != "auto":
        return LoadMode(streamed=settings.stream == "on", why="as asked")
    needed = len(collection.files) * image_format.bytes_per_image
    memory = available_memory()
    if memory is not None and needed > _SHARE_OF_MEMORY * memory:
        why = f"decoded they are {_size(needed)}, more than half of {_size(memory)} of free memory"
        return LoadMode(streamed=True, why=why)
    folder, room = _disk(collection, image_format, settings)
    if room is not None and _ROOM_ON_DISK * needed > room:
        why = f"decoded they are {_size(needed)}, and {folder} has {_size(room)} of free space"
        return LoadMode(streamed=True, why=why)
    return LoadMode(streamed=False, why=f"decoded they are {_size(needed)}, which fits memory")


def _disk(
    collection: Collection, image_format: ImageFormat, settings: DataSettings
) -> tuple[Path, float | None]:
    """Returns the folder of decoded images and its free bytes; None if it holds them already."""
    folder = cache_root() if settings.cache else Path(tempfile.gettempdir())
    if settings.cache and (folder / cache_key(collection, image_format)).is_dir():
        return folder, None
    parents = (folder, *folder.parents)
    existing = next((path for path in parents if path.is_dir()), Path("/"))
    return folder, shutil.disk_usage(existing).free


def _size(count: float) -> str:
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6)):
        if count >= bytes_:
            return f"{count / bytes_:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
