"""Why a tree is no set of class folders, and what to do: the message, with a command that works.

Images without class folders may have labels in a table that lies there, or in their names; folders
of images next to boxes or masks are laid out for another task.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import islice
from pathlib import Path

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.label_sets import has_several
from ravine.data.sources.annotation_tools import unread_export
from ravine.data.sources.listing import IMAGE_LIKE, FolderListing
from ravine.data.sources.name_labels import name_pattern, proposed_form
from ravine.data.sources.split_words import are_parts, split_of
from ravine.data.sources.table_file import read_table_file, shown_path

_TABLES = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".txt", ".lst")
_ARCHIVES = frozenset({".zip", ".rar", ".7z", ".tgz", ".gz", ".bz2", ".xz", ".zst"})
_OF_LIBRARIES = {
    ".arrow": "load_from_disk(…)[split].to_parquet(FILE) of datasets makes a parquet of it",
    ".npy": "numpy.savez(FILE, x_train=…, y_train=…) makes a .npz of arrays",
    ".tfrecord": "write the images out, one folder per class",
    ".tfrec": "write the images out, one folder per class",
    ".rec": "write the images out (mxnet.recordio.unpack_img), one folder per class",
    ".beton": "write the images out, one folder per class",
    ".mdb": "write the images out, one folder per class",
    ".pt": "write the images out, one folder per class",
    ".pkl": "numpy.savez(FILE, x_train=…, y_train=…) makes a .npz of arrays",
    ".pickle": "numpy.savez(FILE, x_train=…, y_train=…) makes a .npz of arrays",
}
_OF_IMAGES = frozenset(
    {"images", "image", "imgs", "img", "jpegimages", "jpegs", "photos", "pictures", "rgb"}
)
_OF_MASKS = frozenset(
    {"masks", "mask", "labels", "label", "annotations", "annotation", "segmentation", "trimaps"}
    | {
        "segmentations",
        "segmentationclass",
        "segmentationobject",
        "groundtruth",
        "gt",
        "ground_truth",
    }
)
_MOST_TABLES = 20
_OF_ROWS = frozenset({".csv", ".tsv"})
_MOST_IDS = 5000
_FEW = 3  # images that may each have a label of their own

_OF_ALL = frozenset({"data", "dataset", "all", "files", "unsorted", "input", "frames", "crops"})

TryTable = Callable[[Path, Path], tuple[Collection, str] | None]
"""Reads the images of a folder by a table, called as (table, folder).

Returns them and the option that this takes, or ""; None where the table does not label them.
"""
_MOST_BESIDE = 10
_COVERED = 0.9  # of the images of class folders, from which a table is about them


def without_class_folders(
    root: Path, listing: FolderListing, labels_images: TryTable, level: str = ""
) -> DataError:
    """Returns the error for a folder whose images are in no class folders.

    Args:
        root: the folder, as the user named it.
        listing: what lies in it.
        labels_images: finds out whether a table fits a folder.
        level: of folders that count parts, "" where it is none of these.
    """
    names = [name for name, _ in listing.images]
    if not names:
        return _no_images(root, listing)
    loose = sum("/" not in name for name in names)
    if loose == len(names):
        found = f"{shown_path(root)} holds {loose:,} images but no class folders"
    else:
        found = f"{shown_path(root)}: {_tops(names)} hold images but no class folders"
    instead = f"; if they are classes: --class-level {level}" if level else ""
    return DataError(f"{found}{instead}; {remedy(root, listing, labels_images)}")


def is_unsorted(labels: Set[str]) -> bool:
    """Returns whether the only class is a folder for all images, such as images/, or for parts."""
    classes = {label.lower() for label in labels if label}
    return (len(classes) == 1 and classes <= _OF_IMAGES | _OF_ALL) or are_parts(classes)


def refuse_contrary_table(
    root: Path, listing: FolderListing, labels: Mapping[str, str], read_table: TryTable
) -> None:
    """Raises `DataError` if a table beside class folders labels their images otherwise.

    `d/patient_7/1.png` with `d/labels.csv` has the classes of the table; where both say the same,
    as in `d/cat/1.png` with a table of paths, splits and classes, the folders are read.

    Args:
        root: the folder.
        listing: what lies in it.
        labels: the class by its folder of each image to train on.
        read_table: reads a table.
    """
    with_images = {name.partition("/")[0] for name in (name for name, _ in listing.images)}
    near = {root, *(root / below for below in listing.others if below not in with_images)}
    tables = [table for table in _tables(root, listing) if table.parent in near]
    if len(tables) > _MOST_BESIDE:
        return
    for table in tables:
        read = read_table(table, root)
        if read is None or not _differs(labels, read[0]):
            continue
        raise DataError(
            f"{shown_path(root)} can be read in two ways: --layout folders takes the folders as "
            f"classes; {table.name} labels the images otherwise: ravine train {root} "
            f"--labels {table}{read[1]}"
        )


def _differs(labels: Mapping[str, str], found: Collection) -> bool:
    """Returns whether a table labels images of class folders, and other classes than these."""
    common = [index for index, name in enumerate(found.names) if name in labels]
    if len(common) < _COVERED * len(labels):
        return False
    if has_several(found.labels):
        return True
    pairs = {(labels[found.names[i]], int(found.labels[i])) for i in common}
    return not len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def refuse_one_folder(
    root: Path, listing: FolderListing, labels: Set[str], labels_images: TryTable
) -> None:
    """Raises `DataError` if the only class folder holds images that a table beside it labels."""
    if len(labels - {""}) != 1:
        return
    images = training_images([name for name, _ in listing.images])
    if len({name.rpartition("/")[0] for name in images}) != 1:
        return
    if (table := _fitting_table(root, listing, images, labels_images)) is not None:
        only = next(iter(labels - {""}))
        raise DataError(f"{shown_path(root)} holds one folder of images, {only}/; {table}")


def remedy(root: Path, listing: FolderListing, labels_images: TryTable) -> str:
    """Returns what the user may do about images without class folders."""
    images = training_images([name for name, _ in listing.images])
    if (table := _fitting_table(root, listing, images, labels_images)) is not None:
        return table
    tables = _tables(root, listing)[:_MOST_TABLES]
    if unread := unread_export(tables):
        return unread
    if (form := proposed_form(images)) is not None:
        labels = {name_pattern(form).label_of(name) for name in images}
        if (rows := _table_of_ids(tables, labels)) is None:
            return f"their names look like labels: --label-from-name {form}"
        return (
            f"a row of {rows.name} stands for several images, as of bands or views: make one "
            "image of them, or write a table with a row for each: --labels FILE.csv"
        )
    if tables and tables[0].suffix.lower() in _OF_ROWS and not _is_sample(tables[0]):
        return f"if {tables[0].name} labels them: ravine train {root} --labels {tables[0]}"
    return "sort them into one folder per class, or name a CSV: --labels train.csv"


def _is_sample(table: Path) -> bool:
    name = table.name.lower()
    return "sample" in name or "submission" in name


def _table_of_ids(tables: Sequence[Path], names: Set[str]) -> Path | None:
    """Returns the table in which each of the names has one row: they are ids, and no classes."""
    for table in tables:
        if table.suffix.lower() not in _OF_ROWS:
            continue
        try:
            columns, rows = read_table_file(table).columns, read_table_file(table).rows()
            values = list(zip(*(fields for _, fields in islice(rows, _MOST_IDS)), strict=False))
        except DataError:
            continue
        for column in values[: len(columns)]:
            known = names & set(column)
            if len(set(column)) == len(column) and len(known) > max(2, len(column) // 2):
                return table
    return None


def training_images(names: Sequence[str]) -> list[str]:
    """Returns the images below a folder for training, or all if there is none."""
    chosen = [name for name in names if any(split_of(p) == "train" for p in name.split("/")[:-1])]
    return chosen or list(names)


def _tops(names: Sequence[str]) -> str:
    tops = sorted({name.partition("/")[0] + "/" for name in names if "/" in name})
    return ", ".join(tops[:3]) + (" …" if len(tops) > 3 else "")


def _fitting_table(
    root: Path, listing: FolderListing, images: Sequence[str], labels_images: TryTable
) -> str | None:
    """Returns the command with the table that lies there and labels the images."""
    folders = [root]
    if images and all("/" in name for name in images):
        top = {name.rpartition("/")[0] for name in images}
        folders = [root / next(iter(top)), root] if len(top) == 1 else [root]
    for table in _tables(root, listing)[:_MOST_TABLES]:
        for folder in folders:
            read = labels_images(table, folder)
            if read is not None and _are_labels(read[0], images):
                return f"{table.name} labels them: ravine train {folder} --labels {table}{read[1]}"
    return None


def _are_labels(found: Collection, images: Sequence[str]) -> bool:
    """Returns whether what a table says are classes of most images: links and titles are none."""
    count = len(found.names)
    few = count <= _FEW or has_several(found.labels) or len(found.classes) < count
    return 2 * count >= len(images) and few


def _tables(root: Path, listing: FolderListing) -> list[Path]:
    """Returns the tables in a tree, those for training first."""
    found = [
        root / below / name
        for below, endings in listing.others.items()
        if any(endings[ending] for ending in _TABLES)
        for name in sorted(p.name for p in (root / below).iterdir() if p.is_file())
        if name.lower().endswith(_TABLES)
    ]
    wanted = ("train", "label", "meta", "annotation", "attr", "categor", "class")
    return sorted(found, key=lambda path: (not any(w in path.name.lower() for w in wanted), path))


def _no_images(root: Path, listing: FolderListing) -> DataError:
    strange = [
        (count, ending) for ending, count in listing.endings().items() if ending in IMAGE_LIKE
    ]
    if strange:
        count, ending = max(strange)
        return DataError(
            f"{shown_path(root)} holds {count:,} {ending} files and no image that Ravine reads; "
            "convert them to .jpg or .png"
        )
    if (of_library := _of_library(root, listing)) is not None:
        return of_library
    if bare := listing.endings()[""]:
        return DataError(
            f"{shown_path(root)} holds {bare:,} files without an ending and no image by its name; "
            "if they are images, give them their ending, such as .jpg"
        )
    return DataError(
        f"{shown_path(root)} holds no images; Ravine looks for one folder per class, a CSV "
        "(--labels), IDX, CIFAR or .npz files"
    )


def remedy_for_file(ending: str) -> str | None:
    """Returns what to do with an archive or a file of another library; None for other files.

    >>> remedy_for_file(".zip"), remedy_for_file(".txt")
    ('unpack it, and name the folder', None)
    """
    if ending in _ARCHIVES:
        return "unpack it, and name the folder"
    return _OF_LIBRARIES.get({".p": ".pkl", ".pth": ".pt"}.get(ending, ending))


def _of_library(root: Path, listing: FolderListing) -> DataError | None:
    for ending, count in listing.endings().items():
        if (what := remedy_for_file(ending)) is not None:
            return DataError(
                f"{shown_path(root)} holds {count:,} {ending} and no images that Ravine reads; "
                f"{what}"
            )
    return None


def refuse_other_tasks(root: Path, listing: FolderListing) -> None:
    """Raises `DataError` if a tree is laid out for detection or segmentation.

    Such a tree holds images/ without class folders, next to labels/*.txt (YOLO), Annotations/*.xml
    (VOC) or a folder of masks.
    """
    kinds: dict[str, list[str]] = {"images": [], "masks": []}
    if masks_in_classes(listing):
        return
    for name, _ in listing.images:
        told = [part.lower() for part in name.split("/")[:-1]]
        telling = [part for part in told if split_of(part) is None]
        if any(part not in _OF_IMAGES | _OF_MASKS for part in telling[-1:]):
            return  # a folder that may be a class
        kinds["masks" if _OF_MASKS & set(told) else "images"].append(name)
    in_images = [n for n in kinds["images"] if _OF_IMAGES & {p.lower() for p in n.split("/")[:-1]}]
    if not in_images:
        return
    boxes = _boxes(listing.others)
    if not boxes and not kinds["masks"]:
        return
    what = f"detection ({boxes})" if boxes else f"segmentation (masks, as {kinds['masks'][0]})"
    raise DataError(
        f"{shown_path(root)} is laid out for {what}, not for classes: Ravine wants one label for "
        "each image" + _from_names(root, in_images)
    )


def masks_in_classes(listing: FolderListing) -> set[str]:
    """Returns the folders of masks in class folders: `COVID/masks` beside `COVID/images`.

    Empty where the folders above hold one image each, or are splits: those are no classes.
    """
    folders: dict[str, int] = {}
    for name, _ in listing.images:
        folder = name.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + 1
    last = {folder: folder.lower().rpartition("/")[2] for folder in folders}
    of_images = {f.rpartition("/")[0]: n for f, n in folders.items() if last[f] in _OF_IMAGES}
    masks = {f for f in folders if last[f] in _OF_MASKS and f.rpartition("/")[0] in of_images}
    above = {folder.rpartition("/")[0] for folder in masks}
    classes = {a.rpartition("/")[2] for a in above if split_of(a.rpartition("/")[2]) is None}
    many = sum(of_images[one] for one in above) >= 2 * len(above)
    return masks if len(classes) > 1 and len(of_images) == len(above) and many else set()


def _boxes(others: Mapping[str, Mapping[str, int]]) -> str:
    for below, endings in others.items():
        parts = [part.lower() for part in below.split("/")]
        if "labels" in parts and endings.get(".txt"):
            return "YOLO: labels/ with .txt"
        if "annotations" in parts and endings.get(".xml"):
            return "VOC: Annotations/ with .xml"
    return ""


def _from_names(root: Path, images: Sequence[str]) -> str:
    form = proposed_form(images)
    folders = {name.rpartition("/")[0] for name in images}
    if form is None or len(folders) != 1:
        return ""
    return (
        f"; with labels in the names: ravine train {root / folders.pop()} --label-from-name {form}"
    )
