"""JSON lines that grow: each call reads what was appended since the last one.

A file that was written anew (a rollback, a resumed run) is read from its start again. A line that
is not whole yet is left for the next call; a torn one between others is passed over.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from ravine.core.json_text import parse_json


@final
class RowReader:
    """Reads the rows of a file as they are appended. Links and what is no file have no rows.

    Args:
        path: of the file, which need not be there yet.

    Attributes:
        started_anew: whether the last call read a file that was written anew, so that the rows of
            before no longer hold.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self.started_anew = False

    def new_rows(self) -> Iterator[dict[str, Any]]:
        """Yields the whole rows that were appended since the last call."""
        self.started_anew = False
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return
        with os.fdopen(handle, "rb") as file:
            if not self._seek(file.fileno()):
                return
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                try:
                    row = parse_json(line)
                except ValueError:
                    continue
                if isinstance(row, dict):
                    yield row

    def _seek(self, handle: int) -> bool:
        """Notices a file that was written anew; returns whether there may be something to read."""
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            return False
        found = (facts.st_dev, facts.st_ino)
        if self._file is not None and (found != self._file or facts.st_size < self._offset):
            self._offset, self.started_anew = 0, True
        self._file = found
        return facts.st_size > self._offset or self.started_anew


def last_rows(path: Path, size: int = 1 << 14) -> list[dict[str, Any]]:
    """Returns the whole rows in the last `size` bytes of a file, oldest first; none without one."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        os.close(handle)
        return []
    with os.fdopen(handle, "rb") as file:
        start = max(0, facts.st_size - size)
        file.seek(start)
        lines = file.read(size).split(b"\n")[1 if start else 0 : -1]
    rows = []
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
