"""Pascal VOC: the objects in an image are its labels; boxes and masks are not used.

    VOC2007/  Annotations/000001.xml  JPEGImages/000001.jpg  ImageSets/Main/{train,val,test}.txt
    VOC2007/  JPEGImages/000001.jpg   ImageSets/Main/cat_train.txt (000001 -1)   no annotations

DATA is this folder, or VOCdevkit with one such folder in it. Without annotations, the lists of each
class say where it is (1), is not (-1), or is difficult to see (0). Objects marked as difficult are
no labels, as in the classification task of its makers (Everingham et al., "The Pascal visual object
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
_FLAGS = re.compile(r"\s*\S+\s+(?:1|0|-1)\s")
_HEAD = 1 << 10
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
    if not (path / "JPEGImages").is_dir():
        return False
    return _has_annotations(path) or bool(_class_lists(path))


def _has_annotations(path: Path) -> bool:
    return any(True for _ in (path / "Annotations").glob("*.xml"))


def _class_lists(root: Path) -> dict[Path, tuple[str, str]]:
    """Returns (class, split) of the lists that name an image and 1, 0 or -1 in each line."""
    found = {}
    for file in sorted((root / "ImageSets" / "Main").glob("*_*.txt")):
        name, _, part = file.stem.rpartition("_")
        split = next((split for split, names in _LISTS if part in names), None)
        if split is not None and part != "trainval" and _FLAGS.match(read_text(file)[:_HEAD]):
            found[file] = (name, split)
    return found


def read_voc(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images that have annotations, with the split that a list names.

    Raises:
        DataError: an annotation is torn, an image is missing, or it has several kinds of objects
            and one label is asked for.
    """
    root = _year(path)
    if root is None:
        raise DataError(f"{path} has no folders Annotations and JPEGImages of Pascal VOC")
    if not _has_annotations(root):
        return _of_class_lists(root, settings)
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


def _of_class_lists(root: Path, settings: DataSettings) -> Collection:
    """Returns the images of the lists of each class, with all classes that are in them."""
    labels: dict[str, dict[str, None]] = {}
    splits: dict[str, str] = {}
    for file, (kind, split) in _class_lists(root).items():
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            fields = line.split()
            if len(fields) != 2 or fields[1] not in ("1", "0", "-1"):
                raise DataError(f"{file}, line {number}: wanted is an image and 1, 0 or -1")
            if splits.setdefault(fields[0], split) != split:
                raise DataError(
                    f"{file}: {fields[0][:40]!r} is in a list of {splits[fields[0]]} too"
                )
            labels.setdefault(fields[0], {}).update({kind: None} if fields[1] == "1" else {})
    several = settings.labels_per_image == "several" or any(len(k) != 1 for k in labels.values())
    if several and settings.labels_per_image == "one":
        name = next(name for name, kinds in labels.items() if len(kinds) != 1)
        raise DataError(
            f"{root}: {name[:40]!r} has {len(labels[name])} classes by its lists; leave out "
            "--labels-per-image one"
        )
    found = {Path(f"{name}.xml"): _Objects(tuple(kinds), 0) for name, kinds in labels.items()}
    images = list(_images(root, found, splits, several=several))
    meaning = ListMeaning(
        layout=_LAYOUT, classes="lists of the classes", splits="splits: the lists"
    )
    return collect_listed(root / "JPEGImages", images, meaning)


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
