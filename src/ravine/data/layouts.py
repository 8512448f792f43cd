"""The layouts of data that Ravine reads: one table, in place of guesses.

A row has a cheap detector and a reader. Where two rows fit one path and neither takes precedence,
nothing is read: the message names the option for each. To add a layout: a file in `sources/` and
a row here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ravine.core.errors import DataError, RavineError, SettingError, unknown
from ravine.core.progress import Progress, no_progress
from ravine.data.collection import Collection, expand_path
from ravine.data.settings import DataSettings
from ravine.data.sources.cifar import has_cifar, read_cifar
from ravine.data.sources.folders import has_class_folders, read_folders
from ravine.data.sources.idx import has_idx, idx_pairs, read_idx_pairs
from ravine.data.sources.labels_csv import is_table, read_table
from ravine.data.sources.npz import read_npz
from ravine.data.sources.shards import is_shard, one_shard, read_shards, shards_in
from ravine.data.sources.split_tables import has_split_tables, read_split_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way in which people keep labelled images.

    Attributes:
        name: what `--layout` takes.
        what: in words, for messages.
        fits: whether a path (a file or a folder) looks like it; reads names only, raises nothing.
        read: gives the images of the path.
        over: layouts that this one contains: if both fit, it is this one.
        options: settings of `OPTIONS` that `read` follows; any other is refused when given.
    """

    name: str
    what: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, DataSettings, Progress], Collection]
    over: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()


# Settings that some layouts only can follow.
OPTIONS = (
    "images",
    "image_column",
    "label_column",
    "split_column",
    "group_column",
    "class_level",
    "label_from_name",
)
_OF_TREES = frozenset({"class_level", "label_from_name"})
_OF_TABLES = frozenset({"images", "image_column", "label_column", "split_column", "group_column"})


def _is_file(path: Path, ending: str) -> bool:
    return path.name.lower().endswith(ending) and path.is_file()


def _read_idx(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    if path.is_dir():
        return read_idx_pairs(idx_pairs(path))
    same = [pair for pair in idx_pairs(path.parent) if pair[1] == path]
    if not same:
        raise DataError(f"{path} is no IDX file of images with its labels in the same folder")
    return read_idx_pairs([("train", same[0][1], same[0][2])])


def _read_shards(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    return read_shards(shards_in(path) if path.is_dir() else one_shard(path), progress, settings)


def _read_table(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    folder = expand_path(settings.images) if settings.images else path.parent
    return read_table(path, folder, settings)


def _read_folders(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    def labels_images(table: Path, folder: Path) -> bool:
        options = {"data": str(table), "images": str(folder), "layout": None}
        options |= {"class_level": None, "label_from_name": None}
        tried = settings.with_(**options)
        try:
            found = layout_of(table, tried).read(table, tried, no_progress)
        except RavineError:
            return False
        return len(found.classes) > 1

    return read_folders(path, settings, labels_images)


LAYOUTS = (
    Layout(
        name="idx",
        what="IDX files (…idx3-ubyte)",
        fits=has_idx,
        read=_read_idx,
    ),
    Layout(
        name="cifar",
        what="CIFAR batches",
        fits=lambda path: path.is_dir() and has_cifar(path),
        read=lambda path, settings, progress: read_cifar(path),
    ),
    Layout(
        name="npz",
        what="arrays in a .npz",
        fits=lambda path: _is_file(path, ".npz"),
        read=lambda path, settings, progress: read_npz(path),
    ),
    Layout(
        name="shards",
        what="a .tar, or a folder of .tar files",
        fits=lambda path: bool(shards_in(path)) if path.is_dir() else is_shard(path),
        read=_read_shards,
        options=_OF_TREES,
    ),
    Layout(
        name="table",
        what="a table of file names and labels (.csv, .tsv)",
        fits=is_table,
        read=_read_table,
        options=_OF_TABLES,
    ),
    Layout(
        name="split-tables",
        what="a metadata.csv or _classes.csv in each folder of images",
        fits=has_split_tables,
        read=lambda path, settings, progress: read_split_tables(path, settings),
        over=frozenset({"folders"}),
        options=_OF_TABLES - {"images"},
    ),
    Layout(
        name="folders",
        what="a folder with one folder per class",
        fits=has_class_folders,
        read=_read_folders,
        options=_OF_TREES,
    ),
)


def layout_of(path: Path, settings: DataSettings) -> Layout:
    """Returns the layout that `settings` name, or the one that fits a path.

    Raises:
        DataError: none fits, or two do.
        SettingError: there is no layout of this name.
    """
    if settings.layout is not None:
        return layout_named(settings.layout)
    try:
        fitting = [layout for layout in LAYOUTS if layout.fits(path)]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    contained = {name for layout in fitting for name in layout.over}
    fitting = [layout for layout in fitting if layout.name not in contained]
    if len(fitting) > 1:
        first, second = fitting[:2]
        raise DataError(
            f"{path} can be read in two ways: --layout {first.name} takes {first.what}, "
            f"--layout {second.name} takes {second.what}; say which"
        )
    if fitting:
        return fitting[0]
    if path.is_dir():
        return layout_named("folders")  # whose reader says what is missing
    raise DataError(
        f"{path} is no source that Ravine reads; --layout takes: "
        + ", ".join(layout.name for layout in LAYOUTS)
    )


def fits_any(path: Path) -> bool:
    """Returns whether a layout fits a path."""
    return any(layout.fits(path) for layout in LAYOUTS)


def layout_named(name: str) -> Layout:
    """Returns the row of a name.

    Raises:
        SettingError: there is none.
    """
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise unknown("layout", name, [layout.name for layout in LAYOUTS])


def refuse_options_without_effect(
    settings: DataSettings, data: str, layout: str, followed: frozenset[str]
) -> None:
    """Raises `SettingError` if a setting is given that the layout of the data cannot follow.

    Args:
        settings: of the data.
        data: the source, for the message.
        layout: its layout, in words.
        followed: settings of `OPTIONS` that have an effect.
    """
    for name in OPTIONS:
        if name not in followed and getattr(settings, name) is not None:
            column = ", or name a table: --labels FILE.csv" if name in _OF_TABLES else ""
            raise SettingError(
                f"--{name.replace('_', '-')} has no effect: {data} is read as {layout}; "
                f"drop it{column}"
            )
