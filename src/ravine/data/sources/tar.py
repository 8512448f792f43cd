"""The files in a plain tar: their names, offsets and lengths. Nothing is ever unpacked.

Headers are read one by one, each with bounded memory whatever it claims. Long names are read in
the formats of GNU tar and of pax (POSIX.1-2001).
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
    """A file in a tar.

    Attributes:
        name: its path in the tar.
        offset: of its first byte.
        length: in bytes.
    """

    name: str
    offset: int
    length: int


def compressed(path: Path) -> DataError:
    """Returns the error for a tar that has to be unpacked before a member can be read."""
    return DataError(
        f"{path} is compressed, so that images cannot be read out of its middle; unpack it, or "
        "pack it again as a plain .tar (images are compressed already)"
    )


def members(path: Path, file: BinaryIO, extensions: Collection[str]) -> Iterator[Member]:
    """Yields the files with these extensions, in order; skips hidden files and folders.

    Args:
        path: of the tar, for errors.
        file: the tar, open for reading; the caller may seek in it between two members.
        extensions: such as `.jpg`, in lower case.

    Raises:
        DataError: it is compressed, torn, no tar, or one of these is a link or a sparse file.
    """
    length = file.seek(0, 2)
    position = 0
    extended: dict[str, str] = {}
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        if block == _END:
            return
        head = _head(path, block, position)
        start = position + _BLOCK
        size = _size(path, head, extended, start)
        holds_content = head.type not in _WITHOUT_CONTENT
        position = start + (-(-size // _BLOCK) * _BLOCK if holds_content else 0)
        if holds_content and start + size > length:
            raise _torn(path, f"it ends before its member {head.name!r} does")
        if head.type == tarfile.GNUTYPE_LONGNAME:
            extended["path"] = _text(_extension(path, file, size).partition(b"\0")[0])
        elif head.type in _PAX:
            extended |= _keywords(path, _extension(path, file, size))
        elif head.type not in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            name = extended.get("path", head.name)
            if _is_wanted(name, extensions):
                _refuse_indirect(path, name, head, extended)
                yield Member(name.removeprefix("./"), start, size)
            extended = {}


def _head(path: Path, block: bytes, position: int) -> tarfile.TarInfo:
    if position == 0 and block.startswith(_COMPRESSED):
        raise compressed(path)
    if len(block) < _BLOCK:
        raise _torn(path, "it has no end mark" if position else "it is too short")
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        what = (
            f"the block at byte {position:,} is no header"
            if position
            else "it does not begin as one"
        )
        raise _torn(path, what) from None


def _size(path: Path, head: tarfile.TarInfo, extended: dict[str, str], start: int) -> int:
    """Returns the length of the content in bytes; pax extends numbers too long for the header."""
    regular = head.type in _REGULAR
    declared = extended.get("size") if regular else None
    try:
        size = head.size if declared is None else int(declared)
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


def _is_wanted(name: str, extensions: Collection[str]) -> bool:
    *folders, last = name.split("/")
    if any(part.startswith(".") and part not in (".", "..") for part in [*folders, last]):
        return False
    return f".{last.rpartition('.')[2].lower()}" in extensions


def _refuse_indirect(
    path: Path, name: str, head: tarfile.TarInfo, extended: dict[str, str]
) -> None:
    if head.islnk() or head.issym():
        raise DataError(
            f"{path}: {name} is a link; pack the files themselves: "
            "tar --dereference --hard-dereference"
        )
    sparse = any(keyword.startswith("GNU.sparse") for keyword in extended)
    if sparse or head.type not in _REGULAR:
        raise DataError(f"{path}: {name} is no regular file; pack it again without --sparse")
