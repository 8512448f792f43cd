"""The cache folder of decoded images: found by key, filled where it is missing.

The key follows from the path, size and modification time of every file and from the image format.
A cache is filled in a folder of its own and renamed, so that two builders do no harm to each
other: the second to finish takes what the first has built.
"""

import hashlib
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ravine.core.atomic import scratch_folder, sweep_parts, sync_to_disk
from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.cache_writer import write_cache
from ravine.data.collection import Collection
from ravine.data.decode import INTERPOLATION
from ravine.data.decoded_cache import DecodedCache, open_cache
from ravine.data.image_file import ImageFormat

_FORMAT = 4  # raise it when decoding changes
_KEY_LENGTH = 32
_STALE = 24 * 3600.0  # seconds after which an unfinished folder is that of a killed run
_TORN = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit:
    """Decoded images, and whether they were in the cache already."""

    decoded: DecodedCache
    cached: bool


def cache_root() -> Path:
    """Returns the folder of the cache: RAVINE_CACHE, or the user's cache folder."""
    given = os.environ.get("RAVINE_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("ravine"))


def cache_key(collection: Collection, image_format: ImageFormat, *, images: bool = True) -> str:
    """Returns the name of a collection's cache, or without `images` of its statistics alone."""
    shape = collection.pixels.shape if collection.pixels is not None else ()
    size, channels = image_format.image_size, image_format.channels
    head = f"{_FORMAT}/{size}/{channels}/{shape}/{collection.content_key}"
    if image_format.fit != "crop":
        head += f"/{image_format.fit}"
    if image_format.large:
        head += "/large"
    if image_format.grey_range is not None:
        head += f"/{image_format.grey_range}"
    if image_format.bands:
        head += f"/bands {image_format.bands}"
    if (image_format.interpolation, image_format.crop_share) != (INTERPOLATION, 1.0):
        head += f"/{image_format.interpolation}/{image_format.crop_share}"
    if not images:
        head += "/facts"
    digest = hashlib.sha256(head.encode())
    for entry in collection.files:
        digest.update(b"\0%s\0%d\0%d" % (os.fsencode(entry.path), entry.size, entry.modified))
        if entry.offset is not None:
            digest.update(b"\0%d\0%d" % (entry.offset, entry.length))
    return digest.hexdigest()[:_KEY_LENGTH]


def load_or_decode(
    collection: Collection,
    image_format: ImageFormat,
    *,
    cache: bool,
    progress: Progress,
    images: bool = True,
) -> CacheHit:
    """Returns the decoded images of a collection, from the cache where they are in it.

    Args:
        collection: the images.
        image_format: size and channels of the decoded images.
        cache: keep them; else they lie in a temporary folder that is removed on return.
        progress: called while decoding.
        images: keep the images; else each is decoded for its statistics only.

    Raises:
        DataError: the disk is full or read-only, or a decoding process died.
    """
    if not cache:
        decoded = _temporary(collection, image_format, progress, images)
        return CacheHit(decoded=decoded, cached=False)
    root = cache_root()
    key = cache_key(collection, image_format, images=images)
    # A cache with images holds the statistics too.
    found = _load([root / key, root / cache_key(collection, image_format)], images=images)
    if found is not None:
        return CacheHit(decoded=found, cached=True)
    try:
        root.mkdir(parents=True, exist_ok=True)
        sweep_parts(root, _is_key)
        _clear_stale(root)
        with scratch_folder(root / key) as part:
            write_cache(part, collection, image_format, progress, images=images)
            publish(part, root / key)
        return CacheHit(decoded=open_cache(root / key, images=images), cached=False)
    except _TORN as error:
        raise no_cache(root, error) from None


def _load(folders: Sequence[Path], *, images: bool) -> DecodedCache | None:
    """Returns the first cache that is whole, and removes torn ones before it."""
    for folder in dict.fromkeys(folders):
        if folder.is_dir():
            try:
                return open_cache(folder, images=images)
            except _TORN:
                shutil.rmtree(folder, ignore_errors=True)
    return None


def _is_key(name: str) -> bool:
    """Returns whether a name in the cache is that of a folder of decoded images."""
    return len(name) == _KEY_LENGTH and set(name) <= set("0123456789abcdef")


def no_cache(root: Path, error: Exception) -> DataError:
    """Returns the error for a cache that cannot be written."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DataError(
        f"cannot keep the cache in {root}: {why}; set RAVINE_CACHE to another folder, "
        "or use --no-cache"
    )


def publish(part: Path, folder: Path, last: str = "about.json") -> None:
    """Renames a filled folder to its final name, after its content is synced to the disk.

    Args:
        part: the filled folder.
        folder: its final name.
        last: a file that another builder's folder holds when it is whole.

    Raises:
        OSError: it cannot be renamed, and no other builder was first.
    """
    for path in [*part.iterdir(), part]:
        sync_to_disk(path)
    try:
        part.rename(folder)
    except OSError:
        # Another builder was first; its content is the same.
        if not (folder / last).is_file():
            raise


def _clear_stale(root: Path) -> None:
    """Removes old unfinished folders, whatever their names and whoever has them open."""
    for folder in root.glob(".*.part"):
        try:
            stale = time.time() - folder.stat().st_mtime > _STALE
        except OSError:
            continue
        if stale:
            shutil.rmtree(folder, ignore_errors=True)


def _temporary(
    collection: Collection, image_format: ImageFormat, progress: Progress, images: bool
) -> DecodedCache:
    folder = Path(tempfile.mkdtemp(prefix="ravine-"))
    try:
        write_cache(folder, collection, image_format, progress, images=images)
        decoded = open_cache(folder, images=images)
    finally:
        # A mapped file stays readable without its name, so a killed run leaves nothing behind.
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and decoded.images is not None:
        weakref.finalize(decoded.images, shutil.rmtree, folder, ignore_errors=True)
    return decoded
