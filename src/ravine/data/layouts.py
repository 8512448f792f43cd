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
from ravine.data.collection import Collection
from ravine.data.location import expand_path
from ravine.data.settings import DataSettings
from ravine.data.sources.annotation_tools import is_annotations, read_annotations
from ravine.data.sources.cifar import is_cifar, read_cifar
from ravine.data.sources.coco_json import is_coco, read_coco
from ravine.data.sources.cub import is_cub, read_cub
from ravine.data.sources.folders import has_class_folders, read_folders
from ravine.data.sources.gtsrb import is_gtsrb, read_gtsrb
from ravine.data.sources.hdf5 import is_hdf5, read_hdf5
from ravine.data.sources.labels_csv import is_table, read_table
from ravine.data.sources.list_files import is_list_files, read_list_files
from ravine.data.sources.listing import EXTENSIONS
from ravine.data.sources.mat_lists import (
    is_cars,
    is_dogs,
    is_flowers,
    read_cars,
    read_dogs,
    read_flowers,
)
from ravine.data.sources.metadata_files import is_metadata, read_metadata
from ravine.data.sources.mnist_family import is_idx, read_mnist
from ravine.data.sources.npz import is_npz, read_npz
from ravine.data.sources.npz_folder import is_npz_folder, read_npz_folder
from ravine.data.sources.parquet import read_parquet
from ravine.data.sources.parquet_shards import is_parquet
from ravine.data.sources.pixel_table import is_pixel_table, read_pixel_table
from ravine.data.sources.shards import is_shard, one_shard, read_shards, shards_in
from ravine.data.sources.split_tables import has_split_tables, read_split_tables
from ravine.data.sources.stl10 import is_stl10, read_stl10
from ravine.data.sources.svhn import is_svhn, read_svhn
from ravine.data.sources.tiny_imagenet import is_tiny_imagenet, read_tiny_imagenet
from ravine.data.sources.unsorted import remedy_for_file
from ravine.data.sources.voc import is_voc, read_voc


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way in which people keep labelled images.

    Attributes:
        name: what `--layout` takes.
        what: in words, for messages.
        fits: whether a path (a file or a folder) looks like it; reads names and a few
            files' first bytes, raises nothing.
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
    "label_separator",
    "split_column",
    "group_column",
    "class_level",
    "label_from_name",
)
_OF_TREES = frozenset({"class_level", "label_from_name"})
_OF_TABLES = frozenset(
    {"images", "image_column", "label_column", "label_separator", "split_column", "group_column"}
)


_SEVERAL = " --labels-per-image several"


def _read_shards(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    return read_shards(shards_in(path) if path.is_dir() else one_shard(path), progress, settings)


def _read_table(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    folder = expand_path(settings.images) if settings.images else path.parent
    return read_table(path, folder, settings)


def _read_folders(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    def labels_images(table: Path, folder: Path) -> tuple[Collection, str] | None:
        options = {"data": str(table), "images": str(folder), "layout": None}
        options |= {"class_level": None, "label_from_name": None}
        for asked, option in ((settings.labels_per_image, ""), ("several", _SEVERAL)):
            tried = settings.with_(**options, labels_per_image=asked)
            try:
                layout = layout_of(table, tried)
                if "images" not in layout.options:
                    return None
                found = layout.read(table, tried, no_progress)
            except RavineError as error:
                if _SEVERAL.strip() not in str(error):
                    return None  # to ask for several labels would not help
                continue
            if len(found.classes) > 1:
                return found, option
        return None

    return read_folders(path, settings, labels_images)


LAYOUTS = (
    Layout(
        name="idx",
        what="IDX files (…idx3-ubyte)",
        fits=is_idx,
        read=read_mnist,
    ),
    Layout(
        name="cifar",
        what="CIFAR batches",
        fits=is_cifar,
        read=read_cifar,
        over=frozenset({"shards"}),  # the archive it was unpacked from
    ),
    Layout(
        name="stl10",
        what="STL-10's train_X.bin",
        fits=is_stl10,
        read=read_stl10,
        over=frozenset({"shards"}),  # the archive it was unpacked from
    ),
    Layout(
        name="svhn",
        what="MATLAB files with X and y",
        fits=is_svhn,
        read=read_svhn,
    ),
    Layout(
        name="hdf5",
        what="HDF5 files of images and labels",
        fits=is_hdf5,
        read=read_hdf5,
    ),
    Layout(
        name="npz",
        what="arrays in a .npz",
        fits=is_npz,
        read=read_npz,
    ),
    Layout(
        name="npz-folder",
        what="a folder of .npz files",
        fits=is_npz_folder,
        read=read_npz_folder,
    ),
    Layout(
        name="parquet",
        what="parquets of images, as the Hugging Face hub has them",
        fits=is_parquet,
        read=read_parquet,
        options=frozenset({"image_column", "label_column", "group_column"}),
    ),
    Layout(
        name="shards",
        what="a .tar, or a folder of .tar files",
        fits=lambda path: bool(shards_in(path)) if path.is_dir() else is_shard(path),
        read=_read_shards,
        options=_OF_TREES,
    ),
    Layout(
        name="pixel-table",
        what="a table whose cells are pixels",
        fits=is_pixel_table,
        read=read_pixel_table,
        over=frozenset({"table"}),
        options=frozenset({"label_column"}),
    ),
    Layout(
        name="table",
        what="a table of file names and labels (.csv, .tsv)",
        fits=is_table,
        read=_read_table,
        options=_OF_TABLES,
    ),
    Layout(
        name="metadata",
        what="images with metadata.jsonl or metadata.parquet",
        fits=is_metadata,
        read=read_metadata,
        over=frozenset({"folders", "lists"}),
        options=frozenset({"images", "image_column", "label_column"}),
    ),
    Layout(
        name="coco",
        what="COCO-style JSON with categories for each image",
        fits=is_coco,
        read=read_coco,
        over=frozenset({"folders"}),
        options=frozenset({"images"}),
    ),
    Layout(
        name="voc",
        what="Pascal VOC's Annotations and JPEGImages",
        fits=is_voc,
        read=read_voc,
        over=frozenset({"folders", "lists"}),
    ),
    Layout(
        name="tiny-imagenet",
        what="Tiny-ImageNet's val_annotations.txt",
        fits=is_tiny_imagenet,
        read=read_tiny_imagenet,
        over=frozenset({"folders", "lists"}),
    ),
    Layout(
        name="gtsrb",
        what="the traffic signs of GTSRB",
        fits=is_gtsrb,
        read=read_gtsrb,
        over=frozenset({"folders", "table", "split-tables"}),
    ),
    Layout(
        name="cub",
        what="the numbered lists of CUB-200-2011",
        fits=is_cub,
        read=read_cub,
        over=frozenset({"folders", "lists"}),
    ),
    Layout(
        name="flowers-102",
        what="Flowers-102's imagelabels.mat",
        fits=is_flowers,
        read=read_flowers,
        over=frozenset({"folders", "lists"}),
    ),
    Layout(
        name="stanford-cars",
        what="the annotations of Stanford Cars",
        fits=is_cars,
        read=read_cars,
        over=frozenset({"folders", "lists"}),
    ),
    Layout(
        name="stanford-dogs",
        what="the lists of Stanford Dogs",
        fits=is_dogs,
        read=read_dogs,
        over=frozenset({"folders", "lists"}),
    ),
    Layout(
        name="annotations",
        what="what a program for annotation exports",
        fits=is_annotations,
        read=read_annotations,
        over=frozenset({"folders", "metadata", "coco"}),
        options=frozenset({"images"}),
    ),
    Layout(
        name="lists",
        what="text files that list the images of each split",
        fits=is_list_files,
        read=read_list_files,
        over=frozenset({"folders"}),
        options=frozenset({"images", "class_level", "split_column"}),
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
        options=_OF_TREES | {"split_column"},
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
    fitting = [layout for layout in LAYOUTS if _fits(layout, path)]
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
    if (what := remedy_for_file(path.suffix.lower())) is not None:
        raise DataError(f"{path} is no source that Ravine reads; {what}")
    if path.suffix.lower() in EXTENSIONS:
        raise DataError(f"{path} is one image; name the folder of the images, {path.parent}")
    raise DataError(
        f"{path} is no source that Ravine reads; --layout takes: "
        + ", ".join(layout.name for layout in LAYOUTS)
    )


def _fits(layout: Layout, path: Path) -> bool:
    try:
        return layout.fits(path)
    except OSError as error:  # no permission to search the folder
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def fits_any(path: Path) -> bool:
    """Returns whether a layout fits a path."""
    return any(_fits(layout, path) for layout in LAYOUTS)


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
