"""Classes whose names are one name in two spellings: Unicode's forms, or the case of letters.

Archives made on another system write an accent as a letter of its own. What looks the same is one
class. Names that differ in case are one class where each split has one of them (`train/Cat` and
`test/cat`); where they stand next to each other they stay two, as handwritten letters are, and that
is said.

Shape letters: N images, K classes.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ravine.data.collection import Collection
from ravine.data.label_sets import has_several
from ravine.data.understanding import Understood, shortened


def plain_class(name: str) -> str:
    """Returns a class's name in one Unicode form and without case.

    >>> plain_class("Cafe\\u0301") == plain_class("café")
    True
    """
    return unicodedata.normalize("NFC", name).casefold()


def with_one_spelling(found: Collection) -> Collection:
    """Returns a collection in which names of one class in two spellings are one class."""
    alike = _groups([unicodedata.normalize("NFC", name) for name in found.classes])
    alike = {**alike, **_by_case(found, alike)}
    if alike:
        found = _merged(found, alike)
    if (two := _differ_in_case(found.classes)) and found.understood is not None:
        note = f" ({two[0]!r} and {two[1]!r} differ in case only)"
        found = replace(found, understood=_noted(found.understood, note))
    return found


def _groups(keys: Sequence[str]) -> dict[int, int]:
    """Returns the first index with the same key, of each index that is not the first."""
    first: dict[str, int] = {}
    return {i: first[key] for i, key in enumerate(keys) if first.setdefault(key, i) != i}


def _by_case(found: Collection, alike: Mapping[int, int]) -> dict[int, int]:
    """Returns the classes that are another in a split of their own, but for the case of letters."""
    named: dict[str, list[int]] = {}
    for index, name in enumerate(found.classes):
        if index not in alike:
            named.setdefault(plain_class(name), []).append(index)
    merged: dict[int, int] = {}
    for group in named.values() if found.given_splits else ():
        if len(group) < 2:
            continue
        splits = {index: _splits_of(found, index) for index in group}
        trained = [index for index in group if "train" in splits[index]]
        if len(trained) == 1:
            (own,) = trained
            merged |= {i: own for i in group if i != own and not splits[i] & splits[own]}
    return merged


def _splits_of(found: Collection, index: int) -> set[str | None]:
    """Returns the splits that hold images of a class."""
    labels = found.labels
    chosen = labels[:, index] > 0 if has_several(labels) else labels == index
    return {found.given_splits[i] for i in np.flatnonzero(chosen).tolist()}


def _merged(found: Collection, alike: Mapping[int, int]) -> Collection:
    kept = [index for index in range(len(found.classes)) if index not in alike]
    place = {index: number for number, index in enumerate(kept)}
    target = np.array([place[alike.get(i, i)] for i in range(len(found.classes))])
    if has_several(found.labels):
        labels = np.zeros((len(found.labels), len(kept)), np.uint8)
        for index, number in enumerate(target.tolist()):
            labels[:, number] |= found.labels[:, index]
    else:
        labels = target[found.labels].astype(np.int64)
    understood = found.understood
    if understood is not None:
        index, other = next(iter(alike.items()))
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        note = (
            f" ({shortened(found.classes[index], 20)!r} is {shortened(found.classes[other], 20)!r} "
            f"in another spelling{more})"
        )
        count = f"{len(found.classes):,}"
        said = understood.classes.replace(count, f"{len(kept):,}", 1)
        understood = _noted(replace(understood, classes=said), note)
    return replace(
        found, classes=tuple(found.classes[i] for i in kept), labels=labels, understood=understood
    )


def _noted(understood: Understood, note: str) -> Understood:
    return replace(understood, classes=understood.classes + note)


def _differ_in_case(classes: Sequence[str]) -> tuple[str, str] | None:
    """Returns two names of more than a letter that differ in case only; None without them."""
    first: dict[str, str] = {}
    for name in classes:
        if len(name) > 1 and first.setdefault(plain_class(name), name) != name:
            return shortened(first[plain_class(name)], 20), shortened(name, 20)
    return None
