"""Encoded images out of a format that keeps them compressed: spooled once into one plain file.

    images.bin   the images, one behind the other
    index.npy    (N, 2) int64, where each begins and how many bytes it has; -1 bytes: there is none
    about.json   the files that it was made of, so that it goes when they change or are gone

The folder lies in Ravine's cache under the identity of the files that it was made of, so that
decoding and streaming read byte ranges of it as of a tar. Without a cache it is temporary.

Shape letters: N images, M images of a batch.
"""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ravine.core.atomic import scratch_folder
from ravine.data.cache_lookup import cache_root, no_cache, publish
from ravine.data.collection import FileEntry
from ravine.data.pixel_array import files_key

_IMAGES, _INDEX, _ABOUT = "images.bin", "index.npy", "about.json"
_PREFIX = "images-"

Batches = Callable[[], Iterator[tuple[memoryview, np.ndarray]]]
"""Yields the bytes of M images, one behind the other, and their lengths (M,) int64, -1 for none."""


def spooled_images(
    paths: Sequence[Path], reading: str, *, cache: bool, batches: Batches
) -> list[FileEntry | None]:
    """Returns where each image lies, as a byte range of one file; None for one that is missing.

    Args:
        paths: the files that hold the images.
        reading: what else decides which images are read from them.
        cache: keep the file for the next run.
        batches: reads the images, in order; is not called where they are spooled already.

    Raises:
        DataError: the disk is full or read-only, or `batches` raises it.
    """
    if not cache:
        folder = Path(tempfile.mkdtemp(prefix="ravine-"))
        # The processes that decode open the file by its name as long as this process lives.
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _fill(folder, paths, batches)
        return _entries(folder) or []
    root = cache_root()
    folder = root / _name(paths, reading)
    found = _entries(folder)
    if found is not None:
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
        _clear_stale(root)
        with scratch_folder(folder) as part:
            _fill(part, paths, batches)
            about = {"paths": [str(path.absolute()) for path in paths], "reading": reading}
            (part / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            publish(part, folder, _INDEX)
    except OSError as error:
        raise no_cache(root, error) from None
    return _entries(folder) or []


def _name(paths: Sequence[Path], reading: str) -> str:
    return f"{_PREFIX}{files_key([path.absolute() for path in paths], reading)[:32]}"


def _clear_stale(root: Path) -> None:
    """Removes spools whose files have changed or are gone; they would never be read again."""
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            paths = [Path(path) for path in about["paths"]]
            there = all(path.is_file() for path in paths)
            current = _name(paths, about["reading"]) if there else ""
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of another version
        if current != folder.name:
            shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, paths: Sequence[Path], batches: Batches) -> None:
    lengths = [np.empty(0, np.int64)]
    try:
        with (folder / _IMAGES).open("wb") as file:
            for content, found in batches():
                file.write(content)
                lengths.append(found)
    except OSError as error:
        raise no_cache(folder.parent, error) from None
    joined = np.concatenate(lengths)
    ends = np.cumsum(joined.clip(min=0))
    np.save(folder / _INDEX, np.stack([ends - joined.clip(min=0), joined], axis=1))
    # The same time whenever it is made, so that decoded images are found again.
    changed = max(path.stat().st_mtime_ns for path in paths)
    os.utime(folder / _IMAGES, ns=(changed, changed))


def _entries(folder: Path) -> list[FileEntry | None] | None:
    """Returns the byte ranges of a spool; None if there is none, or it is torn."""
    path = folder / _IMAGES
    try:
        index = np.load(folder / _INDEX)
        facts = path.stat()
    except (OSError, ValueError, EOFError):
        return None
    if index.ndim != 2 or index[:, 1].clip(min=0).sum() != facts.st_size:
        return None
    name, size, changed = str(path), facts.st_size, facts.st_mtime_ns
    return [
        FileEntry(path=name, size=size, modified=changed, offset=offset, length=length)
        if length >= 0
        else None
        for offset, length in index.tolist()
    ]
