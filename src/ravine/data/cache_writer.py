"""The cache of decoded images.

Found by the path, size and modification time of every file and by the settings; built in a
folder beside and renamed, so that two builders do no harm to each other: the second to finish
takes what the first has built.
"""

import hashlib
import os
import shutil
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.decoded_cache import Form, Store, fill_store, open_store

_FORMAT = 2  # raise it when decoding changes
_UNFINISHED = ".part"
_STALE = 24 * 3600.0  # seconds after which an unfinished folder is that of a killed run
_TORN = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A store, and whether it was there before."""

    store: Store
    cached: bool


def cache_root() -> Path:
    """Returns the folder of the cache: RAVINE_CACHE, or the user's cache folder."""
    given = os.environ.get("RAVINE_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("ravine"))


def cache_key(collection: Collection, form: Form, *, images: bool = True) -> str:
    """Returns the name of a collection's store, or without `images` of what is learnt of them."""
    shape = collection.pixels.shape if collection.pixels is not None else ()
    head = f"{_FORMAT}/{form.image_size}/{form.channels}/{shape}/{collection.key}"
    if not images:
        head += "/facts"
    digest = hashlib.sha256(head.encode())
    for entry in collection.files:
        digest.update(b"\0%s\0%d\0%d" % (os.fsencode(entry.path), entry.size, entry.modified))
        if entry.offset is not None:
            digest.update(b"\0%d\0%d" % (entry.offset, entry.length))
    return digest.hexdigest()[:32]


def decoded(
    collection: Collection, form: Form, *, cache: bool, progress: Progress, images: bool = True
) -> Opened:
    """Returns the decoded images of a collection, from the cache where they are there.

    Without `cache` they lie in a temporary folder that is gone when this returns. Without `images`
    each is decoded for what is learnt of it, and not kept.

    Raises:
        DataError: the disk is full or read-only, or a decoding process died.
    """
    if not cache:
        return Opened(store=_temporary(collection, form, progress, images), cached=False)
    root = cache_root()
    place = root / cache_key(collection, form, images=images)
    # What holds the images holds what was learnt of them.
    for found in dict.fromkeys([place, root / cache_key(collection, form)]):
        if found.is_dir():
            try:
                return Opened(store=open_store(found, images=images), cached=True)
            except _TORN:
                shutil.rmtree(found, ignore_errors=True)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _clear_stale(root)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=_UNFINISHED, dir=root))
    except OSError as error:
        raise _no_cache(root, error) from None
    try:
        fill_store(beside, collection, form, progress, images=images)
        _publish(beside, place)
        return Opened(store=open_store(place, images=images), cached=False)
    except _TORN as error:
        raise _no_cache(root, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _no_cache(root: Path, error: Exception) -> DataError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DataError(
        f"cannot keep the cache in {root}: {why}; set RAVINE_CACHE to another folder, "
        "or use --no-cache"
    )


def _publish(beside: Path, place: Path) -> None:
    """Gives a filled folder its name, once its content is safe from a loss of power."""
    for path in [*beside.iterdir(), beside]:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    try:
        beside.rename(place)
    except OSError:
        # Another builder was first; what it has built is the same.
        if not (place / "about.json").is_file():
            raise


def _clear_stale(root: Path) -> None:
    """Removes what runs left that were killed while they decoded."""
    for folder in root.glob(f".*{_UNFINISHED}"):
        try:
            stale = time.time() - folder.stat().st_mtime > _STALE
        except OSError:
            continue
        if stale:
            shutil.rmtree(folder, ignore_errors=True)


def _temporary(collection: Collection, form: Form, progress: Progress, images: bool) -> Store:
    folder = Path(tempfile.mkdtemp(prefix="ravine-"))
    try:
        fill_store(folder, collection, form, progress, images=images)
        store = open_store(folder, images=images)
    finally:
        # A mapped file stays readable without its name, so a killed run leaves nothing behind.
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and store.images is not None:
        weakref.finalize(store.images, shutil.rmtree, folder, ignore_errors=True)
    return store
