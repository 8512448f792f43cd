"""The form of a table whose cells are pixels: which columns, what size, in what order.

    label,pixel0,…,pixel783          Digit Recognizer, sign language MNIST
    label,1x1,1x2,…,28x28            MNIST as CSV
    7,0,0,…                          no header; the label first (EMNIST as CSV)
    emotion,pixels,Usage             FER2013: all pixels of an image in one cell, between blanks

Shape letters: H height, W width.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.regular_file import head_text, open_regular, text_fault
from ravine.data.sources.name_words import words

_HEAD = 1 << 20  # bytes in which the first two lines end
_FEWEST = 64  # pixels: 8×8
_PIXEL = re.compile(r"(?:[a-z]+[ _-]?)?(\d+)|(\d+)x(\d+)", re.IGNORECASE)
_LABELS = ("label", "labels", "emotion", "class", "target", "y", "digit", "character")
_IDS = frozenset({"id", "imageid", "image_id", "index", "unnamed: 0", ""})
_USAGE = frozenset({"usage", "split", "set", "subset", "partition"})
_TEXTS = frozenset({"pixels", "image_pixels"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelTableForm:
    """Where a table of pixels has what.

    Attributes:
        separator: between the cells of a row.
        header: whether the first line is one.
        columns: how many a row has.
        first: of the columns of pixels, or the one that holds all of them.
        pixels: of an image.
        side: H and W, as images are square.
        in_one_cell: all pixels of an image stand in one cell, between blanks.
        transposed: stored column by column.
        label: column of the label, or None.
        label_name: for messages.
        usage: column that names the split, or None.
    """

    separator: str
    header: bool
    columns: int
    first: int
    pixels: int
    side: int
    in_one_cell: bool
    transposed: bool
    label: int | None
    label_name: str
    usage: int | None


def has_pixels(path: Path) -> bool:
    """Returns whether the head of a file is that of a table of pixels; raises nothing."""
    try:
        lines = _head(path)
        return bool(lines) and _kind(*_fields(lines[0])) != ""
    except (OSError, UnicodeDecodeError):
        return False


def pixel_table_form(path: Path, label_column: str | None) -> PixelTableForm:
    """Returns the form of a table of pixels.

    Args:
        path: of the table.
        label_column: name of the column of the labels, if the user gave one.

    Raises:
        DataError: its columns are not the pixels of square grey images in their order.
    """
    try:
        lines = _head(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {text_fault(error)}") from None
    if not lines:
        raise DataError(f"{path} is empty")
    separator, fields = _fields(lines[0])
    kind = _kind(separator, fields)
    if kind == "one cell":
        return _one_cell(path, separator, fields, lines, label_column)
    if kind == "numbers":
        return _without_header(path, separator, fields)
    if kind == "columns":
        return _with_header(path, separator, fields, label_column)
    raise DataError(f"{path} is no table of pixels: it has no column pixels or pixel0, pixel1, …")


def _head(path: Path) -> list[str]:
    """Returns the first two lines of a file."""
    with open_regular(path) as file:
        content = file.read(_HEAD)
    text, cut = head_text(content, errors="ignore"), len(content) == _HEAD
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[:2] if len(lines) > 2 or not cut else lines[: max(1, len(lines) - 1)]


def _fields(line: str) -> tuple[str, list[str]]:
    separator = max(",;\t", key=line.count)
    return separator, [field.strip(' "') for field in line.split(separator)]


def _kind(separator: str, fields: Sequence[str]) -> str:
    """Returns how the columns hold pixels: "one cell", "numbers", "columns", or ""."""
    lower = [field.lower() for field in fields]
    if _TEXTS & set(lower):
        return "one cell"
    if len(fields) < _FEWEST:
        return ""
    if all(_is_number(field) for field in fields):
        return "numbers"
    like = sum(bool(_PIXEL.fullmatch(field)) for field in fields)
    return "columns" if like >= max(_FEWEST, len(fields) - 4) else ""


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _form(
    path: Path, separator: str, fields: Sequence[str], pixels: int, **where: object
) -> PixelTableForm:
    side = math.isqrt(pixels)
    if side * side != pixels or pixels < _FEWEST:
        colour = pixels % 3 == 0 and math.isqrt(pixels // 3) ** 2 == pixels // 3
        why = "are colours in an order that nothing tells" if colour else "are no square"
        raise DataError(
            f"{path}: {pixels} pixels of an image {why}; save them as .npz: numpy.savez(file, "
            "images=…, labels=…)"
        )
    transposed = "emnist" in words(path.stem)
    common = {"separator": separator, "columns": len(fields), "transposed": transposed}
    return PixelTableForm(pixels=pixels, side=side, **common, **where)  # type: ignore[arg-type]


def _one_cell(
    path: Path, separator: str, fields: Sequence[str], lines: Sequence[str], given: str | None
) -> PixelTableForm:
    lower = [field.lower() for field in fields]
    first = next(index for index, name in enumerate(lower) if name in _TEXTS)
    if len(lines) < 2:
        raise DataError(f"{path} holds no rows below its header")
    row = lines[1].split(separator)
    pixels = len(row[first].strip(' "').split()) if len(row) == len(fields) else 0
    label = _label(path, fields, given, {first})
    return _form(
        path,
        separator,
        fields,
        pixels,
        header=True,
        first=first,
        in_one_cell=True,
        label=label,
        label_name="" if label is None else fields[label],
        usage=next((i for i, name in enumerate(lower) if name in _USAGE), None),
    )


def _without_header(path: Path, separator: str, fields: Sequence[str]) -> PixelTableForm:
    labelled = math.isqrt(len(fields)) ** 2 != len(fields)
    return _form(
        path,
        separator,
        fields,
        len(fields) - labelled,
        header=False,
        first=int(labelled),
        in_one_cell=False,
        label=0 if labelled else None,
        label_name="1",
        usage=None,
    )


def _with_header(
    path: Path, separator: str, fields: Sequence[str], given: str | None
) -> PixelTableForm:
    lower = [field.lower() for field in fields]
    found = [index for index, field in enumerate(fields) if _PIXEL.fullmatch(field)]
    if given is not None and given in fields:
        found = [index for index in found if fields[index] != given]
    first, pixels = found[0], len(found)
    numbers = [_position(fields[index]) for index in found]
    if found != list(range(first, first + pixels)) or numbers != sorted(set(numbers)):
        raise DataError(
            f"{path}: the columns of pixels are not in order, {fields[first]} to "
            f"{fields[found[-1]]}; sort them, row by row"
        )
    label = _label(path, fields, given, set(found))
    return _form(
        path,
        separator,
        fields,
        pixels,
        header=True,
        first=first,
        in_one_cell=False,
        label=label,
        label_name="" if label is None else fields[label],
        usage=next((i for i, name in enumerate(lower) if name in _USAGE), None),
    )


def _position(name: str) -> tuple[int, ...]:
    """Returns the numbers in the name of a column: (12,) of pixel12, (1, 28) of 1x28."""
    return tuple(int(number) for number in re.findall(r"\d+", name))


def _label(path: Path, fields: Sequence[str], given: str | None, taken: set[int]) -> int | None:
    """Returns the column of the label; None where the table has none, as one to predict."""
    rest = {name: i for i, name in enumerate(fields) if i not in taken}
    if given is not None:
        if given in rest:
            return rest[given]
        raise DataError(f"{path} has no column {given!r} of labels; it has: {_shown(list(rest))}")
    lower = {name.lower(): i for name, i in rest.items()}
    for name in _LABELS:
        if name in lower:
            return lower[name]
    odd = [name for name in rest if name.lower() not in _IDS | _USAGE]
    if odd:
        raise DataError(
            f"{path}: no column has a usual name for the label; name it with --label-column, one "
            f"of: {_shown(odd)}"
        )
    return None


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(name[:20] for name in names[:4])
    return shown + (" …" if len(names) > 4 else "") if names else "pixels only"
