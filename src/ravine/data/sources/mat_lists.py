"""Lists of images in MATLAB files, as three published sets have them.

    jpg/image_00001.jpg …   imagelabels.mat   setid.mat                     Oxford Flowers-102
    cars_train/00001.jpg …  devkit/cars_train_annos.mat  cars_meta.mat      Stanford Cars
    cars_test/…             cars_test_annos_withlabels.mat
    Images/n02085620-…/*.jpg   train_list.mat  test_list.mat  (file_list)   Stanford Dogs

Nilsback and Zisserman, "Automated flower classification over a large number of classes", 2008;
Krause et al., "3D object representations for fine-grained categorization", 2013; Khosla et al.,
"Novel dataset for fine-grained image categorization", 2011.

Shape letters: N images.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.listed_images import ListedImage, ListMeaning, collect_listed
from ravine.data.sources.svhn import mat_variable

_FLOWER_SPLITS = {"train": "trnid", "validation": "valid", "test": "tstid"}
_CAR_LISTS = {
    "train": ("cars_train_annos.mat",),
    "test": ("cars_test_annos_withlabels.mat",),
}
_META = "cars_meta.mat"
_DOG_LISTS = {"train": "train_list.mat", "test": "test_list.mat"}


def is_flowers(path: Path) -> bool:
    """Returns whether a folder, or flowers-102/ in it, holds imagelabels.mat and jpg/."""
    return _flowers(path) is not None


def is_cars(path: Path) -> bool:
    """Returns whether a folder, or stanford_cars/ in it, holds cars_train/ and its annotations."""
    return _cars(path) is not None


def _flowers(path: Path) -> Path | None:
    homes = (path, path / "flowers-102") if path.is_dir() else ()
    return next(
        (h for h in homes if (h / "imagelabels.mat").is_file() and (h / "jpg").is_dir()), None
    )


def _cars(path: Path) -> Path | None:
    homes = (path, path / "stanford_cars") if path.is_dir() else ()
    return next((h for h in homes if (h / "cars_train").is_dir() and _file(h, "train")), None)


def _file(home: Path, split: str) -> Path | None:
    names = _CAR_LISTS[split]
    found = (home / below / name for name in names for below in ("devkit", "."))
    return next((path for path in found if path.is_file()), None)


def read_flowers(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of Flowers-102, with its splits where setid.mat is there.

    Raises:
        DataError: a file is torn, or an image is missing.
    """
    home = _flowers(path)
    if home is None:
        raise DataError(f"{path} holds no imagelabels.mat beside jpg/")
    source = home / "imagelabels.mat"
    labels = _whole(source, "labels")
    splits = _flower_splits(home, len(labels))
    images = [
        ListedImage(
            path=f"image_{number:05d}.jpg",
            label=str(label),
            split=splits.get(number),
            source=source,
            line=number,
        )
        for number, label in enumerate(labels.tolist(), start=1)
        if not splits or number in splits
    ]
    meaning = ListMeaning(
        layout="flowers-102",
        classes="imagelabels.mat",
        splits="splits: setid.mat" if splits else "",
    )
    return collect_listed(home / "jpg", images, meaning)


def _flower_splits(home: Path, count: int) -> Mapping[int, str]:
    file = home / "setid.mat"
    if not file.is_file():
        return {}
    found: dict[int, str] = {}
    for split, name in _FLOWER_SPLITS.items():
        for number in _whole(file, name).tolist():
            if number in found or not 1 <= number <= count:
                raise DataError(f"{file} is torn: {name} names image {number} of {count}")
            found[number] = split
    return found


def read_cars(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of Stanford Cars; those for the test where their labels are there.

    Raises:
        DataError: a file is torn, or an image is missing.
    """
    home = _cars(path)
    if home is None:
        raise DataError(f"{path} holds no cars_train/ with cars_train_annos.mat")
    names = _car_names(home)
    images = [one for split in _CAR_LISTS for one in _cars_of(home, split, names)]
    tested = _file(home, "test") is not None
    left_out = () if tested else ("cars_test/ without cars_test_annos_withlabels.mat",)
    meaning = ListMeaning(
        layout="stanford-cars",
        classes=_META if names else "cars_train_annos.mat",
        splits="splits: the lists" if tested else "",
        left_out=left_out if (home / "cars_test").is_dir() else (),
        order=tuple(names),
    )
    return collect_listed(home, images, meaning, count_rest=False)


def is_dogs(path: Path) -> bool:
    """Returns whether a folder holds Images/ and both lists of Stanford Dogs."""
    lists = all((path / name).is_file() for name in _DOG_LISTS.values())
    return lists and (path / "Images").is_dir()


def read_dogs(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of Stanford Dogs; the classes are the folders, the splits the lists.

    Raises:
        DataError: a list is torn, or an image is missing.
    """
    images = []
    for split, name in _DOG_LISTS.items():
        rows = np.atleast_1d(_squeezed(path / name, "file_list")).tolist()
        for line, row in enumerate(rows, start=1):
            file = str(np.squeeze(row))
            label, slash, _ = file.partition("/")
            if not slash:
                raise DataError(f"{path / name}, entry {line}: {file[:40]!r} is in no folder")
            images.append(
                ListedImage(path=file, label=label, split=split, source=path / name, line=line)
            )
    meaning = ListMeaning(
        layout="stanford-dogs", classes="folders of Images/", splits="splits: the lists"
    )
    return collect_listed(path / "Images", images, meaning)


def _cars_of(home: Path, split: str, names: Sequence[str]) -> Iterator[ListedImage]:
    source = _file(home, split)
    if source is None:
        return
    rows = np.atleast_1d(_squeezed(source, "annotations"))
    tested = _file(home, "test") is not None
    for line, row in enumerate(rows.tolist() if rows.dtype.names is None else rows, start=1):
        try:
            file, number = str(np.squeeze(row["fname"])), int(np.squeeze(row["class"]))
        except (KeyError, ValueError, TypeError, IndexError):
            raise DataError(f"{source}, entry {line}: no fname and class; load it again") from None
        if names and not 1 <= number <= len(names):
            raise DataError(f"{source}, entry {line}: class {number} of {len(names)}")
        yield ListedImage(
            path=f"cars_{split}/{file}",
            label=names[number - 1] if names else str(number),
            split=split if tested else None,
            source=source,
            line=line,
        )


def _car_names(home: Path) -> list[str]:
    for file in (home / "devkit" / _META, home / _META):
        if file.is_file():
            found = np.atleast_1d(_squeezed(file, "class_names"))
            return [str(np.squeeze(name)) for name in found.tolist()]
    return []


def _whole(path: Path, name: str) -> np.ndarray:
    values = np.atleast_1d(_squeezed(path, name))
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise DataError(f"{path} is torn: {name} holds no row of whole numbers")
    return values.astype(np.int64)


def _squeezed(path: Path, name: str) -> np.ndarray:
    value: Any = np.squeeze(mat_variable(path, name))
    return np.asarray(value)
