"""Parquet files with encoded images, as the Hugging Face hub keeps data sets.

    data/train-00000-of-00002.parquet   data/test-00000-of-00001.parquet
    default/train/0000.parquet          mnist-train.parquet          one file

The split is a word of the file's name, or of a folder's. Images are spooled once (`spool`), as a
parquet compresses them page by page.

Shape letters: N images, M images of a batch, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection, class_order, label_indices
from ravine.data.label_sets import is_label_in_list, label_rows, labels_in_lists
from ravine.data.settings import DataSettings
from ravine.data.sources.format_library import format_library
from ravine.data.sources.parquet_schema import ParquetColumns, find_columns
from ravine.data.sources.parquet_shards import ParquetShard, missing_shards, parquet_shards
from ravine.data.sources.spool import spooled_images
from ravine.data.sources.stored_array import short_reason
from ravine.data.understanding import Understood

_ROWS = 256  # of a batch: a few hundred images are in memory at a time
_BUFFER = 1 << 20

Label = str | tuple[str, ...]
"""The name of an image's class, or the names of its labels."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the columns beside the images say, a value for each of N rows; None where there is none.

    Attributes:
        labels: name of the class, or names of several labels.
        names: of the image.
        groups: () if there are none.
    """

    labels: list[Label | None]
    names: list[str]
    groups: list[str]


def read_parquet(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of a parquet, or of a folder's parquets, which are the shards of one set.

    Raises:
        DataError: pyarrow is missing, a file is torn, or the columns do not hold images and labels.
    """
    shards = parquet_shards(path)
    columns = _columns(shards, settings)
    rows = [_read_rows(shard, columns, settings.group_column) for shard in shards]
    labels = [label for one in rows for label in one.labels]
    entries = spooled_images(
        [shard.path for shard in shards],
        columns.image,
        cache=settings.cache,
        batches=lambda: image_batches(shards, columns, progress, len(labels)),
    )
    names = [name for one in rows for name in one.names]
    if len(entries) != len(labels):
        raise DataError(f"{path} has been changed while it was read")
    kept = [i for i, label in enumerate(labels) if label is not None and entries[i] is not None]
    if not kept:
        raise DataError(f"{path} holds no image with a label")
    found = [label for i in kept if (label := labels[i]) is not None]
    sets = [(label,) if isinstance(label, str) else label for label in found]
    several = any(not isinstance(label, str) for label in found)
    classes = _classes({name for names in sets for name in names}, columns)
    splits = [shard.split for shard, one in zip(shards, rows, strict=True) for _ in one.labels]
    groups = [group for one in rows for group in one.groups]
    given = any(shard.split for shard in shards)
    return Collection(
        names=[names[i] for i in kept],
        labels=label_rows(sets, classes)
        if several
        else label_indices([name for (name,) in sets], classes),
        classes=classes,
        given_splits=[splits[i] for i in kept] if given else (),
        groups=[groups[i] for i in kept] if groups else (),
        files=[entry for i in kept if (entry := entries[i]) is not None],
        unlabelled=[names[i] for i, label in enumerate(labels) if label is None],
        understood=_understood(shards, columns, labels, entries, len(classes)),
    )


def _understood(
    shards: Sequence[ParquetShard],
    columns: ParquetColumns,
    labels: Sequence[Label | None],
    entries: Sequence[Any],
    count: int,
) -> Understood:
    empty, unlabelled = entries.count(None), labels.count(None)
    left_out = [f"{empty:,} rows without an image"] if empty else []
    left_out += [f"{unlabelled:,} rows without a label"] if unlabelled else []
    missing = missing_shards(shards)
    left_out += [f"{missing} shards that are not there"] if missing else []
    named = ", named by the schema" if columns.names else ""
    given = any(shard.split for shard in shards)
    return Understood(
        "parquet",
        f"column {columns.label}, {count}{named}",
        "splits: the names of the files" if given else "",
        tuple(left_out),
    )


def _columns(shards: Sequence[ParquetShard], settings: DataSettings) -> ParquetColumns:
    first: ParquetColumns | None = None
    for shard in shards:
        with OpenedParquet(shard.path) as file:
            found = find_columns(shard.path, file.schema_arrow, settings)
            group = settings.group_column
            if group is not None and group not in file.schema_arrow.names:
                raise DataError(f"{shard.path} has no column {group!r} for the groups")
        if first is not None and found != first:
            raise DataError(
                f"{shard.path} has other columns or class names than {shards[0].name}; they are "
                "of two data sets: name one of them"
            )
        first = found
    assert first is not None
    return first


class OpenedParquet:
    """Opens a parquet, and turns what pyarrow raises on a torn file into one line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> Any:
        parquet = format_library("pyarrow.parquet", "parquet", self._path)
        try:
            self._file = parquet.ParquetFile(self._path, buffer_size=_BUFFER, pre_buffer=False)
        except Exception as error:
            raise _torn(self._path, error) from None
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        # pyarrow raises OSError, ValueError, NotImplementedError, KeyError and others.
        if isinstance(error, Exception) and not isinstance(error, DataError):
            raise _torn(self._path, error) from None


def _torn(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path} cannot be read as parquet: {short_reason(error)}; load it again")


def _read_rows(shard: ParquetShard, columns: ParquetColumns, group: str | None) -> _Rows:
    wanted = [columns.label]
    path_field = f"{columns.image}.path" if columns.has_path else None
    with OpenedParquet(shard.path) as file:
        wanted += [name for name in (path_field, group) if name is not None]
        table = file.read(columns=wanted)
        labels = _labels(shard.path, table.column(columns.label), columns)
        groups = [] if group is None else [str(one) for one in table.column(group).to_pylist()]
        paths: list[Any] = [None] * len(labels)
        if path_field is not None:
            paths = [(one or {}).get("path") for one in table.column(columns.image).to_pylist()]
    names = [f"{shard.name}/{one}" if one else f"{shard.name}[{i}]" for i, one in enumerate(paths)]
    return _Rows(labels, names, groups)


def _labels(path: Path, column: Any, columns: ParquetColumns) -> list[Label | None]:
    arrow = format_library("pyarrow", "parquet", path)
    kind, name = column.type, columns.label
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    if arrow.types.is_list(kind) or arrow.types.is_large_list(kind):
        return _label_sets(path, column.to_pylist(), columns)
    values = column.to_pylist()
    if arrow.types.is_integer(kind):
        return [_named(path, value, columns) for value in values]
    texts = (arrow.types.is_string, arrow.types.is_large_string, arrow.types.is_boolean)
    if not any(one(kind) for one in texts):
        raise DataError(
            f"{path}: {name!r} holds {kind}, which is no class; wanted are whole numbers or text: "
            "--label-column"
        )
    return [None if value is None or value == "" else str(value) for value in values]


def _label_sets(path: Path, values: Sequence[Any], columns: ParquetColumns) -> list[Label | None]:
    """Returns the labels in each of N lists; None for an image without a list."""
    lists = [value for value in values if value is not None]
    strange = [one for value in lists for one in value if not is_label_in_list(one)]
    if strange:
        raise DataError(
            f"{path}: {columns.label!r} holds {str(strange[0])[:40]!r} in a list; wanted are whole "
            "numbers or text, or another column: --label-column"
        )
    sets = labels_in_lists(lists)
    if columns.names and all(name.isdecimal() for names in sets for name in names):
        sets = [tuple(str(_named(path, int(name), columns)) for name in names) for names in sets]
    found = iter(sets)
    return [None if value is None else next(found) for value in values]


def _named(path: Path, value: int | None, columns: ParquetColumns) -> str | None:
    """Returns the class of a number; None for -1, with which the hub marks unlabelled images."""
    if value is None or value == -1:
        return None
    if not columns.names:
        return str(value)
    if not 0 <= value < len(columns.names):
        raise DataError(
            f"{path}: {columns.label!r} holds {value}; the schema names {len(columns.names)} "
            "classes"
        )
    return columns.names[value]


def _classes(occur: set[str], columns: ParquetColumns) -> tuple[str, ...]:
    """Returns the classes that occur, in the schema's order where it names them."""
    if columns.names:
        return tuple(name for name in columns.names if name in occur)
    return class_order(occur)


def image_batches(
    shards: Sequence[ParquetShard], columns: ParquetColumns, progress: Progress, total: int
) -> Iterator[tuple[memoryview, np.ndarray]]:
    """Yields the bytes of the images of all shards, and their lengths (M,) int64, -1 for none."""
    done = 0
    leaf = f"{columns.image}.bytes" if columns.in_struct else columns.image
    for shard in shards:
        arrow = format_library("pyarrow", "parquet", shard.path)
        compute = format_library("pyarrow.compute", "parquet", shard.path)
        with OpenedParquet(shard.path) as file:
            for batch in file.iter_batches(batch_size=_ROWS, columns=[leaf], use_threads=False):
                column = batch.column(0)
                if columns.in_struct:
                    column = compute.struct_field(column, "bytes")
                yield _content(column.cast(arrow.large_binary()))
                done += len(column)
                progress("unpacking", done, total)


def _content(column: Any) -> tuple[memoryview, np.ndarray]:
    """Returns the bytes of an array of pyarrow's large_binary, and the lengths (M,) int64."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    lengths = np.diff(bounds)
    empty = np.asarray(column.is_null())
    if lengths[empty].any():  # bytes of a null value may lie between the others
        column = column.fill_null(b"")
        content, lengths = _content(column)
    else:
        content = memoryview(data)[bounds[0] : bounds[-1]] if data is not None else memoryview(b"")
    return content, np.where(empty, -1, lengths)
