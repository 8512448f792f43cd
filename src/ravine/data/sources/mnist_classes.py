"""Class names of MNIST's family: from a file beside the images, or known by their labels.

    classes.txt            a name a line, from label 0
    …-mapping.txt          EMNIST: label and the characters' numbers in Unicode: "1 65 97"
    …classmap.csv          Kuzushiji: index, codepoint, char

Shape letters: N images.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.regular_file import read_regular_text, text_fault
from ravine.data.sources.name_words import words

_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Fashion-MNIST is recognised by its labels, since its files are named like those of MNIST.
_FASHION_LABELS = frozenset(
    {
        "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    }
)
_LARGEST = 1 << 20  # bytes of a file of class names


@dataclass(frozen=True, slots=True)
class ClassNaming:
    """Class names, and labels as indices of them.

    Attributes:
        classes: K names.
        labels: (N,) int64 in 0..K-1.
        source: where the names come from, for messages.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    source: str


def class_names(home: Path, set_name: Sequence[str], parts: Sequence[np.ndarray]) -> ClassNaming:
    """Returns the names of the classes of a set.

    Args:
        home: folder of the images.
        set_name: words of the set's name, as in `["emnist", "letters"]`.
        parts: labels of each split, (N,) integer from 0.

    Raises:
        DataError: a file of names is torn, or has no name for a label.
    """
    labels = np.concatenate(parts).astype(np.int64)
    listed = home / "classes.txt"
    if listed.is_file():
        lines = [line.strip() for line in _text(listed).splitlines()]
        names = tuple(line for line in lines if line)
        if len(names) <= labels.max():
            raise DataError(f"{listed} names {len(names)} classes; the labels reach {labels.max()}")
        return ClassNaming(names, labels, "names in classes.txt")
    mapping = _mapping_file(home, set_name)
    if mapping is not None:
        return _mapped(mapping, labels)
    digests = {hashlib.sha256(part.astype(np.uint8).tobytes()).hexdigest() for part in parts}
    if digests & _FASHION_LABELS:
        return ClassNaming(_FASHION, labels, "Fashion-MNIST's names")
    # Only the numbers that occur: the letters of EMNIST begin at 1.
    found, indices = np.unique(labels, return_inverse=True)
    names = tuple(str(number) for number in found)
    return ClassNaming(names, indices.astype(np.int64), "the labels' numbers")


def _mapping_file(home: Path, set_name: Sequence[str]) -> Path | None:
    """Returns the file that maps labels to characters; of several, that with the set's name."""
    found = [
        path
        for path in sorted(home.iterdir())
        if path.name.lower().endswith(("mapping.txt", "classmap.csv")) and path.is_file()
    ]
    named = [path for path in found if set(set_name) <= set(words(path.stem))]
    fitting = named if set_name else found
    if len(fitting) > 1:
        raise DataError(
            f"{fitting[0]} and {fitting[1].name} both map labels to classes; move one of them away"
        )
    return fitting[0] if fitting else None


def _mapped(path: Path, labels: np.ndarray) -> ClassNaming:
    rows = _classmap(path) if path.suffix.lower() == ".csv" else _characters(path)
    found, indices = np.unique(labels, return_inverse=True)
    missing = [int(label) for label in found if int(label) not in rows]
    if missing:
        raise DataError(f"{path} has no line for the label {missing[0]}")
    names = tuple(rows[int(label)] for label in found)
    if len(set(names)) < len(names):
        raise DataError(f"{path} gives two labels the same character")
    return ClassNaming(names, indices.astype(np.int64), f"characters in {path.name}")


def _characters(path: Path) -> Mapping[int, str]:
    """Returns the first character of each label of an EMNIST mapping: the capital of a letter."""
    found = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if fields := line.split():
            try:
                found[int(fields[0])] = chr(int(fields[1]))
            except (ValueError, IndexError, OverflowError):
                raise DataError(
                    f"{path}, line {number}: wanted are a label and a character's number, as 1 65"
                ) from None
    return found


def _classmap(path: Path) -> Mapping[int, str]:
    try:
        rows = list(csv.DictReader(_text(path).splitlines()))
        return {int(row["index"]): str(row["char"]) for row in rows}
    except (csv.Error, KeyError, ValueError, TypeError):
        raise DataError(f"{path}: wanted are the columns index, codepoint, char") from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path} is too large for a list of class names")
        return read_regular_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {text_fault(error)}") from None
