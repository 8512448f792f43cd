"""Predictions as CSV: plain, or in the ids, order and columns of a sample submission."""

import csv
import io
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ravine.core.errors import DataError
from ravine.data.sources.table import read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample submission: its columns and its ids, in order."""

    path: Path
    columns: tuple[str, ...]
    ids: tuple[str, ...]

    @property
    def has_label_column(self) -> bool:
        """Whether one column takes the label; else each class has a column."""
        return len(self.columns) == 2


def read_sample(path: Path) -> Sample:
    """Returns the shape of a sample submission; its first column holds the ids.

    Raises:
        DataError: it has one column only, no rows, or an id twice.
    """
    columns, rows = read_rows(path)
    if len(columns) < 2:
        raise DataError(f"{path} has one column only; wanted are ids, and labels or classes")
    ids = [row[columns[0]] for row in rows]
    seen: set[str] = set()
    for line, name in enumerate(ids, start=2):
        if name in seen:
            raise DataError(f"{path}, line {line}: the id {name!r} stands there twice")
        seen.add(name)
    return Sample(path=path, columns=tuple(columns), ids=tuple(ids))


def match_ids(ids: Sequence[str], names: Sequence[str], where: str) -> list[int]:
    """Returns for each id the place of its image among `names`.

    An id is the path, the name, or the name without its ending.

    Raises:
        DataError: an image is missing, or an id fits several.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        pure = PurePosixPath(name)
        for key in {name, pure.name, str(pure.with_suffix("")), pure.stem}:
            places.setdefault(key, []).append(place)
    found: list[int] = []
    missing: list[str] = []
    for name in ids:
        fitting = places.get(name) or places.get(PurePosixPath(name).name, [])
        if not fitting:
            missing.append(name)
        elif len(fitting) > 1:
            raise DataError(
                f"{where}: the id {name!r} fits {names[fitting[0]]} and {names[fitting[1]]}"
            )
        else:
            found.append(fitting[0])
    if missing:
        shown = ", ".join(repr(name) for name in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"{where}: no readable image for {len(missing)} of {len(ids)} ids: {shown}{more}; "
            "nothing written"
        )
    return found


def class_columns(sample: Sample, classes: Sequence[str]) -> list[int]:
    """Returns the class that each column behind the id stands for.

    A column is named as the class, or with a prefix (class_cat, label-cat, prob cat), or by the
    class's number, from 0.

    Raises:
        DataError: a column fits no class, or two fit the same.
    """
    wanted = {_plain(name): place for place, name in enumerate(classes)}
    numbers = {str(place): place for place in range(len(classes))}
    columns = sample.columns[1:]
    found: list[int | None] = []
    for column in columns:
        bare = re.sub(r"(?i)^(class|label|prob|probability|target|p|is)[ _-]+", "", column)
        candidates = [wanted.get(_plain(column)), wanted.get(_plain(bare)), numbers.get(bare)]
        found.append(next((place for place in candidates if place is not None), None))
    known = [place for place in found if place is not None]
    if len(known) < len(columns):
        strange = columns[found.index(None)]
        raise DataError(
            f"{sample.path}: the column {strange!r} is no class of the network; "
            f"its classes: {', '.join(list(classes)[:20])}"
        )
    if sorted(known) != list(range(len(classes))):
        raise DataError(
            f"{sample.path} has {len(columns)} class columns and the network {len(classes)} classes"
        )
    return known


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def write_submission(
    path: Path,
    sample: Sample,
    names: Sequence[str],
    classes: Sequence[str],
    probabilities: np.ndarray,
) -> None:
    """Writes predictions with the ids, order and columns of `sample`, whole or not at all.

    Args:
        path: the CSV to write.
        sample: what it has to look like.
        names: of the N images.
        classes: K names.
        probabilities: (N, K).

    Raises:
        DataError: an image is missing, a column fits no class, or the disk does not allow it.
    """
    places = match_ids(sample.ids, names, str(sample.path))
    if sample.has_label_column:
        rows = [[classes[int(probabilities[place].argmax())]] for place in places]
    else:
        order = class_columns(sample, classes)
        rows = [[f"{p:.6g}" for p in probabilities[place][order]] for place in places]
    table = [list(sample.columns)]
    table += [[name, *row] for name, row in zip(sample.ids, rows, strict=True)]
    _check_against(sample, table)
    _write(path, table)


def _check_against(sample: Sample, table: Sequence[Sequence[str]]) -> None:
    """The last look before writing: the judge compares head, ids, order and width."""
    head, *rows = table
    same = tuple(head) == sample.columns and tuple(row[0] for row in rows) == sample.ids
    if not same or any(len(row) != len(head) or "" in row for row in rows):
        raise AssertionError("the submission does not look like its sample")


def write_predictions(
    path: Path, names: Sequence[str], classes: Sequence[str], probabilities: np.ndarray
) -> None:
    """Writes image, class, probability, and the probability of every class.

    Raises:
        DataError: the disk does not allow it.
    """
    table: list[list[str]] = [["image", "class", "probability", *classes]]
    for name, row in zip(names, probabilities, strict=True):
        best = int(row.argmax())
        numbers = [f"{p:.6g}" for p in row]
        table.append([name, classes[best], numbers[best], *numbers])
    _write(path, table)


def _write(path: Path, table: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text.getvalue())
            os.chmod(beside, 0o644)
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; choose another --out") from None
