"""Text files that list the images of each split, as many published sets have them.

    train.txt val.txt test.txt        lines `path label`, or `class/image`      beside the images
    meta/train.txt meta/test.txt      Food-101: lines apple_pie/1005649         images/
    annotations/trainval.txt test.txt Oxford Pets: lines Abyssinian_100 1 1 1   images/
    labels/train1.txt …               DTD: lines banded/banded_0002.jpg         images/
    data/images_variant_train.txt …   Aircraft: lines 1025794 707-320           data/images/
    Partitions/Training_01.txt …      SUN397: lines /a/abbey/sun_aaalbzqrimafwbiv.jpg
    set_train.lst set_val.lst         MXNet: lines number, label, path
    places365_train_standard.txt …    Places365: lines /a/airfield/00000001.jpg 0   data_256/

A list is one whose name says a split and whose first line names an image that is there. The label
is the second column; without one it is the image's folder. Where each number in the second column
stands for one beginning of the names (Abyssinian_…), that is the class's name. Lists whose names
differ only in the split belong together; of several such groups the one of the list that the user
names is taken.

Shape letters: N images.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.location import expand_path
from ravine.data.settings import DataSettings
from ravine.data.sources.class_names_file import names_in_lines
from ravine.data.sources.class_tree import folder_of, read_class_tree
from ravine.data.sources.list_lines import are_flags, lines_of
from ravine.data.sources.list_search import (
    ENDINGS,
    ImageList,
    has_lists,
    image_list,
    image_lists,
    list_without_images,
    texts_in,
)
from ravine.data.sources.listed_images import (
    ListedImage,
    ListMeaning,
    collect_listed,
    read_text,
)
from ravine.data.sources.name_words import ORDER, split_in
from ravine.data.sources.partition_lists import partition_near, says_partition
from ravine.data.sources.table_splits import NONE, say_splits

_NO_CLASSES = frozenset({"", ".", "images", "image", "imgs", "img", "data", "jpegimages", "photos"})
_LAYOUT = "lists"
_SPLIT_WORD = re.compile(r"trainval|training|train|validation|valid|val|testing|test")
_JOINED_FLAGS = re.compile(r"(?:0|-?1)(?:,(?:0|-?1))+")
_JOINED = re.compile(r"train[-_]?val")


def is_list_files(path: Path) -> bool:
    """Returns whether a path is a list of images, or a folder with lists for its splits.

    Looks at the first lines of some dozens of text files.
    """
    if path.is_file():
        found = image_list(path, "train", []) if path.suffix.lower() in ENDINGS else None
        return found is not None and not found.form.above  # a table has names of columns above
    return path.is_dir() and has_lists(path)


def _group(path: Path) -> str:
    """Returns a list's name without its split: lists of one group are those of one set."""
    return _SPLIT_WORD.sub("", path.stem.lower())


def _of_named(path: Path, settings: DataSettings) -> list[ImageList]:
    """Returns the list that the user names, and those of its group for the other splits."""
    homes = [expand_path(settings.images)] if settings.images else []
    alone = image_list(path, split_in(path.stem) or "train", homes)
    if alone is None:
        raise DataError(f"{path}: its first line names no image; name their folder: --images")
    if split_in(path.stem) is None:
        return [alone]
    others = [
        found
        for file in texts_in(path.parent)
        if file != path and _group(file) == _group(path)
        if (split := split_in(file.stem)) is not None
        if (found := image_list(file, split, homes)) is not None
    ]
    return _without_joined([alone, *others], named=alone)


def _without_joined(lists: Sequence[ImageList], named: ImageList | None = None) -> list[ImageList]:
    """Leaves out trainval.txt where there are train.txt and val.txt, unless it is named."""
    if named is not None and _JOINED.search(named.path.stem.lower()):
        taken = ("train", "validation")
        return [one for one in lists if one is named or one.split not in taken]
    apart = {one.split for one in lists if not _JOINED.search(one.path.stem.lower())}
    if {"train", "validation"} <= apart:
        return [one for one in lists if not _JOINED.search(one.path.stem.lower())]
    return list(lists)


def _with_labels(lists: Sequence[ImageList]) -> list[ImageList]:
    """Leaves out lists of bare names in one folder, where others have labels."""
    labelled = [one for one in lists if _says_labels(one)]
    return labelled or list(lists)


def _says_labels(one: ImageList) -> bool:
    _, fields = _rows(one)[0]
    return len(fields) > 1 or _folder(fields[0].lstrip("/")).lower() not in _NO_CLASSES


def read_list_files(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images that a list names, or the lists of a folder.

    Raises:
        DataError: a line is torn, an image is missing, or two lists are for one split.
    """
    lists = _chosen(path, settings)
    base = Path(os.path.commonpath([one.base for one in lists]))
    rows = _rows_of(lists)
    images = [
        ListedImage(
            path=_path(one, base, row[0]),
            label=row[1] if len(row) > 1 else _folder(row[0]),
            split=one.split if len(lists) > 1 or path.is_dir() else None,
            source=one.path,
            line=number,
        )
        for one, number, row in rows
    ]
    images, said = _labelled(images, [row[1:] for _, _, row in rows], base, settings)
    names = ", ".join(one.path.name for one in lists)
    if path.is_file() and len(lists) == 1 and settings.split_column is None:
        images, names = _with_partition(images, path, base)
    given = any(image.split for image in images)
    meaning = ListMeaning(layout=_LAYOUT, classes=said, splits=f"splits: {names}" if given else "")
    return collect_listed(base, images, meaning)


def _chosen(path: Path, settings: DataSettings) -> list[ImageList]:
    """Returns the lists to read, in the order of their splits."""
    if settings.split_column not in (None, NONE):
        raise DataError(f"{path} is a list without columns; --split-column takes none only")
    found = _of_named(path, settings) if path.is_file() else _with_labels(image_lists(path))
    if not found and (lost := list_without_images(path)) is not None:
        raise DataError(
            f"{lost[0]} lists images that are not below {path}, the first {lost[1][-60:]!r}; mend "
            "its paths, or pass over the lists: --layout folders"
        )
    if path.is_file():
        _refuse_partition(found[0])
    lists = sorted(
        _without_joined(found) if path.is_dir() else found,
        key=lambda one: (ORDER.index(one.split), one.path.name),
    )
    _refuse_ambiguous(path, lists)
    return lists


def _labelled(
    images: list[ListedImage],
    columns: Sequence[Sequence[str]],
    base: Path,
    settings: DataSettings,
) -> tuple[list[ListedImage], str]:
    """Returns images with the classes that the columns behind N paths give, and what said so."""
    if all(len(row) == 1 and _JOINED_FLAGS.fullmatch(row[0]) for row in columns):
        columns = [row[0].split(",") for row in columns]  # cat/1.png 0,1
    if are_flags(columns):
        return _of_flags(images, columns, base)
    if max(map(len, columns)) > 0:
        images, named = _named(images, base)
        return images, named or "second column"
    source = images[0].source
    if {image.label.lower() for image in images} <= _NO_CLASSES:
        raise DataError(f"{source} lists images without a label; write it behind each path")
    return _by_folders(images, source, settings)


def _refuse_partition(one: ImageList) -> None:
    """Raises `DataError` if a list gives splits: they are no classes."""
    if not says_partition(one.path):
        return
    labels = {fields[1] for _, fields in _rows(one) if len(fields) == 2}
    if labels and (labels <= {"0", "1", "2"} or say_splits(list(labels))):
        raise DataError(
            f"{one.path} gives splits, and no classes; name the file with the labels, beside which "
            "it is followed: --labels FILE"
        )


def _with_partition(
    images: Sequence[ListedImage], path: Path, base: Path
) -> tuple[list[ListedImage], str]:
    """Returns images with the splits in a file beside their list, and its name; "" without one."""
    known = {image.path for image in images}
    apart = partition_near(path, base, lambda name: name if name in known else None)
    if apart is None:
        return list(images), ""
    splits = apart.of([image.path for image in images])
    return [replace(i, split=s) for i, s in zip(images, splits, strict=True)], apart.path.name


def _path(one: ImageList, base: Path, name: str) -> str:
    """Returns the path below `base` of an image as a list has it."""
    inner = one.base.relative_to(base).as_posix()
    prefix = "" if inner == "." else f"{inner}/"
    return f"{prefix}{name.removeprefix('./').lstrip('/')}{one.ending}"


def _by_folders(
    images: Sequence[ListedImage], source: Path, settings: DataSettings
) -> tuple[list[ListedImage], str]:
    """Returns the images with the folder that is the class, as of a tree on the disk."""
    folders = dict.fromkeys(folder_of(image.path) for image in images)
    tree = read_class_tree(folders, str(source), settings.class_level)
    named = [replace(image, label=tree.labels[folder_of(image.path)]) for image in images]
    return named, tree.said


def _refuse_ambiguous(root: Path, lists: Sequence[ImageList]) -> None:
    for one, other in pairwise(lists):
        if one.split == other.split:
            raise DataError(
                f"{root} has {one.path.name} and {other.path.name}, both for {one.split}; name "
                f"one of them, and the lists of its name for other splits follow: ravine train "
                f"{one.path}"
            )


def _rows(one: ImageList) -> list[tuple[int, list[str]]]:
    """Returns (line, fields) of each line that is not empty."""
    lines = lines_of(read_text(one.path))[one.form.above :]
    return [(number, one.form.fields(line)) for number, line in lines]


def _rows_of(lists: Sequence[ImageList]) -> list[tuple[ImageList, int, list[str]]]:
    """Returns (list, line, fields) of all rows; a label with blanks in it is one field.

    Raises:
        DataError: a row has other columns than the first of its list.
    """
    found = [(one, number, fields) for one in lists for number, fields in _rows(one)]
    counts = {len(fields) for _, _, fields in found} - {0}
    if len(counts) > 1 and min(counts) > 1:  # 1025794 Boeing 707
        return [(one, n, [fields[0], " ".join(fields[1:])]) for one, n, fields in found]
    first: dict[Path, int] = {}
    for one, number, fields in found:
        columns = first.setdefault(one.path, len(fields))
        if len(fields) != columns or not fields or not fields[0]:
            raise DataError(
                f"{one.path}, line {number}: {len(fields)} columns; the first line has {columns}"
            )
    return found


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.name


def _of_flags(
    images: Sequence[ListedImage], flags: Sequence[Sequence[str]], base: Path
) -> tuple[list[ListedImage], str]:
    """Returns the images with the classes whose columns are 1, and where their names come from."""
    numbers = [str(number) for number in range(len(flags[0]))]
    names = _listed_names(base, set(numbers))
    sets = [
        tuple(names.get(n, n) for n, flag in zip(numbers, row, strict=True) if flag == "1")
        for row in flags
    ]
    said = f"columns of 0 and 1{', names of classes.txt' if names else ''}"
    if all(len(labels) == 1 for labels in sets):
        return [replace(i, label=s[0]) for i, s in zip(images, sets, strict=True)], said
    return [replace(i, label="", labels=s) for i, s in zip(images, sets, strict=True)], said


def _named(images: Sequence[ListedImage], base: Path) -> tuple[list[ListedImage], str]:
    """Returns the images with names for their classes' numbers, and where the names come from."""
    images = list(images)
    numbers = {image.label for image in images}
    if not all(number.isdecimal() for number in numbers):
        return images, ""
    for source, names in (
        ("names of classes.txt", _listed_names(base, numbers)),
        ("folders", _beginnings(images, _folder)),
        ("beginnings of the names", _beginnings(images, _beginning)),
    ):
        if names:
            return [replace(image, label=names[image.label]) for image in images], source
    return images, ""


def _listed_names(base: Path, numbers: set[str]) -> Mapping[str, str]:
    """Returns names from a classes.txt at the images, counted from 1 unless a number is 0."""
    file = next(
        (f / "classes.txt" for f in (base, base.parent) if (f / "classes.txt").is_file()), None
    )
    if file is None:
        return {}
    lines = [line.strip() for line in read_text(file, most=1 << 20).splitlines() if line.strip()]
    named = names_in_lines(lines, {int(number) for number in numbers})
    if len(set(named.values())) < len(named) or not {int(n) for n in numbers} <= named.keys():
        return {}
    return {number: named[int(number)] for number in numbers}


def _beginning(path: str) -> str:
    return re.sub(r"[_ -]*\d+$", "", PurePosixPath(path).stem)


def _beginnings(images: Sequence[ListedImage], part: Callable[[str], str]) -> Mapping[str, str]:
    """Returns the part of the names that goes with each number, where that is one to one."""
    found: dict[str, str] = {}
    for image in images:
        name = part(image.path)
        if name.lower() in _NO_CLASSES or found.setdefault(image.label, name) != name:
            return {}
    return found if len(set(found.values())) == len(found) else {}
