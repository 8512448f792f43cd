"""Writes a CSV row by row into a file beside, and renames it: memory stays flat, nothing half-done.

The rows may be more than fit memory, and may end in an error: then the file is as it was before.
"""

import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ravine.core.errors import DataError


def write_csv(
    path: Path,
    rows: Iterable[Sequence[str]],
    *,
    separator: str = ",",
    quote_all: bool = False,
    check: Callable[[Path], None] = lambda _: None,
) -> None:
    """Writes a CSV, whole or not at all.

    Args:
        path: of the file.
        rows: with the header first.
        separator: of the fields.
        quote_all: puts every field in quotes.
        check: raises where the finished file, not yet renamed, is not as it has to be.

    Raises:
        DataError: the disk does not allow it.
    """
    try:
        handle, part = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(
                    file,
                    delimiter=separator,
                    lineterminator="\n",
                    quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
                )
                writer.writerows(rows)
            check(Path(part))
            os.chmod(part, 0o644)
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; choose another --out") from None


def needs_quotes(names: Iterable[str]) -> bool:
    """Returns whether every field has to be quoted.

    Python before 3.13 leaves a lone carriage return without quotes, and reads it as a line end.
    """
    return any("\r" in name for name in names)
