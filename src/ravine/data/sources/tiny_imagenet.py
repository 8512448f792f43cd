"""Tiny-ImageNet, whose validation images lie in one folder beside a list of their classes.

    train/n01443537/images/n01443537_0.JPEG    val/images/val_0.JPEG    val/val_annotations.txt
    test/images/test_0.JPEG                    wnids.txt    words.txt

A line of val_annotations.txt is file, class and box, between tabs; words.txt gives the names of
the classes (Stanford's course CS231n, 2015). The test images have no labels and are left out.
"""

from collections.abc import Mapping
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.listed_images import (
    ListedImage,
    ListMeaning,
    collect_listed,
    read_text,
    unique_names,
)
from ravine.data.sources.listing import folders_in, image_files

_LIST = "val/val_annotations.txt"


def is_tiny_imagenet(path: Path) -> bool:
    """Returns whether a folder has train/ and val/val_annotations.txt."""
    return (path / _LIST).is_file() and (path / "train").is_dir()


def read_tiny_imagenet(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of Tiny-ImageNet, the validation images with the labels of their list.

    Raises:
        DataError: the list is torn, or names an image or a class that is not there.
    """
    classes = folders_in(path / "train")
    words = _words(path)
    names = unique_names({wnid: words.get(wnid) or wnid for wnid in classes})
    images = [
        ListedImage(
            path=f"train/{name}",
            label=names[name.partition("/")[0]],
            split="train",
            source=path / "train",
            line=number,
        )
        for number, (name, _) in enumerate(image_files(path / "train"), start=1)
        if name.partition("/")[0] in names
    ]
    images += _validation(path, names)
    test = sum(1 for _ in image_files(path / "test")) if (path / "test").is_dir() else 0
    source = "words.txt" if (path / "words.txt").is_file() else "folders of train/"
    meaning = ListMeaning(
        layout="tiny-imagenet",
        classes=source,
        splits="validation: val_annotations.txt",
        left_out=(f"{test:,} test images without a label",) if test else (),
        order=tuple(names.values()),
    )
    return collect_listed(path, images, meaning, count_rest=False)


def _validation(path: Path, names: Mapping[str, str]) -> list[ListedImage]:
    source, found = path / _LIST, []
    folder = "val/images" if (path / "val" / "images").is_dir() else "val"
    for number, line in enumerate(read_text(source).splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) < 2 or fields[1].strip() not in names:
            raise DataError(
                f"{source}, line {number}: wanted are an image, a tab and a class that is in train/"
            )
        label = names[fields[1].strip()]
        image = f"{folder}/{fields[0].strip()}"
        found.append(
            ListedImage(path=image, label=label, split="validation", source=source, line=number)
        )
    return found


def _words(path: Path) -> Mapping[str, str]:
    """Returns the first name of each class by its number in WordNet."""
    file = path / "words.txt"
    if not file.is_file():
        return {}
    pairs = (line.partition("\t") for line in read_text(file, most=1 << 26).splitlines())
    return {key.strip(): text.partition(",")[0].strip() for key, tab, text in pairs if tab}
