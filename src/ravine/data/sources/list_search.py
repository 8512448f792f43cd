"""Which text files are lists of images, and where below DATA their images lie.

A list is one whose name says a split and whose first line names an image that is there.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.core.regular_file import head_text, open_regular
from ravine.data.sources.list_lines import MOST_ABOVE, LineForm, lines_of, possible_forms
from ravine.data.sources.listed_images import base_of
from ravine.data.sources.listing import EXTENSIONS, folders_in, image_files
from ravine.data.sources.name_words import split_in
from ravine.data.sources.partition_lists import says_partition
from ravine.data.sources.table_file import is_image_name

_FOLDERS = (
    *("", "meta", "annotations", "labels", "lists", "splits", "imagelist", "ImageSets", "data"),
    *("Partitions", "partitions"),
)
_IMAGES = (
    *("", "images", "imgs", "image", "data", "img", "jpg", "train", "val", "test"),
    *("Images", "JPEGImages"),
)
ENDINGS = (".txt", ".lst")
_HEAD = 1 << 16
_MOST_INNER = 20
_MOST_FILES = 60


@dataclass(frozen=True, slots=True)
class ImageList:
    """A list of images.

    Attributes:
        path: of the list.
        split: that its name says.
        base: folder of the images.
        ending: that the list leaves out of the images' names.
        form: of its lines.
    """

    path: Path
    split: str
    base: Path
    ending: str
    form: LineForm


def image_lists(root: Path) -> list[ImageList]:
    """Returns the lists in the first folder that has some."""
    for name in _FOLDERS:
        folder = root / name
        if not folder.is_dir():
            continue
        found = []
        for file in texts_in(folder):
            split = None if says_partition(file) else split_in(file.stem)
            fits = image_list(file, split, [root]) if split else None
            if fits is not None:
                found.append(fits)
        if found:
            return found
    return []


def has_lists(root: Path) -> bool:
    """Returns whether a folder is read by its lists, or its lists are to be asked about.

    A list for the test alone, of images among the class folders, is not passed over in silence.
    """
    lists = image_lists(root)
    if any(one.split == "train" for one in lists):
        return True
    if lists and _has_images(root):
        return any(_is_among_classes(one, root) for one in lists)
    return not lists and list_without_images(root) is not None


def _is_among_classes(one: ImageList, root: Path) -> bool:
    """Returns whether the first image of a list lies in no folder for a split."""
    line = _first_lines(one.path)[one.form.above]
    below = PurePosixPath(one.base.relative_to(root).as_posix(), one.form.fields(line)[0])
    return len(below.parts) > 1 and not any(split_in(part) for part in below.parts[:-1])


def list_without_images(root: Path) -> tuple[Path, str] | None:
    """Returns a list beside images that it does not name, and the first that it names."""
    for file in texts_in(root):
        if (
            says_partition(file)
            or split_in(file.stem) is None
            or image_list(file, "train", [root]) is not None
        ):
            continue
        forms = possible_forms(_first_lines(file))
        name = next((name for _, name in forms if is_image_name(name)), "")
        if name and _has_images(root):
            return file, name
    return None


def texts_in(folder: Path) -> list[Path]:
    """Returns the text files in a folder; [] where there are too many to be lists."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.path for entry in entries if entry.name.lower().endswith(ENDINGS)]
    except OSError:
        return []
    return [Path(name) for name in sorted(names)] if len(names) <= _MOST_FILES else []


def image_list(file: Path, split: str, roots: Sequence[Path]) -> ImageList | None:
    """Returns the list with the folder of its images; None if its first line names none."""
    homes = [*roots, file.parent]
    if not roots and file.parent.name in _FOLDERS:
        homes.append(file.parent.parent)  # never above what the user named
    forms = list(possible_forms(_first_lines(file)))
    for locate in (_located, _located_by_its_end):
        for form, name in forms:
            if (located := locate(name, homes)) is not None:
                base, ending, cut = located
                return ImageList(file, split, base, ending, replace(form, cut=cut))
    return None


def _first_lines(file: Path) -> list[str]:
    try:
        with open_regular(file) as lines:
            head = head_text(lines.read(_HEAD))
    except OSError:
        return []
    return [line for _, line in islice(lines_of(head), MOST_ABOVE + 1)]


def _located(name: str, homes: Sequence[Path]) -> tuple[Path, str, str] | None:
    """Returns the folder of an image, the ending that its name lacks, and "" to cut off."""
    whole = name.lstrip("/")
    if _leaves(name) or (found := _found(whole, homes)) is None:
        return None
    if PurePosixPath(f"{whole}{found[1]}").suffix.lower() not in EXTENSIONS:
        return None  # a list of other files, such as one that names itself
    return (*found, "")


def _located_by_its_end(name: str, homes: Sequence[Path]) -> tuple[Path, str, str] | None:
    """Returns the same for a path of another machine, by as much of its end as fits, and its cut.

    A bare name is none: it may be that of an image in any folder.
    """
    parts = PurePosixPath(name).parts
    if _leaves(name) or not is_image_name(name):
        return None
    folders = [part for part in parts[:-1] if part not in ("/", ".")]
    for count in range(1, len(folders) + 1):
        end = "/".join([*folders[count:], parts[-1]])
        if (found := _found(end, homes)) is not None:
            return (*found, name.removesuffix(end))
    return None


def _leaves(name: str) -> bool:
    """Returns whether a path leaves the folder of the images."""
    return ".." in PurePosixPath(name).parts


def _found(name: str, homes: Sequence[Path]) -> tuple[Path, str] | None:
    folders = [home / inner for home in dict.fromkeys(homes) for inner in _IMAGES]
    return base_of(folders, name) or base_of(_inner(homes), name)


def _inner(homes: Sequence[Path]) -> list[Path]:
    """Returns some folders in those where the images should be: they may be called otherwise."""
    try:
        return [home / name for home in homes for name in folders_in(home)[:_MOST_INNER]]
    except DataError:
        return []


def _has_images(root: Path) -> bool:
    return any(True for _ in image_files(root))
