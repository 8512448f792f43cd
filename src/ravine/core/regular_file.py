"""Reads files that may come from anybody: what is no regular file is not waited for."""

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path) -> bytes:
    """Returns the content of a regular file.

    Raises:
        OSError: there is none, it cannot be read, or it is a folder, a fifo, a socket or a device.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return file.read()
