"""A sample submission: the ids and columns that a judge wants."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.regular_file import open_regular_text, text_fault
from ravine.data.sources.labels_csv import IMAGE_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSubmission:
    """The ids and columns that a submission must have.

    Attributes:
        path: of the sample.
        columns: names, in order.
        id_column: index of the column of ids.
        ids: in order.
        values: the distinct values of the other column where there is only one, else none.
        separator: comma, semicolon or tab.
    """

    path: Path
    columns: tuple[str, ...]
    id_column: int
    ids: tuple[str, ...]
    values: frozenset[str]
    separator: str

    @property
    def other_columns(self) -> tuple[str, ...]:
        """The columns to fill."""
        return self.columns[: self.id_column] + self.columns[self.id_column + 1 :]


def read_sample(path: Path) -> SampleSubmission:
    """Returns the ids and columns of a sample submission.

    The ids are in the first column, unless only a later one is named like ids (id, image…) and
    the first repeats values, or is the only other column.

    Raises:
        DataError: it cannot be read, has one column only, no rows, a row of another length, or a
            column or an id that is empty or occurs twice.
    """
    separator, lines = _read_lines(path)
    (_, columns), *rows = lines or [(1, [""])]
    if len(columns) < 2:
        raise DataError(f"{path} has one column only; wanted are ids, and labels or classes")
    _check_different([(1, column) for column in columns], path, "column")
    if not rows:
        raise DataError(f"{path} holds no rows below its header")
    for line, row in rows:
        if len(row) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(row)} values where the header has {len(columns)}"
            )
    index = _id_column(columns, [row for _, row in rows])
    _check_different([(line, row[index]) for line, row in rows], path, "id")
    return SampleSubmission(
        path=path,
        columns=tuple(columns),
        id_column=index,
        ids=tuple(row[index] for _, row in rows),
        values=frozenset(row[1 - index].strip() for _, row in rows if len(row) == 2),
        separator=separator,
    )


def _read_lines(path: Path) -> tuple[str, list[tuple[int, list[str]]]]:
    """Returns the separator, and the lines that are not blank with their numbers."""
    try:
        with open_regular_text(path, newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {text_fault(error)}") from None
    header = re.sub(r'"[^"]*"', "", text.lstrip().partition("\n")[0])
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        return separator, [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _check_different(found: Sequence[tuple[int, str]], path: Path, what: str) -> None:
    seen: set[str] = set()
    for line, name in found:
        if not name.strip():
            raise DataError(f"{path}, line {line}: an empty {what}")
        if name in seen:
            raise DataError(f"{path}, line {line}: the {what} {name!r} occurs twice")
        seen.add(name)


def _id_column(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Returns 0, unless only a later column can hold the ids: a class may be named `name`."""
    known = [index for index, name in enumerate(columns) if name.strip().lower() in IMAGE_COLUMNS]
    different = [i for i in known if len({row[i] for row in rows}) == len(rows)]
    if 0 in known or not different:
        return 0
    repeats = len({row[0] for row in rows}) < len(rows)
    return different[0] if repeats or len(columns) == 2 else 0
