"""Atomic writes: into a temporary file next to the target, synced to the disk, then renamed.

The writer holds a lock (flock) on the temporary file or folder, so that one that a killed process
left behind is told from one that is being written: the next write of the same name removes it.
"""

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ravine.core.errors import RunError
from ravine.core.file_lock import try_lock, wait_for_lock

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the disk is read-only; choose another folder with --out, or take a copy",
    errno.EACCES: "writing is not allowed there; choose another folder with --out, or take a copy",
    errno.EPERM: "writing is not allowed there; choose another folder with --out, or take a copy",
    errno.EEXIST: "a file is in the way; choose another folder with --out",
    errno.ENOTDIR: "a part of the path is a file; choose another folder with --out",
    errno.ENAMETOOLONG: "the name is too long; choose another with --out",
    errno.EISDIR: "a folder is in the way; move it away",
    errno.ENOTEMPTY: "a folder is in the way; choose another with --out",
    errno.ELOOP: "a link there points to itself; choose another folder with --out",
    errno.ENOENT: "its folder is not there; make it, or choose another with --out",
    errno.EFBIG: "the file would be larger than is allowed here; raise the limit (ulimit -f)",
}
_PART = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]+\.part")  # as tempfile and the prefix make it


def disk_error(path: Path, error: OSError) -> RunError:
    """Returns the one-line error for a path that could not be written."""
    why = error.strerror or str(error)
    if isinstance(error, shutil.Error):  # it lists the files of a folder, without a number
        why = str(error.args[0][0][-1])
    remedy = _REMEDIES.get(error.errno or 0, why)
    return RunError(f"cannot write {path}: {remedy}")


def sync_to_disk(path: Path) -> None:
    """Syncs a file or the entries of a folder to the disk, so that they survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Makes a folder with its parents where it is not there yet.

    Raises:
        RunError: a file is in the way, or the disk does not allow it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically, replacing an existing file.

    Raises:
        RunError: the disk is full, read-only, or the folder is missing.
    """
    try:
        with _part_of(path) as (name, handle):
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            os.chmod(name, 0o644)
            os.replace(name, path)
        sync_to_disk(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


def write_folder_whole(path: Path, fill: Callable[[Path], None]) -> None:
    """Fills a new folder next to `path` by `fill(folder)`, then renames it to `path`.

    Raises:
        RunError: the disk is full or read-only; nothing of the folder is left.
    """
    try:
        with scratch_folder(path) as part:
            fill(part)
            sync_to_disk(part)
            part.chmod(0o755)
            part.rename(path)
        sync_to_disk(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder next to `path`; what is left of it at the end is removed.

    Raises:
        OSError: the disk is full or read-only.
    """
    sweep_parts(path.parent, path.name.__eq__)
    while True:
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(part, os.O_RDONLY)
            if _is_mine(part, handle):
                break
            os.close(handle)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(handle)


@contextmanager
def _part_of(path: Path) -> Iterator[tuple[str, int]]:
    """Gives a locked temporary file next to `path` and its handle; it is removed at the end."""
    sweep_parts(path.parent, path.name.__eq__)
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        if _is_mine(Path(name), handle):
            break
        os.close(handle)
    try:
        yield name, handle
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def _is_mine(part: Path, handle: int) -> bool:
    """Locks a new part; False where another process removed it before it was locked."""
    with contextlib.suppress(OSError):  # a file system without locks
        wait_for_lock(handle)
    return _is_still(part, handle)


def sweep_parts(folder: Path, is_swept: Callable[[str], bool] = bool) -> None:
    """Removes what killed processes left of writes into `folder`; never what is being written.

    Args:
        folder: where files and folders are written.
        is_swept: of the name of the file or folder that was to be written; by default all are, in
            a folder that holds nothing but Ravine's files.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            part = _PART.fullmatch(entry.name)
            if part and is_swept(part["name"]) and not entry.is_symlink():
                _remove_unlocked(Path(entry.path))


def _remove_unlocked(part: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            try_lock(handle)
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            elif _is_still(part, handle):
                part.unlink()
        finally:
            os.close(handle)


def _is_still(part: Path, handle: int) -> bool:
    """Returns whether the path leads to what the handle has open."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.lstat(part), os.fstat(handle))
    return False
