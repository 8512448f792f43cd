"""Reads files that may come from anybody: what is no regular file is not waited for.

A fifo that nobody writes into would be waited for without end, a device may give bytes without end.
"""

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, TextIO

_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # no system has all of them
    _FLAGS |= getattr(os, _name, 0)


def open_regular(path: Path) -> BinaryIO:
    """Returns a regular file, opened to be read.

    Raises:
        OSError: there is none, it cannot be read, or it is a folder, a fifo, a socket or a device.
    """
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def open_regular_text(path: Path, *, newline: str | None = None) -> TextIO:
    """Returns the same as text in UTF-8, without a mark at its beginning.

    Args:
        path: of the file.
        newline: as `open` has it.

    Raises:
        OSError: as of `open_regular`.
    """
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline=newline)


def read_regular(path: Path) -> bytes:
    """Returns the content of a regular file.

    Raises:
        OSError: as of `open_regular`.
    """
    with open_regular(path) as file:
        return file.read()


def read_regular_text(path: Path) -> str:
    """Returns the text of a regular file in UTF-8, with \\n at the end of each line.

    Raises:
        OSError: as of `open_regular`.
        UnicodeDecodeError: it is no UTF-8.
    """
    with open_regular_text(path) as file:
        return file.read()
