"""A folder of .npz files: images and labels in files of their own, or a file for each split.

    k49-train-imgs.npz  k49-train-labels.npz  k49-test-imgs.npz  …  k49_classmap.csv   Kuzushiji-49
    train.npz  test.npz                                                    each images and labels

Kuzushiji's files hold one array each, called arr_0 (Clanuwat et al., "Deep learning for classical
Japanese literature", 2018).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.label_sets import has_several
from ravine.data.settings import DataSettings
from ravine.data.sources.array_pairs import (
    IMAGE_WORDS,
    LABEL_WORDS,
    ArrayPair,
    PairedArrays,
    array_pairs,
    read_array_pairs,
)
from ravine.data.sources.flat_folder import flat_names
from ravine.data.sources.mnist_classes import class_names
from ravine.data.sources.name_words import ORDER, SPLIT_WORDS, split_in, words
from ravine.data.sources.npz import read_npz
from ravine.data.sources.npz_file import NpyArray, array_names, npy_array
from ravine.data.understanding import Understood


def is_npz_folder(path: Path) -> bool:
    """Returns whether a folder holds .npz files and no folders."""
    return any(name.lower().endswith(".npz") for name in flat_names(path))


def read_npz_folder(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of the one set in a folder of .npz files.

    Raises:
        DataError: there are several sets, or files that do not fit each other.
    """
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".npz" and p.is_file())
    if len(files) == 1:
        return read_npz(files[0], settings, progress)
    names = sorted({_set_name(file) for file in files})
    if len(names) > 1:
        shown = ", ".join(file.name for file in files[:4])
        raise DataError(
            f"{path} holds {len(files)} .npz files of several sets: {shown}; name the one to train "
            "on, or move the others away"
        )
    pairs = _pairs(path, files)
    found = read_array_pairs(
        "npz-folder",
        PairedArrays(tuple(pairs)),
        labels_per_image=settings.labels_per_image,
        channels=settings.channel_count,
    )
    return _with_names(found, path, names[0].split(), f"the array {pairs[0].labels.name}")


def _with_names(found: Collection, path: Path, name: Sequence[str], column: str) -> Collection:
    """Returns the collection with the class names that a file in the folder gives its numbers."""
    splits = "splits: the names of the files"
    classes, labels, source = found.classes, found.labels, column
    if not has_several(labels) and all(label.isdecimal() for label in classes):
        numbers = np.array([int(label) for label in classes], np.int64)
        named = class_names(path, name, [numbers[labels]])
        classes, labels, source = named.classes, named.labels, named.source
    understood = Understood("npz-folder", f"{source}, {len(classes)}", splits)
    return replace(found, classes=classes, labels=labels, understood=understood)


def _set_name(file: Path) -> str:
    """Returns the words of a file's name that name neither a split nor images or labels."""
    kinds = IMAGE_WORDS | LABEL_WORDS | SPLIT_WORDS.keys()
    return " ".join(word for word in words(file.stem) if word not in kinds)


def _pairs(path: Path, files: Sequence[Path]) -> list[ArrayPair]:
    alone: dict[tuple[str | None, bool], NpyArray] = {}
    pairs: list[ArrayPair] = []
    for file in files:
        arrays, split = array_names(file), split_in(file.stem)
        if len(arrays) == 1:
            key = (split, _holds_labels(file))
            if key in alone:
                raise DataError(f"{file} and {alone[key].path.name} are both for one split")
            alone[key] = npy_array(file, arrays[0])
        else:
            pairs += [_of_split(pair, split) for pair in _paired(file, arrays)]
    for (split, labels), header in alone.items():
        other = alone.get((split, not labels))
        if other is None:
            raise DataError(
                f"{header.path} has no file of {'images' if labels else 'labels'} of the same name "
                "in the folder"
            )
        if labels:
            pairs.append(ArrayPair(split, other, header))
    taken = [pair.split for pair in pairs]
    if None in taken or len(set(taken)) < len(taken):
        raise DataError(
            f"{path}: the names of the .npz files do not say which is for training; "
            "wanted are train, val, test in them, each once"
        )
    return sorted(pairs, key=lambda pair: ORDER.index(pair.split or "train"))


def _paired(file: Path, arrays: Sequence[str]) -> Sequence[ArrayPair]:
    return array_pairs(file, arrays, lambda name: npy_array(file, name)).pairs


def _of_split(pair: ArrayPair, split: str | None) -> ArrayPair:
    return pair if pair.split else replace(pair, split=split)


def _holds_labels(file: Path) -> bool:
    said = set(words(file.stem))
    if said & LABEL_WORDS:
        return True
    if said & IMAGE_WORDS:
        return False
    raise DataError(
        f"{file} holds one array, and its name does not say whether of images or of labels"
    )
