"""Finds the images to predict: files, folders, tars, tables of names, arrays, parquets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress, no_progress
from ravine.data.collection import Collection, FileEntry
from ravine.data.location import expand_path
from ravine.data.sources.column_names import column_names
from ravine.data.sources.image_index import ImageIndex
from ravine.data.sources.labels_csv import IMAGE_COLUMNS, find_column
from ravine.data.sources.listing import image_files
from ravine.data.sources.parquet_shards import is_parquet
from ravine.data.sources.parquet_unlabelled import read_unlabelled_parquet
from ravine.data.sources.pixel_table import is_pixel_table, read_unlabelled_pixels
from ravine.data.sources.shards import images_in, is_shard
from ravine.data.sources.table_file import is_image_name, read_table_file, shown_path
from ravine.data.sources.unlabelled_arrays import is_array_source, read_unlabelled_arrays
from ravine.data.understanding import shortened

_TABLES = (".csv", ".tsv", ".tab", ".txt")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Images to predict, not yet decoded.

    Attributes:
        collection: the images; their labels mean nothing.
        by_row: whether an image's name says only its row in an array or table.
        notes: what was chosen, in sentences.
    """

    collection: Collection
    by_row: bool = False
    notes: tuple[str, ...] = ()


def find_unlabelled(
    paths: Sequence[Path],
    *,
    trained: Mapping[str, Any],
    given: Mapping[str, Any],
    channels: int | None = None,
    progress: Progress = no_progress,
) -> Found:
    """Returns the images at some paths, in their order.

    Args:
        paths: files, folders with all below them, tars, tables of file names; or one source of
            arrays, a parquet, or a table of pixels.
        trained: settings of the training, whose columns and folder of images hold where they fit.
        given: `image_column` and `images` that the user names for these images.
        channels: that the network takes; None where it is not known.
        progress: receives the progress of slow work.

    Raises:
        DataError: a path does not exist, or names an image that does not.
    """
    alone = paths[0] if len(paths) == 1 else None
    if alone is not None and alone.is_file() and is_pixel_table(alone):
        return Found(collection=read_unlabelled_pixels(alone), by_row=True)
    if alone is not None and is_array_source(alone):
        return _of_rows(read_unlabelled_arrays(alone, channels))
    if alone is not None and is_parquet(alone):
        column = _column(alone, "image_column", trained, given)
        return _of_rows(read_unlabelled_parquet(alone, column, progress))
    names: list[str] = []
    files: list[FileEntry] = []
    notes: list[str] = []
    for path in paths:
        for name, entry in _images_of(path, trained, given, notes):
            names.append(name)
            files.append(entry)
    if not files:
        raise DataError(f"no images in {', '.join(map(str, paths))}")
    labels = np.zeros(len(names), np.int64)
    collection = Collection(names=names, labels=labels, classes=("",), files=files)
    return Found(collection=collection, notes=tuple(notes))


def _of_rows(collection: Collection) -> Found:
    understood = collection.understood
    left_out = () if understood is None else understood.left_out
    first = collection.names[0]
    notes = (f"{first} … are predicted, not {', '.join(left_out)}",) if left_out else ()
    return Found(collection=collection, by_row=first.endswith("[0]"), notes=notes)


def _images_of(
    path: Path, trained: Mapping[str, Any], given: Mapping[str, Any], notes: list[str]
) -> list[tuple[str, FileEntry]]:
    """Returns (name, entry) of the images of a folder, a tar, a table of names, or one file."""
    if path.is_dir():
        return list(image_files(path))
    if not path.is_file():
        raise DataError(f"no such path: {path}")
    if is_shard(path):
        return images_in(path)
    if path.suffix.lower() not in _TABLES:
        facts = path.stat()
        entry = FileEntry(path=str(path), size=facts.st_size, modified=facts.st_mtime_ns)
        return [(path.name, entry)]
    wanted = _names_in(path, _column(path, "image_column", trained, given))
    index, note = _index(path, wanted[0][1], trained, given)
    notes += [note] if note else []
    return [(name, index.entries[_found(index, name, path, line)]) for line, name in wanted]


def _names_in(path: Path, column: str | None) -> list[tuple[int, str]]:
    """Returns (line, name) of each image that a table names."""
    table = read_table_file(path)
    one = len(table.columns) == 1 or not table.has_header
    if one and column is None:
        column = next((c for c in table.columns if c.lower() in IMAGE_COLUMNS), None)
        first = next(table.rows())[1]
        ending = [c for c, field in zip(table.columns, first, strict=True) if is_image_name(field)]
        column = column or (ending or list(table.columns))[0]
    found = find_column(path, table.columns, column, IMAGE_COLUMNS, "image")
    index = table.index(found)
    return [(line, fields[index]) for line, fields in table.rows()]


def _index(
    path: Path, first: str, trained: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[ImageIndex, str]:
    """Returns the images that a table may name: of its own folder, else those of the training."""
    if given.get("images") is not None:
        folder = expand_path(str(given["images"]))
        if not folder.is_dir():
            raise DataError(f"no folder {folder} with the images of {shown_path(path)}")
        return ImageIndex(folder), ""
    own = ImageIndex(path.parent)
    if own.find(first) is not None:
        return own, ""
    for name in ("images", "data"):
        folder = expand_path(str(trained.get(name) or "."))
        if trained.get(name) and folder.is_dir():
            other = ImageIndex(folder)
            if other.find(first) is not None:
                return other, f"the images of {path.name} are those below {folder}, as in training"
    return own, ""


def _found(index: ImageIndex, name: str, path: Path, line: int) -> str:
    found = index.find(name) if name else None
    if found is None:
        raise DataError(
            f"{shown_path(path)}, line {line}: no image {shortened(name, 40)!r} below "
            f"{shown_path(index.folder)}; name their folder: --images"
        )
    return found


def _column(
    path: Path, name: str, trained: Mapping[str, Any], given: Mapping[str, Any]
) -> str | None:
    """Returns the column that the user names, or that of the training where the table has it."""
    if given.get(name) is not None:
        return str(given[name])
    before = trained.get(name)
    columns = column_names(path)
    return str(before) if before is not None and columns and before in columns else None
