"""Folders of images with a metadata.jsonl or metadata.parquet, as Hugging Face's imagefolder.

    metadata.jsonl    {"file_name": "0001.png", "label": "cat"} on each line
    train/metadata.jsonl  test/metadata.parquet     a file for each split
    labels.json       a list of such objects, or {"0001.png": "cat", …}

A row's label counts, whatever folder the image is in; an image without a row is left out
(https://huggingface.co/docs/datasets/image_dataset).

Shape letters: N images.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.core.regular_file import open_regular
from ravine.data.collection import Collection
from ravine.data.label_sets import is_label_in_list, labels_in_lists
from ravine.data.location import expand_path
from ravine.data.settings import DataSettings
from ravine.data.sources.coco_json import is_coco
from ravine.data.sources.format_library import format_library
from ravine.data.sources.listed_images import (
    ListedImage,
    ListMeaning,
    collect_listed,
    read_text,
)
from ravine.data.sources.listing import folders_in
from ravine.data.sources.split_words import UNLABELLED, split_of
from ravine.data.sources.stored_array import short_reason

_NAMES = ("metadata.jsonl", "metadata.parquet")
_FILE_COLUMNS = ("file_name", "filename", "file", "image", "path", "image_path")
_LABEL_COLUMNS = (
    "label",
    "labels",
    "class",
    "target",
    "category",
    "class_name",
    "label_name",
    "species",
    "breed",
    "y",
)
_MOST_FOLDERS = 50
_FIRST_LINE = 1 << 20  # bytes
_LAYOUT = "metadata"

Row = Mapping[str, Any]


def is_metadata(path: Path) -> bool:
    """Returns whether a path is such a file, any .jsonl, or a folder with metadata in or below."""
    if path.is_file():
        known = path.name.lower() == _NAMES[1] or path.suffix.lower() == ".jsonl"
        return known or (path.suffix.lower() == ".json" and not is_coco(path))
    return path.is_dir() and any(_has_labels(file) for file in _files(path))


def _has_labels(file: Path) -> bool:
    """Returns whether the first row has a label; captions alone leave the folders as classes."""
    if file.suffix.lower() == ".parquet":
        return True
    try:
        with open_regular(file) as lines:
            row = json.loads(lines.readline(_FIRST_LINE))
    except (OSError, ValueError, RecursionError):
        return True  # torn: its reader says so
    return not isinstance(row, dict) or any(name in row for name in _LABEL_COLUMNS)


def _files(root: Path) -> list[Path]:
    """Returns the metadata of a folder, or else those of its folders."""
    own = [root / name for name in _NAMES if (root / name).is_file()]
    if own:
        return own
    inner = [root / name for name in folders_in(root)]
    if len(inner) > _MOST_FOLDERS:
        return []
    return [folder / name for folder in inner for name in _NAMES if (folder / name).is_file()]


def read_metadata(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images that metadata name.

    Raises:
        DataError: a line is torn, there is no column of labels, or an image is missing.
    """
    files = [path] if path.is_file() else _files(path)
    if len({file.parent for file in files}) < len(files):
        raise DataError(f"{files[0]} and {files[1].name} both describe the images; remove one")
    root = path
    if path.is_file():
        root = expand_path(settings.images) if settings.images else path.parent
    images: list[ListedImage] = []
    column = ""
    for file in files:
        rows = list(_rows(file))
        file_column = _column(file, rows, settings.image_column, _FILE_COLUMNS, "image")
        column = _column(file, rows, settings.label_column, _LABEL_COLUMNS, "label")
        below = "" if path.is_file() else file.parent.relative_to(root).as_posix()
        prefix = "" if below in ("", ".") else f"{below}/"
        images += _images(file, rows, file_column, column, prefix)
    images, left_out = _with_splits(images)
    splits = "splits: the folders" if any(image.split for image in images) else ""
    meaning = ListMeaning(
        layout=_LAYOUT, classes=f"column {column}", splits=splits, left_out=left_out
    )
    return collect_listed(root, images, meaning)


def _images(
    file: Path, rows: Sequence[Row], file_column: str, column: str, prefix: str
) -> Iterator[ListedImage]:
    lists = [row[column] for row in rows if _is_list(row.get(column))]
    sets = iter(labels_in_lists(lists))
    for line, row in enumerate(rows, start=1):
        name, label = row.get(file_column), row.get(column)
        if not isinstance(name, str) or not name:
            raise DataError(f"{file}, line {line}: no {file_column}")
        if _is_list(label):
            path = f"{prefix}{name.removeprefix('./')}"
            labels = next(sets)
            yield ListedImage(
                path=path, label="", split=None, source=file, line=line, labels=labels
            )
            continue
        if isinstance(label, list | dict | float):
            raise DataError(
                f"{file}, line {line}: {column!r} holds {str(label)[:40]}, which is no single "
                "class; wanted is a whole number or text, or another column: --label-column"
            )
        text = "" if label is None else str(label).strip()
        path = f"{prefix}{name.removeprefix('./')}"
        yield ListedImage(path=path, label=text, split=None, source=file, line=line)


def _is_list(label: object) -> bool:
    return isinstance(label, list) and all(map(is_label_in_list, label))


def _with_splits(images: Sequence[ListedImage]) -> tuple[list[ListedImage], tuple[str, ...]]:
    """Returns the images with the split that their first folder names, without unlabelled ones."""
    splits = {folder: split_of(folder) for folder in {_top(image) for image in images}}
    given = "train" in splits.values()
    kept, unlabelled = [], 0
    for image in images:
        split = splits[_top(image)]
        # Tests on the hub have no labels, or -1.
        blank = image.labels is None and image.label in ("", "-1")
        if blank and split in ("test", UNLABELLED):
            unlabelled += 1
            continue
        kept.append(replace(image, split=split) if given and split != UNLABELLED else image)
    return kept, (f"{unlabelled:,} rows without a label",) if unlabelled else ()


def _top(image: ListedImage) -> str:
    parts = PurePosixPath(image.path).parts
    return parts[0] if len(parts) > 1 else ""


def _column(
    file: Path, rows: Sequence[Row], given: str | None, known: Sequence[str], what: str
) -> str:
    columns = list(rows[0]) if rows else []
    if not rows:
        raise DataError(f"{file} holds no rows")
    shown = ", ".join(columns[:6])
    if given is not None:
        if given in columns:
            return given
        raise DataError(f"{file} has no column {given!r}; it has: {shown}")
    for name in known:
        if name in columns:
            return name
    raise DataError(
        f"{file}: no column has a usual name for the {what}; name it with --{what}-column, one of: "
        f"{shown}"
    )


def _rows(file: Path) -> Iterator[Row]:
    if file.suffix.lower() == ".parquet":
        yield from _parquet_rows(file)
        return
    if file.suffix.lower() == ".json":
        yield from _json_rows(file)
        return
    number = 0
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{file}, line {number}: no JSON object; a line was cut or is no row")
        yield row


def _json_rows(file: Path) -> list[Row]:
    """Returns the rows of a list of objects, or of an object with the label of each image."""
    try:
        found = json.loads(read_text(file))
    except (ValueError, RecursionError, MemoryError):
        raise DataError(f"{file} is no whole JSON; load it again") from None
    if isinstance(found, dict) and not any(isinstance(one, dict) for one in found.values()):
        return [{"file_name": name, "label": label} for name, label in found.items()]
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    raise DataError(
        f"{file}: wanted is a list of objects with file_name and label, or one object with the "
        "label of each file"
    )


def _parquet_rows(file: Path) -> list[Row]:
    parquet = format_library("pyarrow.parquet", "parquet", file)
    try:
        rows: list[Row] = parquet.read_table(file).to_pylist()
    except Exception as error:
        reason = short_reason(error)
        raise DataError(f"{file} cannot be read as parquet: {reason}; load it again") from None
    return rows
