"""COCO-style JSON with a category for each image, as iNaturalist's, or with several.

    train2018.json val2018.json (test2018.json)      images below train_val2018/ …
    annotations/train.json                           images in images/ or train/
    annotations/instances_train2017.json …           COCO: train2017/, val2017/
    train/_annotations.coco.json                     Roboflow: beside the images

A file holds `images` (id, file_name), `annotations` (image_id, category_id) and `categories`
(id, name) (https://cocodataset.org/#format-data; Van Horn et al., "The iNaturalist species
classification and detection dataset", 2018). Where an image has annotations of several categories,
its labels are all of them; boxes and masks are not used.

Shape letters: N images.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.core.regular_file import open_regular
from ravine.data.collection import Collection
from ravine.data.location import expand_path
from ravine.data.settings import DataSettings
from ravine.data.sources.listed_images import (
    ListedImage,
    ListMeaning,
    base_of,
    collect_listed,
    read_text,
    unique_names,
)
from ravine.data.sources.listing import folders_in
from ravine.data.sources.name_words import ORDER, split_in

_HEAD = 1 << 16
_MOST_FILES = 20
_LAYOUT = "coco"


@dataclass(frozen=True, slots=True)
class _CocoFile:
    """What one JSON says.

    Attributes:
        path: of the file.
        names: path of each image by id.
        category: ids of the categories of each labelled image by id of the image, each once.
        has_boxes: whether annotations have boxes or masks.
        categories: name by id.
    """

    path: Path
    names: Mapping[Any, str]
    category: Mapping[Any, tuple[Any, ...]]
    categories: Mapping[Any, str]
    has_boxes: bool


def is_coco(path: Path) -> bool:
    """Returns whether a path is such a JSON, or a folder with some, or with annotations/ of some.

    Looks at the first bytes of at most twenty files.
    """
    if path.is_file():
        return path.suffix.lower() == ".json" and _looks_right(path)
    return path.is_dir() and bool(_files(path))


def _files(root: Path) -> list[Path]:
    for pattern in ("*.json", "annotations/*.json", "*/_annotations.coco.json"):
        try:
            found = sorted(root.glob(pattern))[:_MOST_FILES]
        except OSError:
            continue
        if found := [file for file in found if _looks_right(file)]:
            return found
    return []


def _split_of(file: Path, path: Path) -> str | None:
    """Returns the split that the name of a file says, or that of its folder."""
    if file == path:
        return None
    return split_in(file.stem) or (None if file.parent == path else split_in(file.parent.name))


def _looks_right(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD).lstrip()
            file.seek(max(0, path.stat().st_size - _HEAD))
            tail = file.read(_HEAD)
    except OSError:
        return False
    keys = [key for key in (b'"images"', b'"annotations"', b'"categories"') if key in head + tail]
    return head.startswith(b"{") and len(keys) >= (2 if len(head) < _HEAD else 1)


def read_coco(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of a JSON, or of the JSONs for training and for validation in a folder.

    Raises:
        DataError: a file is torn, images are missing, or an image has several categories and one
            is asked for.
    """
    files = [path] if path.is_file() else _files(path)
    read = [_read(file) for file in files]
    labelled = [one for one in read if one.category]
    if not labelled:
        raise DataError(f"{files[0]} gives no image a category")
    splits = [_split_of(one.path, path) for one in labelled]
    if len(labelled) > 1 and (None in splits or len(set(splits)) < len(splits)):
        first, second = labelled[0].path.name, labelled[1].path.name
        raise DataError(
            f"{path} has {first} and {second}, and their names do not say which is for training; "
            "name one of them, or call them train and val"
        )
    order = sorted(zip(splits, labelled, strict=True), key=lambda p: ORDER.index(p[0] or "train"))
    names = _category_names(labelled)
    several = _has_several(labelled, settings.labels_per_image)
    bases = [_base(path, one, split, settings) for split, one in order]
    base = Path(os.path.commonpath(bases))
    images = [
        replace(image, path=(own.relative_to(base) / image.path).as_posix())
        for (split, one), own in zip(order, bases, strict=True)
        for image in _images(one, names, split, several=several)
    ]
    without = sum(len(one.names) - len(one.category) for one in labelled)
    left_out = [f"{without:,} images without a category"] if without else []
    if several and any(one.has_boxes for one in labelled):
        left_out.append("boxes and masks")
    left_out += [f"{one.path.name}, without categories" for one in read if not one.category]
    meaning = ListMeaning(
        layout=_LAYOUT,
        classes="categories of the annotations" if several else "categories",
        splits="splits: the names of the files" if len(labelled) > 1 else "",
        left_out=tuple(left_out),
        order=tuple(names.values()),
    )
    return collect_listed(base, images, meaning, count_rest=False)


def _has_several(files: Sequence[_CocoFile], asked: str) -> bool:
    """Returns whether images have several labels each.

    Raises:
        DataError: one has several categories, and one label an image is asked for.
    """
    for one in files:
        for image, kinds in one.category.items():
            if len(kinds) > 1 and asked == "one":
                raise DataError(
                    f"{one.path} gives {str(one.names.get(image, image))[:40]!r} several "
                    "categories; leave out --labels-per-image one; class folders next to it: "
                    "--layout folders"
                )
    return asked == "several" or any(len(k) > 1 for one in files for k in one.category.values())


def _images(
    one: _CocoFile, names: Mapping[str, str], split: str | None, *, several: bool
) -> Sequence[ListedImage]:
    """Returns the labelled images of a file."""
    named = {key: tuple(names[str(kind)] for kind in kinds) for key, kinds in one.category.items()}
    return [
        ListedImage(
            path=name,
            label="" if several else named[key][0],
            labels=named[key] if several else None,
            split=split,
            source=one.path,
            line=number,
        )
        for number, (key, name) in enumerate(one.names.items(), start=1)
        if key in one.category
    ]


def _category_names(files: Sequence[_CocoFile]) -> dict[str, str]:
    """Returns the names of the categories of all files by id, each name once, in order of ids."""
    found: dict[Any, str] = {}
    for one in files:
        for key, name in one.categories.items():
            if found.setdefault(key, name) != name:
                raise DataError(
                    f"{one.path}: the category {key} is {name[:40]!r} here and "
                    f"{found[key][:40]!r} in {files[0].path.name}; they are of two sets"
                )
    keys = sorted(found, key=lambda key: (isinstance(key, str), key))
    return unique_names({str(key): found[key] for key in keys})


def _base(path: Path, first: _CocoFile, split: str | None, settings: DataSettings) -> Path:
    """Returns the folder of a file's images: its own, one of the split's name, or another."""
    name = next(name for key, name in first.names.items() if key in first.category)
    root = path if path.is_dir() else path.parent
    homes = [first.path.parent, root]
    if first.path.parent.name == "annotations":
        homes = [root, first.path.parent.parent, first.path.parent]
    if settings.images is not None:
        homes = [expand_path(settings.images)]
    inner = [folder for home in homes for folder in _inner(home)]
    inner.sort(key=lambda folder: split is None or split_in(folder.name) != split)
    folders = [*homes, *inner]
    found = base_of(folders, name)
    if found is None or found[1]:
        raise DataError(
            f"{first.path}: its first image {name[:60]!r} is not in {folders[0]}; name the folder "
            f"of the images: ravine train {first.path.name} --images FOLDER"
        )
    return found[0]


def _inner(home: Path) -> list[Path]:
    return [home / name for name in folders_in(home)[:_MOST_FILES]]


def _read(path: Path) -> _CocoFile:
    try:
        content = json.loads(read_text(path, most=1 << 33))
    except (ValueError, RecursionError, MemoryError):
        raise DataError(f"{path} is no whole JSON; load it again") from None
    try:
        names = {row["id"]: str(row["file_name"]) for row in content["images"]}
        categories = {row["id"]: str(row["name"]) for row in content.get("categories", [])}
        rows = content.get("annotations", [])
        category: dict[Any, tuple[Any, ...]] = {}
        for row in rows:
            before = category.get(row["image_id"], ())
            if row["category_id"] not in before:
                category[row["image_id"]] = (*before, row["category_id"])
        has_boxes = any(row.get("bbox") or row.get("segmentation") for row in rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no COCO-style JSON: wanted are images (id, file_name), annotations "
            f"(image_id, category_id) and categories (id, name); {error}"[:190]
        ) from None
    strange = [image for image in category if image not in names]
    unknown = [kind for kinds in category.values() for kind in kinds if kind not in categories]
    if strange or unknown:
        odd = f"the image {strange[0]}" if strange else f"the category {unknown[0]}"
        raise DataError(f"{path}: an annotation names {odd}, which is not in the file")
    return _CocoFile(path, names, category, categories, has_boxes)
