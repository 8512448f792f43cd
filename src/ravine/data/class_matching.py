"""The network's index of each class that other data names: by its name, or by its number."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ravine.core.errors import DataError
from ravine.data.class_spelling import plain_class
from ravine.data.split_notes import named


def class_indices(found: Sequence[str], known: Sequence[str], data: str) -> np.ndarray:
    """Returns the index among `known` of each of M classes of `found`, (M,) int64.

    A number is also found in another spelling, 16 for 00016, and a name in other case or another
    Unicode form, where only one class has it.

    Args:
        found: classes of the data.
        known: the K classes of the network.
        data: the data, for errors.

    Raises:
        DataError: the network does not know a class.

    >>> class_indices(["16", "00002"], ["00002", "00016"], "test").tolist()
    [1, 0]
    """
    index_of = {name: index for index, name in enumerate(known)}
    counts = Counter(int(name) for name in known if name.isdecimal())
    by_number = {
        int(name): index
        for index, name in enumerate(known)
        if name.isdecimal() and counts[int(name)] == 1
    }
    plain = Counter(plain_class(name) for name in known)
    by_spelling = {
        plain_class(name): index
        for index, name in enumerate(known)
        if plain[plain_class(name)] == 1
    }
    indices = [
        index_of.get(name, by_number.get(int(name)) if name.isdecimal() else None) for name in found
    ]
    indices = [
        by_spelling.get(plain_class(name)) if index is None else index
        for name, index in zip(found, indices, strict=True)
    ]
    unknown = [name for name, index in zip(found, indices, strict=True) if index is None]
    if unknown:
        raise DataError(
            f"{data} has the class {unknown[0][:40]!r}, which the network does not know; "
            f"it knows: {named(known, 5)}"
        )
    taken = Counter(indices)
    twice = [name for name, index in zip(found, indices, strict=True) if taken[index] > 1]
    if twice:
        raise DataError(
            f"{data}: the classes {twice[0][:40]!r} and {twice[1][:40]!r} are one class of the "
            "network; spell it in one way"
        )
    return np.array([index for index in indices if index is not None], dtype=np.int64)
