"""Images that a list names, with their labels and splits: checked, and made a collection.

Shape letters: N images.
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.core.regular_file import read_regular_text, text_fault
from ravine.data.collection import Collection, FileEntry, class_order, label_indices
from ravine.data.label_sets import label_rows
from ravine.data.sources.listing import EXTENSIONS, image_files
from ravine.data.understanding import Understood

_LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """An image as a list names it.

    Attributes:
        path: of the image, below the folder of the images.
        label: name of its class; "" where `labels` has them.
        split: train, validation or test, or None.
        source: the list.
        line: of the list, or the number of its entry, from 1.
        group: kept on one side of the split; "" for none.
        labels: names of its labels, where images have several each; else None.
    """

    path: str
    label: str
    split: str | None
    source: Path
    line: int
    group: str = ""
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMeaning:
    """What the lists were taken for.

    Attributes:
        layout: name of the layout.
        classes: where the classes come from, such as "second column".
        splits: where the splits come from, or "".
        left_out: what was passed over.
        order: names of classes in order, of which those that occur are taken; () for the usual.
    """

    layout: str
    classes: str
    splits: str = ""
    left_out: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


def collect_listed(
    base: Path, images: Sequence[ListedImage], meaning: ListMeaning, *, count_rest: bool = True
) -> Collection:
    """Returns the images that lists name.

    Args:
        base: folder of the images.
        images: in the order in which they are trained on.
        meaning: what the lists were taken for.
        count_rest: looks for images below `base` that no list names, and counts them.

    Raises:
        DataError: an image is missing, named twice, lies outside of `base`, or has no label.
    """
    if not images:
        raise DataError(f"{base}: the lists name no image with a label")
    entries = _entries(base, images)
    several = any(image.labels is not None for image in images)
    sets = [_label_set(image, several=several) for image in images]
    found = {label for labels in sets for label in labels}
    ordered = [name for name in meaning.order if name in found]
    classes = tuple(ordered) if len(ordered) == len(found) else class_order(found)
    rest = _rest(base, images) if count_rest else []
    said = (*meaning.left_out, *([f"{len(rest):,} images that no list names"] if rest else []))
    given = any(image.split for image in images)
    return Collection(
        names=[image.path for image in images],
        labels=label_rows(sets, classes)
        if several
        else label_indices([image.label for image in images], classes),
        classes=classes,
        given_splits=[image.split for image in images] if given else (),
        groups=[i.group for i in images] if any(i.group for i in images) else (),
        files=entries,
        unlabelled=rest,
        understood=Understood(
            meaning.layout, f"{meaning.classes}, {len(classes):,}", meaning.splits, said
        ),
    )


def _label_set(image: ListedImage, *, several: bool) -> tuple[str, ...]:
    """Returns the labels of an image, the one that it has or all of several."""
    labels = (image.label,) if image.labels is None else image.labels
    for label in labels:
        if not label or len(label) > _LONGEST_LABEL or not label.isprintable():
            raise DataError(
                f"{image.source}, line {image.line}: {image.path[:60]!r} has no label that can be "
                "the name of a class"
            )
    return labels


def _rest(base: Path, images: Sequence[ListedImage]) -> list[str]:
    listed = {image.path for image in images}
    return [name for name, _ in image_files(base) if name not in listed]


def _entries(base: Path, images: Sequence[ListedImage]) -> list[FileEntry]:
    entries, missing = [], []
    seen: dict[str, ListedImage] = {}
    for image in images:
        _refuse_outside(image)
        if image.path in seen:
            first = seen[image.path]
            raise DataError(
                f"{image.source}, line {image.line}: {image.path[:60]!r} is also in "
                f"{first.source.name}, line {first.line}; remove one of them"
            )
        seen[image.path] = image
        entry = file_entry(base / image.path)
        if entry is None:
            missing.append(image)
        else:
            entries.append(entry)
    if missing:
        first = missing[0]
        raise DataError(
            f"{first.source}: {len(missing):,} of {len(images):,} images are not in {base}, the "
            f"first {first.path[:60]!r} in line {first.line}"
        )
    return entries


def _refuse_outside(image: ListedImage) -> None:
    path = PurePosixPath(image.path)
    if path.is_absolute() or ".." in path.parts or "\0" in image.path or ":" in image.path[:3]:
        raise DataError(
            f"{image.source}, line {image.line}: {image.path[:60]!r} is no path below the folder "
            "of the images; write it relative to that"
        )


def file_entry(path: Path) -> FileEntry | None:
    """Returns the entry of a regular file; None if there is none."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None
    return FileEntry(path=str(path), size=facts.st_size, modified=facts.st_mtime_ns)


def base_of(candidates: Iterable[Path], name: str) -> tuple[Path, str] | None:
    """Returns the first folder that holds the image `name`, and the ending that it lacks."""
    for folder in candidates:
        for ending in _endings(name):
            if file_entry(folder / f"{name}{ending}") is not None:
                return folder, ending
    return None


def _endings(name: str) -> list[str]:
    if PurePosixPath(name).suffix.lower() in EXTENSIONS:
        return [""]
    return ["", ".jpg", ".jpeg", ".png", ".JPEG", ".JPG", ".PNG", ".bmp", ".ppm", ".webp", ".tif"]


def read_text(path: Path, most: int = 1 << 30) -> str:
    """Returns the text of a list.

    Raises:
        DataError: it is missing, no UTF-8, or larger than `most` bytes.
    """
    try:
        if path.stat().st_size > most:
            raise DataError(f"{path} is too large for a list: {path.stat().st_size:,} bytes")
        return read_regular_text(path)
    except (OSError, UnicodeDecodeError, MemoryError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {text_fault(error)}") from None


def unique_names(names: Mapping[str, str]) -> dict[str, str]:
    """Returns the names of classes by key, the key added where two classes share a name.

    >>> unique_names({"n1": "crane", "n2": "crane", "n3": "ant"})
    {'n1': 'crane (n1)', 'n2': 'crane (n2)', 'n3': 'ant'}
    """
    count: dict[str, int] = {}
    for name in names.values():
        count[name] = count.get(name, 0) + 1
    return {key: f"{name} ({key})" if count[name] > 1 else name for key, name in names.items()}
