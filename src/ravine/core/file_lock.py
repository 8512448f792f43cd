"""A lock of an open file against other processes; it ends with the process that holds it.

`flock` where there is one; on Windows, which has none, a byte of the file is locked.
"""

import os
import sys
from pathlib import Path

from ravine.core.lazy import lazy_module

# Each exists on one kind of system only.
fcntl = lazy_module("fcntl")
msvcrt = lazy_module("msvcrt")


def try_lock(handle: int) -> None:
    """Locks an open file.

    Args:
        handle: its file descriptor; closing it ends the lock.

    Raises:
        OSError: another process holds the lock.
    """
    if sys.platform == "win32":
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def wait_for_lock(handle: int) -> None:
    """Locks an open file as soon as no other process holds the lock.

    Args:
        handle: its file descriptor; closing it ends the lock.

    Raises:
        OSError: the file system has no locks.
    """
    if sys.platform == "win32":
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX)


def is_locked(path: Path) -> bool:
    """Returns whether a process holds the lock of a file; False where there is no such file.

    It is asked with a shared lock that is given back at once: `try_lock` of a process that starts
    in this very moment is repeated by its caller.
    """
    try:
        handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except OSError:
        return False
    try:
        if sys.platform == "win32":
            try_lock(handle)
        else:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
