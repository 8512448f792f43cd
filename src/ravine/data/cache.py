"""The cache of decoded images.

Found by the path, size and modification time of every file and by the settings; built in a
folder beside and renamed, so that two builders do no harm to each other: the second to finish
takes what the first has built.
"""

import hashlib
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.store import Form, Store, fill_store, open_store

_FORMAT = 1  # raise it when decoding changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A store, and whether it was there before."""

    store: Store
    cached: bool


def cache_root() -> Path:
    """Returns the folder of the cache: RAVINE_CACHE, or the user's cache folder."""
    given = os.environ.get("RAVINE_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("ravine"))


def cache_key(collection: Collection, form: Form) -> str:
    """Returns the name of a collection's store."""
    digest = hashlib.sha256(f"{_FORMAT}/{form.image_size}/{form.channels}".encode())
    digest.update(collection.key.encode())
    for entry in collection.files:
        digest.update(f"\0{entry.path}\0{entry.size}\0{entry.modified}".encode(errors="replace"))
    return digest.hexdigest()[:32]


def decoded(collection: Collection, form: Form, *, cache: bool, progress: Progress) -> Opened:
    """Returns the decoded images of a collection, from the cache where they are there.

    Without `cache` they lie in a temporary folder that goes when the store is dropped.

    Raises:
        DataError: the disk is full or read-only, or a decoding process died.
    """
    if not cache:
        return Opened(store=_temporary(collection, form, progress), cached=False)
    root = cache_root()
    place = root / cache_key(collection, form)
    if place.is_dir():
        try:
            return Opened(store=open_store(place), cached=True)
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(place, ignore_errors=True)
    try:
        root.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=root))
    except OSError as error:
        raise DataError(
            f"cannot write the cache {root}: {error.strerror}; set RAVINE_CACHE to another folder, "
            "or use --no-cache"
        ) from None
    try:
        fill_store(beside, collection, form, progress)
        _rename(beside, place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Opened(store=open_store(place), cached=False)


def _rename(beside: Path, place: Path) -> None:
    try:
        beside.rename(place)
    except OSError:
        # Another builder was first; what it has built is the same.
        if not (place / "about.json").is_file():
            raise


def _temporary(collection: Collection, form: Form, progress: Progress) -> Store:
    folder = Path(tempfile.mkdtemp(prefix="ravine-"))
    try:
        fill_store(folder, collection, form, progress)
        store = open_store(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(store.images, shutil.rmtree, folder, ignore_errors=True)
    return store
