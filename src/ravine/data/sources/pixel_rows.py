"""The rows of a table of pixels as numbers, a block at a time.

Shape letters: M rows of a block, P pixels of an image.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.regular_file import open_regular_text, text_fault
from ravine.data.pixel_array import rows_of_block
from ravine.data.sources.pixel_table_form import PixelTableForm

_LONGEST_LINE = 1 << 24  # bytes
_BYTES_OF_A_PIXEL = 16  # of text and of the numbers made of it, in memory at a time


def data_lines(path: Path, form: PixelTableForm) -> Iterator[tuple[int, str]]:
    """Yields the number, from 1, and the text of each row below the header; empty ones are passed.

    Raises:
        DataError: the file cannot be read, or a line is too long to be a row.
    """
    header = form.header
    try:
        with open_regular_text(path) as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE:
                    raise DataError(f"{path}, line {number} is too long for a row of pixels")
                if not line.strip():
                    continue
                if header:
                    header = False
                    continue
                yield number, line.rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {text_fault(error)}") from None


def parsed_rows(path: Path, form: PixelTableForm) -> Iterator[np.ndarray]:
    """Yields blocks of pixels (M, P): uint8 where all are whole numbers in 0..255, else float32.

    Raises:
        DataError: a cell is no pixel, or a row has too few or too many.
    """
    step = rows_of_block(form.pixels * _BYTES_OF_A_PIXEL)
    lines: list[str] = []
    numbers: list[int] = []
    for number, line in data_lines(path, form):
        lines.append(_pixels_of(line, form))
        numbers.append(number)
        if len(lines) == step:
            yield _block(path, form, lines, numbers)
            lines, numbers = [], []
    if lines:
        yield _block(path, form, lines, numbers)


def _pixels_of(line: str, form: PixelTableForm) -> str:
    """Returns the part of a row that holds pixels, the cells separated as in the row."""
    behind = form.columns - form.first - (1 if form.in_one_cell else form.pixels)
    text = line.rsplit(form.separator, behind)[0] if behind else line
    text = text.split(form.separator, form.first)[-1] if form.first else text
    return text.replace('"', "") if '"' in text else text


def _block(
    path: Path, form: PixelTableForm, lines: Sequence[str], numbers: Sequence[int]
) -> np.ndarray:
    separator = None if form.in_one_cell else form.separator
    values = _numbers(lines, separator)
    if values is None or values.shape != (len(lines), form.pixels):
        raise _odd_row(path, form, lines, numbers, separator)
    if values.dtype.kind == "i" and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    if not np.isfinite(values).all() or values.min() < -1 or values.max() > 255.5:
        row = int(np.argmax(~((values >= -1) & (values <= 255.5)).all(1)))
        raise DataError(f"{path}, line {numbers[row]}: a pixel is not in 0..255 or 0..1")
    return values.astype(np.float32)


def _numbers(lines: Sequence[str], separator: str | None) -> np.ndarray | None:
    """Returns rows of text as numbers, (M, P); None where one of them is none."""
    for dtype in (np.int32, np.float32):
        try:
            return np.loadtxt(lines, dtype=dtype, delimiter=separator, comments=None, ndmin=2)
        except (ValueError, OverflowError):
            continue
    return None


def _odd_row(
    path: Path,
    form: PixelTableForm,
    lines: Sequence[str],
    numbers: Sequence[int],
    separator: str | None,
) -> DataError:
    for number, line in zip(numbers, lines, strict=True):
        found = _numbers([line], separator) if line.strip() else None
        if found is None:
            return DataError(f"{path}, line {number}: a cell is no number; wanted are pixels")
        if found.shape != (1, form.pixels):
            return DataError(
                f"{path}, line {number}: {found.size} pixels, but the first row has {form.pixels}"
            )
    return DataError(f"{path}: the rows from line {numbers[0]} on differ in length")
