"""Labels in the form that is asked for: one class an image, or several labels.

With several, a file that is in more than one class folder is one image with all these labels. Files
are the same by their bytes; a name that occurs in two folders says nothing.

Shape letters: N images, K classes.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection, FileEntry
from ravine.data.label_sets import as_rows, has_several, merged
from ravine.data.settings import DataSettings
from ravine.data.sources.several_labels import combined_name
from ravine.data.understanding import Understood, shortened


def with_labels_as_asked(found: Collection, settings: DataSettings) -> Collection:
    """Returns a collection whose labels have the form of `settings.labels_per_image`.

    Raises:
        DataError: one label an image is asked for, and images have several.
    """
    asked = settings.labels_per_image
    if asked == "one" and has_several(found.labels):
        raise DataError(
            f"{settings.data} gives images several labels or none; leave out --labels-per-image one"
        )
    if asked == "several" and not has_several(found.labels):
        if found.files:
            found = _with_copies_merged(found)
        else:
            found = replace(found, labels=as_rows(found.labels, len(found.classes)))
    if not has_several(found.labels) and asked == "auto":
        return _with_combination_said(found)
    if has_several(found.labels) and found.understood is not None:
        said = f"{found.understood.classes}, several labels per image"
        found = replace(found, understood=replace(found.understood, classes=said))
    return found


def _with_combination_said(found: Collection) -> Collection:
    """Returns a collection that says of a class whose name others make up that it is one class."""
    name = combined_name(found.classes)
    if name is None or found.understood is None:
        return found
    note = f" ({shortened(name, 30)!r}, named as others together, is one class)"
    classes = found.understood.classes + note
    return replace(found, understood=replace(found.understood, classes=classes))


def _with_copies_merged(found: Collection) -> Collection:
    """Returns the images of files, those of equal bytes and split once, with the labels of all."""
    splits = found.given_splits or [None] * len(found.files)
    contents = _contents(found.files)
    keys = list(zip(contents, splits, strict=True))
    kept, labels = merged(keys, found.labels, len(found.classes))
    count = len(found.files) - len(kept)

    def chosen(values: Sequence[str]) -> list[str]:
        return [values[index] for index in kept]

    return replace(
        found,
        names=chosen(found.names),
        labels=labels,
        given_splits=[splits[index] for index in kept] if found.given_splits else (),
        groups=chosen(found.groups) if found.groups else (),
        files=[found.files[index] for index in kept],
        understood=_said(found.understood, count),
    )


def _said(understood: Understood | None, count: int) -> Understood | None:
    if understood is None or not count:
        return understood
    copies = f"{count:,} copies in other classes, each a label of its image"
    return replace(understood, left_out=(*understood.left_out, copies))


def _contents(files: Sequence[FileEntry]) -> list[Hashable]:
    """Returns what N files are compared by: the size, and the bytes where sizes are equal."""
    sizes = [entry.size if entry.offset is None else entry.length for entry in files]
    counts = Counter(sizes)
    return [
        (size, _digest(entry)) if counts[size] > 1 else size
        for size, entry in zip(sizes, files, strict=True)
    ]


def _digest(entry: FileEntry) -> bytes:
    try:
        with open(entry.path, "rb") as file:
            if entry.offset is None:
                return hashlib.file_digest(file, "blake2b").digest()
            file.seek(entry.offset)
            return hashlib.blake2b(file.read(entry.length)).digest()
    except OSError as error:
        raise DataError(f"cannot read {entry.path}: {error.strerror or error}") from None


def refuse_one_label(labels: np.ndarray, classes: Sequence[str], data: str) -> None:
    """Raises `DataError` if rows of labels (N, K) are of fewer than two labels, K < 2."""
    if has_several(labels) and labels.shape[1] < 2:
        only = classes[0] if classes else "none"
        raise DataError(f"{data} holds one label only, {only!r}; a classifier needs two or more")
    if has_several(labels) and bool((labels.min(0) == labels.max(0)).all()):
        raise DataError(f"{data}: every image has the same labels; there is nothing to learn")
