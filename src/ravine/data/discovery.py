"""Finds the layout of a source (a row of `layouts.LAYOUTS`), and reads its images."""

from collections import Counter
from dataclasses import replace
from importlib import resources
from pathlib import Path

from ravine.core.errors import DataError, SettingError
from ravine.core.progress import Progress, no_progress
from ravine.data.collection import Collection, FileEntry
from ravine.data.labels_as_asked import with_labels_as_asked
from ravine.data.layouts import fits_any, layout_of, refuse_options_without_effect
from ravine.data.location import SAMPLE, expand_path, refuse_missing
from ravine.data.settings import DataSettings
from ravine.data.sources.labels_csv import IMAGE_COLUMNS, ImageIndex, find_column, read_rows
from ravine.data.sources.listing import image_files
from ravine.data.sources.mnist_family import idx_pairs, read_idx_pairs
from ravine.data.sources.shards import images_in, is_shard
from ravine.data.understanding import Understood


def find_collection(settings: DataSettings, progress: Progress = no_progress) -> Collection:
    """Returns the images of the source at `settings.data`, not yet decoded.

    Raises:
        DataError: the path does not exist, or holds nothing that Ravine reads.
        SettingError: a setting is given that has no effect on this source.
    """
    refuse_missing(settings)
    if settings.data == SAMPLE:
        refuse_options_without_effect(settings, SAMPLE, "the shipped sample", frozenset())
        sample = Path(str(resources.files("ravine.data") / "sample"))
        found = _with_understood(read_idx_pairs(idx_pairs(sample)), "idx")
        return with_labels_as_asked(found, settings)
    path, settings = _source(settings)
    layout = layout_of(path, settings)
    refuse_options_without_effect(settings, str(path), layout.what, layout.options)
    found = _with_understood(layout.read(path, settings, progress), layout.name)
    return with_labels_as_asked(found, settings)


def _with_understood(collection: Collection, layout: str) -> Collection:
    """Returns a collection with what it was taken for, where its reader does not say more."""
    if collection.understood is not None:
        return collection
    given = Counter(split for split in collection.given_splits if split)
    splits = ", ".join(f"{split} {count:,}" for split, count in given.items())
    said = f"{len(collection.classes):,} from its labels"
    understood = Understood(layout, said, f"splits of its own: {splits}" if splits else "")
    return replace(collection, understood=understood)


def _source(settings: DataSettings) -> tuple[Path, DataSettings]:
    """Returns the path to read; with `labels` it is the table, and DATA the folder of images."""
    root = expand_path(settings.data)
    if settings.labels is None:
        return root, settings
    if settings.images is not None:
        raise SettingError(
            f"--images has no effect with --labels: the images are in {settings.data}; drop it"
        )
    table = expand_path(settings.labels)
    if not table.is_file():
        raise DataError(f"no file {table}")
    layout = settings.layout or (None if fits_any(table) else "table")
    changes = {"data": str(table), "images": str(root), "labels": None, "layout": layout}
    return table, settings.with_(**changes)


def list_images(path: Path, *, image_column: str | None = None) -> list[tuple[str, FileEntry]]:
    """Returns (name, entry) of the images of a folder, a tar, a CSV of names, or of one file.

    Raises:
        DataError: the path does not exist, or a CSV names an image that does not.
    """
    if path.is_dir():
        return list(image_files(path))
    if not path.is_file():
        raise DataError(f"no such path: {path}")
    if is_shard(path):
        return images_in(path)
    if path.suffix.lower() != ".csv":
        facts = path.stat()
        entry = FileEntry(path=str(path), size=facts.st_size, modified=facts.st_mtime_ns)
        return [(path.name, entry)]
    columns, rows = read_rows(path)
    column = find_column(path, columns, image_column, IMAGE_COLUMNS, "image")
    index = ImageIndex(path.parent)
    found = []
    for line, row in enumerate(rows, start=2):
        name = index.find(row[column])
        if name is None:
            raise DataError(f"{path}, line {line}: no image {row[column]!r} below {path.parent}")
        found.append((row[column], index.entries[name]))
    return found
