"""Image files below a folder."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.data.collection import FileEntry
from ravine.data.openers import has_opener

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

_NOT_READ = """
    .heic .heif .hif .jxl .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .raw .psd .eps .svg .dcm .nii .svs
    .jpg_large .bpg .exr .hdr .mrxs .czi
"""
IMAGE_LIKE = frozenset(_NOT_READ.split())  # endings of images that Ravine does not read
_WITH_PLUGIN = frozenset({".heic", ".heif", ".hif"})


def remedy_for(ending: str) -> str:
    """Returns what to do with images of an ending that are not read.

    >>> remedy_for(".nef")
    'convert them to .jpg or .png'
    """
    if ending in _WITH_PLUGIN:
        return "convert them, or: pip install 'ravine[heic]'"
    return "convert them to .jpg or .png"


_DEEPEST = 100  # folders below each other


def printable(name: str) -> str:
    """Returns a file's name as valid text: bytes that are no UTF-8 become �."""
    return os.fsencode(name).decode("utf-8", errors="replace")


# Made by systems and programs, for themselves.
_OF_PROGRAMS = frozenset({"__MACOSX", "@eaDir", "__pycache__", "lost+found"})
_HIDDEN_BUT_SAID = frozenset({".ipynb_checkpoints"})
_FILES_OF_PROGRAMS = frozenset({"Thumbs.db", "desktop.ini", "Icon\r"})


@dataclass(slots=True)
class FolderListing:
    """All that lies below a folder.

    Attributes:
        images: (path below the folder, entry) of the images, in order.
        folders: paths of all folders below it, those of `passed_over` left out.
        others: number of other files by ending, "" for none, of each folder that holds some.
        passed_over: paths of folders that programs made for themselves, such as __MACOSX.
    """

    images: list[tuple[str, FileEntry]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: dict[str, Counter[str]] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)

    def endings(self) -> Counter[str]:
        """Returns the number of other files by ending, over all folders."""
        return sum(self.others.values(), Counter[str]())


def image_files(folder: Path) -> Iterator[tuple[str, FileEntry]]:
    """Yields (path below `folder`, entry) of every file with an image's extension, in order.

    Skips hidden files and folders, and those of programs. Follows links, but not twice.

    Raises:
        DataError: the folder cannot be read.
    """
    yield from _walk(str(folder), "", frozenset({os.path.realpath(folder)}), FolderListing())


def list_folder(folder: Path) -> FolderListing:
    """Returns what lies below a folder: the images of `image_files`, and all else.

    Raises:
        DataError: the folder cannot be read.
    """
    found = FolderListing()
    found.images.extend(_walk(str(folder), "", frozenset({os.path.realpath(folder)}), found))
    return found


def _walk(
    folder: str, below: str, seen: frozenset[str], listing: FolderListing
) -> Iterator[tuple[str, FileEntry]]:
    if below.count("/") > _DEEPEST:
        raise DataError(f"{folder[:100]}… lies {_DEEPEST} folders deep; name a folder further down")
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from None
    for entry in entries:
        name = f"{below}{printable(entry.name)}"
        if entry.name in _OF_PROGRAMS or entry.name in _HIDDEN_BUT_SAID:
            listing.passed_over.append(name)
        elif entry.name.startswith(".") or entry.name in _FILES_OF_PROGRAMS:
            continue
        elif _is_folder(entry):
            real = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if real not in seen:
                listing.folders.append(name)
                yield from _walk(entry.path, f"{name}/", seen | {real}, listing)
        elif _is_read(ending := os.path.splitext(entry.name)[1].lower()):
            if (image := _image(entry)) is not None:
                yield name, image
        else:
            listing.others.setdefault(below.removesuffix("/"), Counter())[ending] += 1


def _is_read(ending: str) -> bool:
    return ending in EXTENSIONS or (ending in IMAGE_LIKE and has_opener(ending))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _image(entry: os.DirEntry[str]) -> FileEntry | None:
    """Returns the entry of an image's file; None for a pipe or device, which may never end."""
    try:
        facts = entry.stat()
    except OSError:
        return FileEntry(path=entry.path, size=-1, modified=0)
    if not stat.S_ISREG(facts.st_mode):
        return None
    return FileEntry(path=entry.path, size=facts.st_size, modified=facts.st_mtime_ns)


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
            names = [e.name for e in found if not e.name.startswith(".") and _is_folder(e)]
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from None
    return sorted(name for name in names if name not in _OF_PROGRAMS)
