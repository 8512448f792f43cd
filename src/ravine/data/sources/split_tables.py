"""A table in each folder of images: `metadata.csv` (Hugging Face) and `_classes.csv` (Roboflow).

`d/train/metadata.csv` with `file_name,label`, `d/{train,valid,test}/_classes.csv` with a file name
and a column of 0 and 1 for each class. The split is the folder's; names are below the folder. Or
`d/{train,validation,test}.csv` of equal columns, whose images lie anywhere below `d`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection, class_order, label_indices
from ravine.data.label_sets import as_rows, has_several, label_rows
from ravine.data.settings import DataSettings
from ravine.data.sources.folders import has_class_folders
from ravine.data.sources.labels_csv import read_table
from ravine.data.sources.listing import folders_in
from ravine.data.sources.split_words import UNLABELLED, split_group
from ravine.data.sources.table_columns import has_usual_columns
from ravine.data.sources.table_file import read_table_file, shown_path
from ravine.data.understanding import Understood

NAME = "split-tables"
_NAMES = ("metadata.csv", "_classes.csv")
_ENDINGS = frozenset({".csv", ".tsv"})
_LARGEST = 1 << 26  # bytes of a table that is looked into; tables of pixels are larger
_WITHOUT_ROW = "images without a row"


def has_split_tables(path: Path) -> bool:
    """Returns whether a folder, or a folder for a split in it, has a table of its images."""
    return path.is_dir() and bool(_tables(path))


def _tables(root: Path) -> Sequence[tuple[str | None, Path]]:
    """Returns (split, table) of each table: the one in the folder, or those of its splits."""
    own = _table_in(root)
    if own is not None:
        return [(None, own)]
    try:
        splits = split_group(folders_in(root))
    except DataError:
        return []
    found = [(split, _table_in(root / name)) for name, split in splits.items()]
    inside = [(split, table) for split, table in found if table and split != UNLABELLED]
    return inside or _of_splits(root)


def _of_splits(root: Path) -> Sequence[tuple[str | None, Path]]:
    """Returns the tables whose names differ in the split and whose columns are the same."""
    try:
        files = sorted(path for path in root.iterdir() if path.suffix.lower() in _ENDINGS)
        files = [path for path in files if path.is_file() and path.stat().st_size <= _LARGEST]
    except OSError:
        return []
    splits = split_group(path.stem for path in files)
    found: dict[str, Path] = {}
    columns: set[tuple[str, ...]] = set()
    for path in files:
        split = splits.get(path.stem, UNLABELLED)
        if split == UNLABELLED or not _labels_images(path):
            continue
        if split in found:
            return []  # two tables for one split
        found[split] = path
        columns.add(read_table_file(path).columns)
    fits = "train" in found and len(found) > 1 and len(columns) == 1
    return list(found.items()) if fits else []


def _table_in(folder: Path) -> Path | None:
    for name in _NAMES:
        path = folder / name
        if path.is_file() and _labels_images(path):
            return path
    return None


def _labels_images(path: Path) -> bool:
    try:
        columns = read_table_file(path).columns
    except DataError:
        return False
    return path.name == "_classes.csv" or has_usual_columns(columns)


def read_split_tables(root: Path, settings: DataSettings) -> Collection:
    """Returns the images that the tables in a folder, or in its folders for splits, name.

    Raises:
        DataError: a table does not fit its images; or there are class folders as well, and the user
            has not said which of the two is meant.
    """
    parts: list[tuple[str | None, str, Collection]] = []
    tables = _tables(root)
    for split, table in tables:
        _refuse_two_ways(root, table, settings, of_splits=table.parent == root and bool(split))
        below = table.parent.relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        parts.append((split, prefix, read_table(table, table.parent, settings)))
    if not parts:
        raise DataError(
            f"{root} holds no {' or '.join(_NAMES)} with a column for the image and one for the "
            "label, and no folder for a split with one"
        )
    return _joined(root, _without_each_other(parts) if tables[0][1].parent == root else parts)


def _without_each_other(
    parts: Sequence[tuple[str | None, str, Collection]],
) -> list[tuple[str | None, str, Collection]]:
    """Returns parts of one folder: an image is unlabelled if no table has a row for it."""
    used = {name for _, _, part in parts for name in part.names}
    unlabelled = [name for name in parts[0][2].unlabelled if name not in used]
    kept = []
    for number, (split, prefix, part) in enumerate(parts):
        own = unlabelled if number == 0 else []
        said = part.understood
        if said is not None:
            others = [text for text in said.left_out if not text.endswith(_WITHOUT_ROW)]
            rest = [f"{len(own):,} {_WITHOUT_ROW}"] if own else []
            said = replace(said, left_out=(*others, *rest))
        kept.append((split, prefix, replace(part, unlabelled=own, understood=said)))
    return kept


def _refuse_two_ways(root: Path, table: Path, settings: DataSettings, *, of_splits: bool) -> None:
    sorted_too = has_class_folders(table.parent)
    if _has_splits(table.parent):
        inner = folders_in(table.parent) if of_splits else ()
        sorted_too = any(has_class_folders(table.parent / name) for name in inner)
    if settings.layout is None and sorted_too:
        raise DataError(
            f"{shown_path(root)} can be read in two ways: --layout {NAME} takes the labels of "
            f"{table.name}, --layout folders the names of the folders; say which"
        )


def _has_splits(folder: Path) -> bool:
    names = folders_in(folder)
    return bool(names) and len(split_group(names)) == len(names)


def _joined(root: Path, parts: Sequence[tuple[str | None, str, Collection]]) -> Collection:
    """Returns the images of all tables, the classes of all in one order."""
    classes, labels = _joined_labels([part for _, _, part in parts])
    given: list[str | None] = []
    for split, _, part in parts:
        own = part.given_splits or [None] * len(part.names)
        given += [split if split is not None else one for one in own]
    first = parts[0][2].understood
    said = "tables" if first is None else first.classes.rpartition(",")[0]
    named = [
        f"{split} {prefix or table.name}"
        for (split, prefix, _), (_, table) in zip(parts, _tables(root), strict=True)
        if split is not None
    ]
    own_splits = "" if first is None else first.splits
    return Collection(
        names=[prefix + name for _, prefix, part in parts for name in part.names],
        labels=labels,
        classes=classes,
        given_splits=given if any(given) else (),
        groups=[group for _, _, part in parts for group in part.groups],
        files=[entry for _, _, part in parts for entry in part.files],
        unlabelled=[prefix + name for _, prefix, part in parts for name in part.unlabelled],
        understood=Understood(
            NAME,
            f"{said}, {len(classes):,}",
            f"splits: {', '.join(named)}" if named else own_splits,
            (*_left_out(parts), *_without_table(root, parts)),
        ),
    )


def _joined_labels(parts: Sequence[Collection]) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the classes of all tables in one order, and the labels as indices of them.

    Where one table has several labels an image, all have.
    """
    if not any(has_several(part.labels) for part in parts):
        names = [part.classes[label] for part in parts for label in part.labels]
        classes = class_order(set(names))
        return classes, label_indices(names, classes)
    orders = {part.classes for part in parts}
    every = class_order({name for order in orders for name in order})
    classes = orders.pop() if len(orders) == 1 else every
    sets = [
        {part.classes[int(k)] for k in np.flatnonzero(row)}
        for part in parts
        for row in as_rows(part.labels, len(part.classes))
    ]
    return classes, label_rows(sets, classes)


def _without_table(root: Path, parts: Sequence[tuple[str | None, str, Collection]]) -> list[str]:
    """Returns the folders for splits whose images no table labels."""
    if parts[0][0] is None:
        return []
    read = {prefix.rstrip("/") for _, prefix, _ in parts}
    return [f"{n}/ without a table" for n in split_group(folders_in(root)) if n not in read]


def _left_out(parts: Sequence[tuple[str | None, str, Collection]]) -> tuple[str, ...]:
    return tuple(
        f"{said} in {prefix}" if prefix else said
        for _, prefix, part in parts
        if part.understood is not None
        for said in part.understood.left_out
    )
