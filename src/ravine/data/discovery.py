"""Finds the layout of a source (a row of `layouts.LAYOUTS`), and reads its images."""

from collections import Counter
from dataclasses import replace
from importlib import resources
from pathlib import Path

from ravine.core.errors import DataError, SettingError
from ravine.core.progress import Progress, no_progress
from ravine.data.class_spelling import with_one_spelling
from ravine.data.collection import Collection
from ravine.data.labels_as_asked import with_labels_as_asked
from ravine.data.layouts import Layout, fits_any, layout_of, refuse_options_without_effect
from ravine.data.location import SAMPLE, expand_path, refuse_missing
from ravine.data.settings import DataSettings
from ravine.data.sources.listing import folders_in
from ravine.data.sources.mnist_family import idx_pairs, read_idx_pairs
from ravine.data.sources.no_classes import refuse_runs
from ravine.data.understanding import Understood

_DEEPEST = 4  # folders with nothing but one folder in them


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
        return with_labels_as_asked(with_one_spelling(found), settings)
    path, layout, settings = _found(settings)
    refuse_options_without_effect(settings, str(path), layout.what, layout.options)
    found = _with_understood(layout.read(path, settings, progress), layout.name)
    return with_labels_as_asked(with_one_spelling(found), settings)


def layout_at(settings: DataSettings) -> tuple[Path, Layout]:
    """Returns the path that would be read, a table where there are `labels`, and its layout.

    Raises:
        DataError: no layout fits, or two do.
    """
    path, layout, _ = _found(settings)
    return path, layout


def _found(settings: DataSettings) -> tuple[Path, Layout, DataSettings]:
    """Returns the path to read, its layout, and the settings for it.

    It is the only folder below the one that is named, and so on, where a layout of more than class
    folders is in there: `archive/VOCdevkit/VOC2012`.
    """
    path, settings = _source(settings)
    layout = layout_of(path, settings)
    inner = path
    for _ in range(_DEEPEST if layout.name == "folders" and settings.layout is None else 0):
        if not inner.is_dir() or len(names := folders_in(inner)) != 1:
            break
        inner = inner / names[0]
        if (found := layout_of(inner, settings)).name != "folders":
            return inner, found, settings
    return path, layout, settings


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
    refuse_runs(root)
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
