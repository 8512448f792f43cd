"""Words in the names of files, folders and arrays, and the split that they name."""

import re

from ravine.data.sources.split_words import UNLABELLED, split_word

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "t10k": "test",
}
ORDER = ("train", "validation", "test")
"""The order in which splits are read."""

_WORD = re.compile(r"[tT]10[kK]|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words(name: str) -> list[str]:
    """Returns the words of a name in lower case.

    >>> words("emnist-letters.idx3_ubyte"), words("trainX2017"), words("t10k-images")
    (['emnist', 'letters', 'idx', '3', 'ubyte'], ['train', 'x', '2017'], ['t10k', 'images'])
    """
    return [word.lower() for word in _WORD.findall(name)]


def split_in(name: str) -> str | None:
    """Returns the split that a word of a name says: train, validation, test, or None.

    >>> split_in("emnist-letters-test-images"), split_in("seg_train"), split_in("latest")
    ('test', 'train', None)
    """
    if "t10k" in words(name):
        return "test"
    found = split_word(name)
    return found[0] if found is not None and found[0] != UNLABELLED else None
