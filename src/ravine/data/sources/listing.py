"""Image files below a folder."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.data.collection import FileEntry

EXTENSIONS = frozenset(
    [
        ".bmp",
        ".dib",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".jp2",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".ico",
        ".pcx",
        ".sgi",
    ]
)


_DEEPEST = 100  # folders below each other


def printable(name: str) -> str:
    """Returns a file's name as valid text: bytes that are no UTF-8 become �."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def image_files(folder: Path) -> Iterator[tuple[str, FileEntry]]:
    """Yields (path below `folder`, entry) of every file with an image's extension, in order.

    Skips hidden files and folders. Follows links, but not twice.

    Raises:
        DataError: the folder cannot be read.
    """
    yield from _walk(str(folder), "", frozenset({os.path.realpath(folder)}))


def _walk(folder: str, below: str, seen: frozenset[str]) -> Iterator[tuple[str, FileEntry]]:
    if below.count("/") > _DEEPEST:
        raise DataError(f"{folder[:100]}… lies {_DEEPEST} folders deep; name a folder further down")
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = f"{below}{printable(entry.name)}"
        if _is_dir(entry):
            real = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if real not in seen:
                yield from _walk(entry.path, f"{name}/", seen | {real})
        elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
            try:
                facts = entry.stat()
            except OSError:
                yield name, FileEntry(path=entry.path, size=-1, modified=0)
                continue
            if not stat.S_ISREG(facts.st_mode):  # a fifo would be waited for
                continue
            yield name, FileEntry(path=entry.path, size=facts.st_size, modified=facts.st_mtime_ns)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry is a folder, or a link to one; a link to itself is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def same_folders(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Returns whether the folders that both paths name are the same.

    >>> same_folders(PurePosixPath("b/1.png"), PurePosixPath("a/b/1.png"))
    True
    """
    pairs = zip(one.parts[-2::-1], other.parts[-2::-1], strict=False)
    return all(a == b for a, b in pairs)


def folders_in(folder: Path) -> list[str]:
    """Returns the names of the folders in `folder`, hidden ones left out, in order."""
    try:
        with os.scandir(folder) as found:
            return sorted(e.name for e in found if _is_dir(e) and not e.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from None
