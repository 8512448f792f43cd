"""Atomic writes: into a temporary file next to the target, synced to the disk, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ravine.core.errors import RunError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the disk is read-only; choose another folder with --out",
    errno.EACCES: "writing is not allowed there; choose another folder with --out",
    errno.EPERM: "writing is not allowed there; choose another folder with --out",
    errno.EEXIST: "a file is in the way; choose another folder with --out",
    errno.ENOTDIR: "a part of the path is a file; choose another folder with --out",
    errno.ENAMETOOLONG: "the name is too long; choose another with --out",
}


def disk_error(path: Path, error: OSError) -> RunError:
    """Returns the one-line error for a path that could not be written."""
    remedy = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
    return RunError(f"cannot write {path}: {remedy}")


def sync_to_disk(path: Path) -> None:
    """Syncs a file or the entries of a folder to the disk, so that they survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically, replacing an existing file.

    Raises:
        RunError: the disk is full, read-only, or the folder is missing.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_to_disk(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


def write_folder_whole(path: Path, fill: Callable[[Path], None]) -> None:
    """Fills a new folder next to `path` by `fill(folder)`, then renames it to `path`.

    Raises:
        RunError: the disk is full or read-only; nothing of the folder is left.
    """
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            fill(part)
            sync_to_disk(part)
            part.chmod(0o755)
            part.rename(path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_to_disk(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
