"""CUB-200-2011's lists, joined by the number of the image.

    images.txt              1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    image_class_labels.txt  1 1
    classes.txt             1 001.Black_footed_Albatross
    train_test_split.txt    1 0                          1 for training
    images/

Wah et al., "The Caltech-UCSD Birds-200-2011 dataset", 2011. NABirds, of the same form, is read too;
its numbers are text (Van Horn et al., 2015).
"""

from collections.abc import Mapping
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.listed_images import ListedImage, ListMeaning, collect_listed, read_text

_IMAGES, _LABELS, _SPLIT, _CLASSES = (
    "images.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
    "classes.txt",
)


def is_cub(path: Path) -> bool:
    """Returns whether a folder, or a folder in it, has such lists."""
    return _home(path) is not None


def _home(path: Path) -> Path | None:
    if not path.is_dir():
        return None
    for folder in (path, path / "CUB_200_2011", path / "nabirds"):
        if (folder / _IMAGES).is_file() and (folder / _LABELS).is_file():
            return folder
    return None


def read_cub(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images that the lists name.

    Raises:
        DataError: a list is torn, or does not fit the others.
    """
    home = _home(path)
    if home is None:
        raise DataError(f"{path} holds no {_IMAGES} with {_LABELS}")
    images = _pairs(home / _IMAGES)
    labels = _pairs(home / _LABELS)
    names = _pairs(home / _CLASSES) if (home / _CLASSES).is_file() else {}
    given = _pairs(home / _SPLIT) if (home / _SPLIT).is_file() else {}
    listed = [
        ListedImage(
            path=name,
            label=_of(names, _of(labels, key, home / _LABELS), home / _CLASSES),
            split=_split(_of(given, key, home / _SPLIT), home) if given else None,
            source=home / _IMAGES,
            line=line,
        )
        for line, (key, name) in enumerate(images.items(), start=1)
    ]
    order = tuple(dict.fromkeys(names.values()))
    meaning = ListMeaning(
        layout="cub",
        classes=_CLASSES if names else _LABELS,
        splits=f"splits: {_SPLIT}" if given else "",
        order=order,
    )
    return collect_listed(home / "images", listed, meaning)


def _of(found: Mapping[str, str], key: str, path: Path) -> str:
    if not found and path.name == _CLASSES:
        return key
    if key not in found:
        raise DataError(f"{path} has no line for {key[:40]!r}; load the set again")
    return found[key]


def _split(value: str, home: Path) -> str:
    if value not in ("0", "1"):
        raise DataError(f"{home / _SPLIT} holds {value[:20]!r}; wanted is 1 for training, else 0")
    return "train" if value == "1" else "test"


def _pairs(path: Path) -> dict[str, str]:
    """Returns the second column of a list by its first."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        key, _, value = line.strip().partition(" ")
        if not key:
            continue
        if not value or key in found:
            raise DataError(f"{path}, line {number}: wanted is a new number and what it has")
        found[key] = value.strip()
    return found
