"""The columns of a table of any kind, from its first bytes: text, JSON lines or parquet."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.regular_file import open_regular, open_regular_text
from ravine.data.sources.format_library import format_library
from ravine.data.sources.listing import folders_in

_IN_FOLDERS = ("metadata.csv", "_classes.csv", "metadata.jsonl", "metadata.parquet")
_MOST_FOLDERS = 50
_DEPTH = 3
_FIRST_LINE = 1 << 20  # bytes


def column_names(path: Path) -> frozenset[str] | None:
    """Returns the columns of a table, or of the first table in a folder; None without one.

    What is wrong with a table, its reader says.
    """
    file = path if path.is_file() else next(_tables(path, _DEPTH), None)
    read = None if file is None else _READERS.get(file.suffix.lower())
    if file is None or read is None:
        return None
    try:
        return frozenset(read(file))
    except (OSError, ValueError, RecursionError, csv.Error, DataError):
        return None


def _tables(folder: Path, depth: int) -> Iterator[Path]:
    """Yields the tables of images in a folder and in the folders for splits below it."""
    if not folder.is_dir():
        return
    yield from (folder / name for name in _IN_FOLDERS if (folder / name).is_file())
    yield from sorted(path for path in folder.glob("*.parquet") if path.is_file())
    inner = folders_in(folder)
    if depth > 1 and len(inner) <= _MOST_FOLDERS:
        for name in inner:
            yield from _tables(folder / name, depth - 1)


def _of_text(path: Path) -> list[str]:
    with open_regular_text(path, newline="") as file:
        lines = (file.readline(_FIRST_LINE) for _ in range(100))
        line = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=line.count)
    return [name.strip() for name in next(csv.reader([line], delimiter=separator), ())]


def _of_json_lines(path: Path) -> list[str]:
    with open_regular(path) as file:
        row = json.loads(file.readline(_FIRST_LINE))
    return list(row) if isinstance(row, dict) else []


def _of_parquet(path: Path) -> list[str]:
    parquet = format_library("pyarrow.parquet", "parquet", path)
    return list(parquet.read_schema(path).names)


_READERS: dict[str, Callable[[Path], list[str]]] = {
    ".csv": _of_text,
    ".tsv": _of_text,
    ".tab": _of_text,
    ".txt": _of_text,
    ".jsonl": _of_json_lines,
    ".parquet": _of_parquet,
}
