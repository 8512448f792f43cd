"""Pascal VOC: the objects in an image are its labels; boxes and masks are not used.

    VOC2007/  Annotations/000001.xml  JPEGImages/000001.jpg  ImageSets/Main/{train,val,test}.txt

DATA is this folder, or VOCdevkit with one such folder in it. Objects marked as difficult are no
labels, as in the classification task of its makers (Everingham et al., "The Pascal visual object
classes challenge", IJCV 2010). Where every image has one kind of object, that is its class.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.listed_images import (
    ListedImage,
    ListMeaning,
    base_of,
    collect_listed,
    read_text,
)
from ravine.data.sources.listing import folders_in

_LAYOUT = "voc"
_OBJECT = re.compile(r"<object>(.*?)</object>", re.DOTALL)
_NAME = re.compile(r"<name>\s*([^<]*?)\s*</name>")
_DIFFICULT = re.compile(r"<difficult>\s*1\s*</difficult>")
_LARGEST = 1 << 24  # bytes of an annotation
_LISTS = (("train", ("train", "trainval")), ("validation", ("val",)), ("test", ("test",)))


@dataclass(frozen=True, slots=True)
class _Objects:
    """The kinds of objects in an image, and how many more were difficult."""

    names: tuple[str, ...]
    difficult: int


def is_voc(path: Path) -> bool:
    """Returns whether a folder, or the only one in it, is a year of VOC."""
    return path.is_dir() and _year(path) is not None


def _year(path: Path) -> Path | None:
    if _is_year(path):
        return path
    try:
        found = [path / name for name in folders_in(path) if _is_year(path / name)]
    except OSError:
        return None
    return found[0] if len(found) == 1 else None


def _is_year(path: Path) -> bool:
    annotations = path / "Annotations"
    if not (annotations.is_dir() and (path / "JPEGImages").is_dir()):
        return False
    return any(True for _ in annotations.glob("*.xml"))


def read_voc(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images that have annotations, with the split that a list names.

    Raises:
        DataError: an annotation is torn, an image is missing, or it has several kinds of objects
            and one label is asked for.
    """
    root = _year(path)
    if root is None:
        raise DataError(f"{path} has no folders Annotations and JPEGImages of Pascal VOC")
    splits = _splits(root)
    files = sorted((root / "Annotations").glob("*.xml"))
    if splits:
        files = [file for file in files if file.stem in splits]
    if not files:
        raise DataError(f"{root}: the lists in ImageSets/Main name no image with an annotation")
    found = {file: _objects(file) for file in files}
    several = _has_several(found, settings.labels_per_image)
    images = list(_images(root, found, splits, several=several))
    difficult = sum(one.difficult for one in found.values())
    left_out = [f"{difficult:,} difficult objects"] if difficult else []
    meaning = ListMeaning(
        layout=_LAYOUT,
        classes="objects of the annotations",
        splits="splits: ImageSets/Main" if splits else "",
        left_out=("boxes and masks", *left_out),
    )
    return collect_listed(root / "JPEGImages", images, meaning, count_rest=not splits)


def _splits(root: Path) -> dict[str, str]:
    """Returns the split of each image that a list names."""
    found: dict[str, str] = {}
    for split, names in _LISTS:
        lists = [root / "ImageSets" / "Main" / f"{name}.txt" for name in names]
        for file in [file for file in lists if file.is_file()][:1]:
            for name in read_text(file).split():
                if found.setdefault(name, split) != split:
                    raise DataError(f"{file}: {name[:40]!r} is in the list of {found[name]} too")
    return found


def _objects(file: Path) -> _Objects:
    text = read_text(file, most=_LARGEST)
    if "</annotation>" not in text:
        raise DataError(f"{file} is no whole annotation of Pascal VOC; load it again")
    names, difficult = [], 0
    for block in _OBJECT.findall(text):
        name = _NAME.search(block)
        if name is None:
            raise DataError(f"{file}: an object has no name")
        if _DIFFICULT.search(block):
            difficult += 1
        else:
            names.append(name[1])
    return _Objects(tuple(dict.fromkeys(names)), difficult)


def _has_several(found: Mapping[Path, _Objects], asked: str) -> bool:
    odd = next((file for file, one in found.items() if len(one.names) != 1), None)
    if odd is not None and asked == "one":
        raise DataError(
            f"{odd}: the image has {len(found[odd].names)} kinds of objects; leave out "
            "--labels-per-image one"
        )
    return asked == "several" or odd is not None


def _images(
    root: Path, found: Mapping[Path, _Objects], splits: Mapping[str, str], *, several: bool
) -> Iterator[ListedImage]:
    folder: Sequence[Path] = (root / "JPEGImages",)
    for line, (file, one) in enumerate(found.items(), start=1):
        lies = base_of(folder, file.stem)
        if lies is None:
            raise DataError(f"{file}: there is no image {file.stem[:40]!r} in {folder[0]}")
        yield ListedImage(
            path=f"{file.stem}{lies[1]}",
            label="" if several else one.names[0],
            labels=one.names if several else None,
            split=splits.get(file.stem),
            source=file,
            line=line,
        )
