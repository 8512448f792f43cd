"""Predictions as CSV: plain, or with the ids, order and columns of a sample submission.

`read_sample` reads the sample, `submission_rows` is pure and computes the rows, `write_submission`
compares the finished text with the sample before it writes the file.

Shape letters: N images, K classes.
"""

import csv
import io
import math
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.matching import match_columns, match_ids, plain_spelling, unique_spellings
from ravine.data.sample_labels import refuse_foreign_labels
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
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from None
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


def submission_rows(
    sample: SampleSubmission,
    names: Sequence[str],
    classes: Sequence[str],
    probabilities: np.ndarray,
) -> tuple[list[list[str]], str]:
    """Returns the values of each id's row, and in a clause how the sample was interpreted.

    One column per class takes probabilities. A single column takes the probability of a class
    where it has that class's name and holds numbers; class indices from 0 where it holds such
    and no class has a number for a name; else class names, in the sample's spelling.

    Args:
        sample: the ids and columns wanted.
        names: of the N images.
        classes: K names.
        probabilities: (N, K), finite.

    Raises:
        DataError: an image is missing, a column fits no class, or a probability is no number.
    """
    indices = match_ids(sample.ids, names, str(sample.path))
    chosen = probabilities[indices]
    finite = np.isfinite(chosen).all(axis=1)
    if not finite.all():
        worst = names[indices[int(np.flatnonzero(~finite)[0])]]
        raise DataError(f"the network gives no finite probabilities for {worst}; nothing written")
    order = _probability_columns(sample, classes)
    if order is not None:
        shown = ", ".join(repr(classes[index]) for index in order[:3])
        more = ", …" if len(order) > 3 else ""
        return _numbers(chosen[:, order]), f"probabilities of {shown}{more}"
    labels, interpretation = _labels(sample, classes)
    return [[labels[int(best)]] for best in chosen.argmax(axis=1)], interpretation


def _probability_columns(sample: SampleSubmission, classes: Sequence[str]) -> list[int] | None:
    """Returns the class index of each column of probabilities; None for a column of labels."""
    columns = sample.other_columns
    if len(columns) > 1:
        return match_columns(columns, classes, str(sample.path))
    if not all(_is_number(value) for value in sample.values):
        return None
    name = columns[0].strip()
    index = unique_spellings(classes).get(plain_spelling(name))
    if name in classes or index is not None:
        return [classes.index(name) if index is None else index]
    parts = sorted(v for v in sample.values if v not in classes and not float(v).is_integer())
    if parts:
        raise DataError(
            f"{sample.path}: the column {columns[0]!r} holds {parts[0]}, so it wants the "
            "probability of one class; rename it in the sample to that class: "
            f"{', '.join(list(classes)[:20])}"
        )
    return None


def _labels(sample: SampleSubmission, classes: Sequence[str]) -> tuple[list[str], str]:
    """Returns the label of each class, and in a clause what kind they are."""
    numbers = {str(index) for index in range(len(classes))}
    counts = sample.values <= numbers and not any(name.isdecimal() for name in classes)
    if counts and "0" in sample.values:
        kind = f"class numbers, 0 for {classes[0]!r} to {len(classes) - 1} for {classes[-1]!r}"
        return [str(index) for index in range(len(classes))], kind
    unique = unique_spellings(classes)
    spelled = {unique[k]: v for v in sorted(sample.values) if (k := plain_spelling(v)) in unique}
    known = {
        value for value in sample.values if value in classes or plain_spelling(value) in unique
    }
    refuse_foreign_labels(sample.path, sample.values, classes, known)
    labels = [
        name if name in sample.values else spelled.get(index, name)
        for index, name in enumerate(classes)
    ]
    return labels, "class names"


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _numbers(probabilities: np.ndarray) -> list[list[str]]:
    return [[f"{p:.6g}" for p in row] for row in probabilities]


def write_submission(
    path: Path,
    sample: SampleSubmission,
    names: Sequence[str],
    classes: Sequence[str],
    probabilities: np.ndarray,
) -> str:
    """Writes predictions with the ids, order and columns of `sample`, whole or not at all.

    Args:
        path: the CSV to write.
        sample: the ids and columns wanted.
        names: of the N images.
        classes: K names.
        probabilities: (N, K), finite.

    Returns:
        In a clause, how the sample was interpreted.

    Raises:
        DataError: an image is missing, a column fits no class, a probability is no number, or
            the disk does not allow it.
    """
    rows, interpretation = submission_rows(sample, names, classes, probabilities)
    table = [list(sample.columns)]
    for name, row in zip(sample.ids, rows, strict=True):
        table.append([*row[: sample.id_column], name, *row[sample.id_column :]])
    text = _as_text(table, sample.separator)
    _check_against(sample, text)
    _write(path, text)
    return interpretation


def _check_against(sample: SampleSubmission, text: str) -> None:
    """Compares the finished text with the sample, read back as a judge reads it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sample.separator)
    head, *rows = reader
    same = tuple(head) == sample.columns
    same = same and all(len(row) == len(head) and "" not in row for row in rows)
    if not same or tuple(row[sample.id_column] for row in rows) != sample.ids:
        raise AssertionError("the submission differs from its sample")


def write_predictions(
    path: Path, names: Sequence[str], classes: Sequence[str], probabilities: np.ndarray
) -> None:
    """Writes image, class, probability, and the probability of every class.

    Args:
        path: the CSV to write.
        names: of the N images.
        classes: K names.
        probabilities: (N, K).

    Raises:
        DataError: the disk does not allow it.
    """
    table: list[list[str]] = [["image", "class", "probability", *classes]]
    for name, row in zip(names, probabilities, strict=True):
        best = int(row.argmax())
        numbers = [f"{p:.6g}" for p in row]
        table.append([name, classes[best], numbers[best], *numbers])
    _write(path, _as_text(table, ","))


def _as_text(table: Sequence[Sequence[str]], separator: str) -> str:
    text = io.StringIO()
    # Python before 3.13 leaves a lone carriage return without quotes, and reads it as a line end.
    strange = any("\r" in cell for row in table for cell in row)
    csv.writer(
        text,
        delimiter=separator,
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if strange else csv.QUOTE_MINIMAL,
    ).writerows(table)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            os.chmod(part, 0o644)
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; choose another --out") from None
