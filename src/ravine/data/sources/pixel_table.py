"""Tables whose cells are pixels, alone or several in a folder: Kaggle's digits and their like.

A row is an image; its name is the number of its row, from 1. `pixel_table_form` finds out which
columns hold what. The text is read twice: once for labels and splits, once for the pixels, a block
of rows at a time.

Shape letters: N images, M images of a block, S side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection, class_order, label_indices
from ravine.data.pixel_array import BlockArray, PixelArray, files_key, joined
from ravine.data.settings import DataSettings
from ravine.data.sources.flat_folder import flat_names
from ravine.data.sources.name_words import ORDER, split_in
from ravine.data.sources.pixel_rows import data_lines, parsed_rows
from ravine.data.sources.pixel_table_form import PixelTableForm, has_pixels, pixel_table_form
from ravine.data.sources.value_range import Scale, as_bytes, common_scale, range_of
from ravine.data.understanding import Understood

_ENDINGS = (".csv", ".tsv", ".txt")
# FER2013 (Goodfellow et al., "Challenges in representation learning", 2013).
_USAGE = {"publictest": "validation", "privatetest": "test"}


@dataclass(frozen=True, slots=True)
class _PixelTable:
    """A table of N images.

    Attributes:
        path: of the file.
        form: its columns.
        count: N.
        labels: N names of classes, or () if it has none.
        splits: of the N images, or ().
    """

    path: Path
    form: PixelTableForm
    count: int
    labels: Sequence[str]
    splits: Sequence[str]


def is_pixel_table(path: Path) -> bool:
    """Returns whether a path is a table of pixels, or a folder with such tables and no folders."""
    if path.is_file():
        return path.name.lower().endswith(_ENDINGS) and has_pixels(path)
    return path.is_dir() and bool(_tables_in(path))


def _tables_in(folder: Path) -> list[Path]:
    tables = [folder / name for name in flat_names(folder) if name.lower().endswith(_ENDINGS)]
    return [table for table in tables if has_pixels(table)]


def read_pixel_table(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of a table of pixels, or of the tables in a folder.

    Raises:
        DataError: a cell is no pixel, a row is torn, or the tables do not fit each other.
    """
    paths = _tables_in(path) if path.is_dir() else [path]
    read = [_read(one, pixel_table_form(one, settings.label_column)) for one in paths]
    tables = sorted(
        (table for table in read if table.labels),
        key=lambda table: ORDER.index(split_in(table.path.stem) or "train"),
    )
    if not tables:
        raise DataError(
            f"{paths[0]} has no labels to train on; name their column with --label-column, or "
            "predict it: ravine predict RUN TABLE"
        )
    names, given = _names_and_splits(path, tables)
    labels = [label for table in tables for label in table.labels]
    classes = class_order(set(labels))
    form = tables[0].form
    where = "column pixels" if form.in_one_cell else f"{form.pixels} columns"
    turned = ", turned upright" if form.transposed else ""
    left_out = [f"{t.path.name}, {t.count:,} rows without labels" for t in read if not t.labels]
    column = f"column {form.label_name}, {len(classes)}"
    usage = form.header and form.usage is not None
    return Collection(
        names=names,
        labels=label_indices(labels, classes),
        classes=classes,
        given_splits=given,
        pixels=_pixels(tables),
        content_key=files_key([table.path for table in tables], f"{form}"),
        understood=Understood(
            "pixel-table",
            f"{column}; pixels: {where}, {form.side}×{form.side} row by row{turned}",
            ("splits: the column Usage" if usage else "splits: the files' names") if given else "",
            tuple(left_out),
        ),
    )


def read_unlabelled_pixels(path: Path) -> Collection:
    """Returns the images of a table of pixels to predict, named by their rows, from 1.

    Raises:
        DataError: a cell is no pixel, or a row is torn.
    """
    table = _read(path, pixel_table_form(path, None))
    return Collection(
        names=[str(row) for row in range(1, table.count + 1)],
        labels=np.zeros(table.count, np.int64),
        classes=("",),
        pixels=_pixels([table]),
        content_key=files_key([path], f"{table.form}"),
    )


def _names_and_splits(
    path: Path, tables: Sequence[_PixelTable]
) -> tuple[list[str], list[str | None]]:
    """Returns the names of all images, and their splits; none where nothing names one."""
    if len(tables) == 1:
        (table,) = tables
        names = [str(row) for row in range(1, table.count + 1)]
        alone = path.is_file() or split_in(table.path.stem) in (None, "train")
        splits: list[str | None] = list(table.splits)
        return names, splits if splits or alone else [split_in(table.path.stem)] * table.count
    found = [split_in(table.path.stem) for table in tables]
    if None in found or len(set(found)) < len(found) or any(table.splits for table in tables):
        first, second = (table.path.name for table in tables[:2])
        raise DataError(
            f"{path} has the tables {first} and {second} with labels, and their names do not say "
            "which is for training; name one of them, or call them train and test"
        )
    sizes = {table.form.side for table in tables}
    if len(sizes) > 1:
        raise DataError(f"{path}: the tables hold images of different sizes: {sorted(sizes)}")
    names = [f"{t.path.stem}/{row}" for t in tables for row in range(1, t.count + 1)]
    return names, [split for split, t in zip(found, tables, strict=True) for _ in range(t.count)]


def _read(path: Path, form: PixelTableForm) -> _PixelTable:
    """Returns what a table says beside its pixels; every row has as many cells as the first."""
    count, labels, splits = 0, [], []
    for number, line in data_lines(path, form):
        cells = line.count(form.separator) + 1
        if cells != form.columns:
            raise DataError(
                f"{path}, line {number}: {cells} cells, but the first line has {form.columns}"
            )
        count += 1
        if form.label is not None:
            labels.append(_label(path, number, _cell(line, form, form.label)))
        if form.usage is not None:
            splits.append(_split(path, number, _cell(line, form, form.usage)))
    if not count:
        raise DataError(f"{path} holds no rows below its header")
    return _PixelTable(path, form, count, labels, splits)


def _cell(line: str, form: PixelTableForm, column: int) -> str:
    """Returns one cell; those behind the pixels are counted from the end."""
    behind = form.columns - column
    parts = (
        line.rsplit(form.separator, behind)[-behind:]
        if behind < column
        else [line.split(form.separator, column + 1)[column]]
    )
    return parts[0].strip(' "')


def _label(path: Path, number: int, cell: str) -> str:
    if not cell:
        raise DataError(f"{path}, line {number}: no label; fill it in or remove the line")
    # Tables that went through a spreadsheet or pandas have 3.0 for 3.
    return cell.removesuffix(".0") if cell.removesuffix(".0").isdecimal() else cell[:100]


def _split(path: Path, number: int, cell: str) -> str:
    found = _USAGE.get(cell.lower()) or split_in(cell)
    if found is None:
        raise DataError(
            f"{path}, line {number}: {cell[:40]!r} names no split; wanted is Training, PublicTest, "
            "PrivateTest, or train, validation, test"
        )
    return found


def _pixels(tables: Sequence[_PixelTable]) -> PixelArray:
    """Returns the images of all tables; what their values mean is decided when they are read."""
    decided: list[Scale] = []

    def scale() -> Scale:
        if not decided:
            ranges = [
                range_of(str(t.path), _values_type(t), lambda t=t: parsed_rows(t.path, t.form))  # type: ignore[misc]
                for t in tables
            ]
            decided.append(common_scale(ranges))
        return decided[0]

    def part(table: _PixelTable) -> PixelArray:
        side = table.form.side

        def blocks() -> Iterator[np.ndarray]:
            for rows in parsed_rows(table.path, table.form):
                images = as_bytes(rows, scale()).reshape(-1, side, side, 1)
                yield images.transpose(0, 2, 1, 3) if table.form.transposed else images

        return BlockArray((table.count, side, side, 1), blocks)

    return joined([part(table) for table in tables])


def _values_type(table: _PixelTable) -> np.dtype:
    return next(parsed_rows(table.path, table.form)).dtype
