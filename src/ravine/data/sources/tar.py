"""The files in a plain tar: their names, places and lengths. Nothing is ever unpacked.

Headers are read one by one, each with bounded memory whatever it claims; long names may come as
GNU tar or as pax (POSIX.1-2001) writes them.
"""

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ravine.core.errors import DataError

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(_BLOCK)
_LARGEST_EXTENSION = 1 << 20  # bytes of a long name or of pax's keywords
_REGULAR = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_WITHOUT_CONTENT = frozenset(
    {
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.DIRTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
    }
)
_PAX = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: its name, and where its bytes are."""

    name: str
    offset: int
    length: int


def compressed(path: Path) -> DataError:
    """Returns the error for a tar in which no place can be found without unpacking it."""
    return DataError(
        f"{path} is compressed, so that images cannot be read out of its middle; unpack it, or "
        "pack it again as a plain .tar (images are compressed already)"
    )


def members(path: Path, file: BinaryIO, endings: Collection[str]) -> Iterator[Member]:
    """Gives the files with these endings, in order; hidden files and folders are passed over.

    Args:
        path: of the tar, for errors.
        file: the tar, open for reading; it may be read elsewhere between two members.
        endings: such as `.jpg`, in lower case.

    Raises:
        DataError: it is compressed, torn, no tar, or has a link or a sparse file among these.
    """
    length = file.seek(0, 2)
    place = 0
    extension: dict[str, str] = {}
    while True:
        file.seek(place)
        block = file.read(_BLOCK)
        if block == _END:
            return
        head = _head(path, block, place)
        start = place + _BLOCK
        size = _size(path, head, extension, start)
        holds_content = head.type not in _WITHOUT_CONTENT
        place = start + (-(-size // _BLOCK) * _BLOCK if holds_content else 0)
        if holds_content and start + size > length:
            raise _torn(path, f"it ends before its member {head.name!r} does")
        if head.type == tarfile.GNUTYPE_LONGNAME:
            extension["path"] = _text(_extension(path, file, size).partition(b"\0")[0])
        elif head.type in _PAX:
            extension |= _keywords(path, _extension(path, file, size))
        elif head.type not in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            name = extension.get("path", head.name)
            if _is_wanted(name, endings):
                _refuse_indirect(path, name, head, extension)
                yield Member(name.removeprefix("./"), start, size)
            extension = {}


def _head(path: Path, block: bytes, place: int) -> tarfile.TarInfo:
    if place == 0 and block.startswith(_COMPRESSED):
        raise compressed(path)
    if len(block) < _BLOCK:
        raise _torn(path, "it has no end mark" if place else "it is too short")
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        what = (
            f"what stands at byte {place:,} is no header" if place else "it does not begin as one"
        )
        raise _torn(path, what) from None


def _size(path: Path, head: tarfile.TarInfo, extension: dict[str, str], start: int) -> int:
    """Returns the bytes of content; pax writes down what is too long for the header."""
    regular = head.type in _REGULAR
    told = extension.get("size") if regular else None
    try:
        size = head.size if told is None else int(told)
    except ValueError:
        size = -1
    if size < 0:
        raise _torn(path, f"the length before byte {start:,} makes no sense")
    return size


def _torn(path: Path, what: str) -> DataError:
    return DataError(f"{path} is no whole tar: {what}; copy or pack it again")


def _extension(path: Path, file: BinaryIO, size: int) -> bytes:
    if size > _LARGEST_EXTENSION:
        raise _torn(path, f"a name in it has {size:,} bytes")
    return file.read(size)


def _keywords(path: Path, content: bytes) -> dict[str, str]:
    """Returns pax's keywords: lines of `LENGTH KEYWORD=VALUE`, where a value may hold line ends."""
    found = {}
    while content.strip(b"\0"):
        digits, _, _ = content[:20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        keyword, equals, value = content[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise _torn(path, "its pax keywords make no sense")
        found[_text(keyword)] = _text(value[:-1])
        content = content[length:]
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _is_wanted(name: str, endings: Collection[str]) -> bool:
    *folders, last = name.split("/")
    if any(part.startswith(".") and part not in (".", "..") for part in [*folders, last]):
        return False
    return f".{last.rpartition('.')[2].lower()}" in endings


def _refuse_indirect(
    path: Path, name: str, head: tarfile.TarInfo, extension: dict[str, str]
) -> None:
    if head.islnk() or head.issym():
        raise DataError(
            f"{path}: {name} is a link; pack the files themselves: "
            "tar --dereference --hard-dereference"
        )
    sparse = any(keyword.startswith("GNU.sparse") for keyword in extension)
    if sparse or head.type not in _REGULAR:
        raise DataError(f"{path}: {name} is no regular file; pack it again without --sparse")
