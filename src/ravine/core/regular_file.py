"""Reads files that may come from anybody: what is no regular file is not waited for.

A fifo that nobody writes into would be waited for without end, a device may give bytes without end.
Text is UTF-8, or what a byte-order mark says: Excel saves "Unicode text" in UTF-16.
"""

import codecs
import errno
import io
import os
import stat
from pathlib import Path
from typing import TextIO

_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # no system has all of them
    _FLAGS |= getattr(os, _name, 0)


def open_regular(path: Path) -> io.BufferedReader:
    """Returns a regular file, opened to be read.

    Raises:
        OSError: there is none, it cannot be read, or it is a folder, a fifo, a socket or a device.
    """
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


_MARKS = (  # the longer first: that of UTF-32 begins as that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _encoding(head: bytes) -> str:
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8-sig")


def head_text(head: bytes, *, errors: str = "replace") -> str:
    """Returns the first bytes of a file as text; a letter that is cut is none.

    >>> head_text(codecs.BOM_UTF16_LE + "a,b".encode("utf-16-le")), head_text(b"a")
    ('a,b', 'a')
    """
    return codecs.getincrementaldecoder(_encoding(head))(errors).decode(head)


def text_fault(error: Exception) -> str:
    """Returns in one clause why a file is no text, with the remedy where there is one.

    >>> try:
    ...     b"caf\\xe9".decode()
    ... except ValueError as error:
    ...     text_fault(error)
    'the byte 0xe9 is none; save it as UTF-8'
    """
    if not isinstance(error, UnicodeDecodeError):
        return (error.strerror if isinstance(error, OSError) else None) or repr(error)
    if not error.encoding.startswith("utf-8"):
        return f"its mark says {error.encoding}, and it is none; save it as UTF-8"
    return f"the byte {error.object[error.start]:#04x} is none; save it as UTF-8"


def open_regular_text(path: Path, *, newline: str | None = None) -> TextIO:
    """Returns the same as text, without a mark at its beginning.

    Args:
        path: of the file.
        newline: as `open` has it.

    Raises:
        OSError: as of `open_regular`.
    """
    file = open_regular(path)
    return io.TextIOWrapper(file, encoding=_encoding(file.peek(4)), newline=newline)


def read_regular(path: Path) -> bytes:
    """Returns the content of a regular file.

    Raises:
        OSError: as of `open_regular`.
    """
    with open_regular(path) as file:
        return file.read()


def read_regular_text(path: Path) -> str:
    """Returns the text of a regular file, with \\n at the end of each line.

    Raises:
        OSError: as of `open_regular`.
        UnicodeDecodeError: it is neither UTF-8 nor what its mark says.
    """
    with open_regular_text(path) as file:
        return file.read()
