"""Labels of images in both forms: one class each, or several labels each.

One class: (N,) int64 in 0..K-1. Several: (N, K) uint8, 1 where an image has the label; a row may be
all 0. The form says which of the two it is; `several` in code and settings is the second.

Shape letters: N images, K classes.
"""

from collections.abc import Collection, Sequence

import numpy as np

NO_LABEL = "no label"


def has_several(labels: np.ndarray) -> bool:
    """Returns whether labels are rows of 0 and 1, (N, K), and not one class each, (N,)."""
    return labels.ndim == 2


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns how many of N images have each of K labels, (K,) int64.

    >>> class_counts(np.array([0, 2, 2]), 3).tolist(), class_counts(np.eye(2, dtype=np.uint8), 2)
    ([1, 0, 2], array([1, 1]))
    """
    if has_several(labels):
        return labels.sum(0, dtype=np.int64)
    return np.bincount(labels, minlength=classes)


def as_rows(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns labels of either form as rows of 0 and 1, (N, K) uint8."""
    if has_several(labels):
        return labels
    return (labels[:, None] == np.arange(classes)).astype(np.uint8)


def label_rows(sets: Sequence[Collection[str]], classes: Sequence[str]) -> np.ndarray:
    """Returns rows of 0 and 1, (N, K) uint8, of N sets of names.

    >>> label_rows([{"b"}, set()], ["a", "b"]).tolist()
    [[0, 1], [0, 0]]
    """
    index_of = {name: index for index, name in enumerate(classes)}
    rows = np.zeros((len(sets), len(classes)), np.uint8)
    for row, names in zip(rows, sets, strict=True):
        for name in names:
            row[index_of[name]] = 1
    return rows


def labels_in_lists(lists: Sequence[Sequence[object]]) -> list[tuple[str, ...]]:
    """Returns the labels in each of N lists: its items, each once.

    Where all lists are as long as each other, of 0 and 1, and one of them repeats a value or they
    are floating-point, as no list of labels is, they are rows: the labels are the numbers, from 0,
    of the 1s.

    >>> labels_in_lists([["b", "a"], []]), labels_in_lists([[0, 1, 1], [0, 0, 0]])
    ([('b', 'a'), ()], [('1', '2'), ()])
    """
    binary = all(item in (0, 1) for one in lists for item in one)
    are_rows = any(len(set(one)) < len(one) or isinstance(one[0], float) for one in lists if one)
    if binary and are_rows and len({len(one) for one in lists}) == 1:
        return [tuple(str(k) for k, item in enumerate(one) if item) for one in lists]
    return [tuple(dict.fromkeys(str(item).strip() for item in one)) for one in lists]


def is_label_in_list(item: object) -> bool:
    """Returns whether an item of a list is a label: text, a whole number, 0.0 or 1.0."""
    return isinstance(item, int | str) or item in (0.0, 1.0)


def described_label(label: np.ndarray, classes: Sequence[str]) -> str:
    """Returns the name of one image's class, (), or the names of its labels, (K,).

    >>> described_label(np.array([1, 0, 1]), ["a", "b", "c"]), described_label(np.array([0]), "a")
    ('a, c', 'no label')
    """
    if label.ndim == 0:
        return classes[int(label)]
    return ", ".join(classes[int(k)] for k in np.flatnonzero(label)) or NO_LABEL


def hashable_label(label: np.ndarray) -> int | bytes:
    """Returns the label of one image, () or (K,), as a value to compare."""
    return int(label) if label.ndim == 0 else label.tobytes()


def rarest_label(labels: np.ndarray) -> np.ndarray:
    """Returns one class for each image, (N,) int64: of several labels the rarest; K for none."""
    if not has_several(labels):
        return labels
    counts = labels.sum(0, dtype=np.int64)
    ranked = np.where(labels > 0, counts, counts.max(initial=0) + 1)
    return np.where(labels.any(1), ranked.argmin(1), labels.shape[1]).astype(np.int64)


def label_facts(labels: np.ndarray, train: int) -> dict[str, float | int]:
    """Returns how many labels N images have: mean, images with none and with more.

    Args:
        labels: (N, K).
        train: the number of training images, which is kept beside.
    """
    counts = labels.sum(1)
    return {
        "mean": float(counts.mean()) if len(counts) else 0.0,
        "without": int((counts == 0).sum()),
        "several": int((counts > 1).sum()),
        "train": train,
    }


def facts_line(facts: dict[str, float | int], remedy: str) -> str:
    """Returns `label_facts` in a sentence, with the option that reads the data otherwise."""
    return (
        f"several labels per image: {facts['mean']:.2f} on average, {facts['several']:,} images "
        f"have more than one, {facts['without']:,} none; each label is a yes or no of its own "
        f"({remedy})"
    )


def merged(
    keys: Sequence[object], labels: np.ndarray, classes: int
) -> tuple[list[int], np.ndarray]:
    """Returns the first index of each key, (M,), and the labels of all of the key, (M, K) uint8.

    Args:
        keys: of N images; those of one key are one image.
        labels: of either form.
        classes: K.
    """
    rows = as_rows(labels, classes)
    first: dict[object, int] = {}
    kept: list[int] = []
    found: list[np.ndarray] = []
    for index, key in enumerate(keys):
        if key in first:
            found[first[key]] = found[first[key]] | rows[index]
        else:
            first[key] = len(kept)
            kept.append(index)
            found.append(rows[index])
    return kept, np.array(found, np.uint8).reshape(len(kept), classes)
