"""Near duplicates: copies whose pixels differ a little, as a picture that was saved again.

An image is compared by 8×8 means of its brightness, with their mean taken off and their length
made 1: what saving again, or in another size, changes least. Pairs that are close there are
compared pixel by pixel. Only pairs whose projections on the first principal component are close
can be close at all, so that images sorted by it are compared with their neighbours alone.

Copies that were mirrored, shifted, or made brighter are found by `moved_copies.py`.

Shape letters: N images, S height and width, C channels, F = 64 means, M images of a block.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ravine.data.block_means import block_means
from ravine.data.dataset import Dataset
from ravine.data.duplicates import digest_keys
from ravine.data.label_sets import hashable_label
from ravine.data.moved_copies import moved_copies

_GRID = 8  # means a side
_CLOSE = 0.06  # distance of two images' means, of unit length
_ALIKE = 0.12  # root mean square of the pixels' difference, over their standard deviation
_FLAT = 4.0  # standard deviation of the means below which an image shows too little
_MOST = 20_000  # images that are compared
_PAIRS = 1_000  # that are looked at, at most
_BLOCK = 512  # images whose means are compared at a time
_AT_ONCE = 1_000  # images whose means are taken at a time
_EXAMPLES = 20


def with_near_duplicates(dataset: Dataset) -> Dataset:
    """Returns the data set with `near_duplicates` in its audit.

    The examples under different labels come first, then those across the split. Images that are
    decoded on access are not compared, since that would decode them once more.
    """
    if not isinstance(dataset.images, np.ndarray):
        return dataset
    _, unique = np.unique(digest_keys(dataset.digests), return_index=True)
    index = np.sort(unique[dataset.digests[unique].any(1)])
    pairs = near_duplicates(dataset.images, index)
    pairs = sorted({*pairs, *moved_copies(dataset.images, index[:_MOST])})
    held_out = np.zeros(len(dataset.labels), bool)
    for split in ("validation", "test"):
        held_out[dataset.splits.get(split, np.zeros(0, np.int64))] = True
    trained = np.zeros(len(held_out), bool)
    trained[dataset.splits["train"]] = True
    rows = [
        (_contradict(dataset, a, b), _is_across(held_out, trained, a, b), a, b) for a, b in pairs
    ]
    rows.sort(key=lambda row: (not row[0], not row[1]))
    found: dict[str, Any] = {
        "compared": min(len(index), _MOST),
        "pairs": len(rows),
        "different_labels": sum(row[0] for row in rows),
        "across_the_split": sum(row[1] for row in rows),
        "examples": [[dataset.names[a], dataset.names[b]] for _, _, a, b in rows[:_EXAMPLES]],
    }
    return replace(dataset, audit=dataset.audit | {"near_duplicates": found})


def _contradict(dataset: Dataset, a: int, b: int) -> bool:
    return hashable_label(dataset.labels[a]) != hashable_label(dataset.labels[b])


def _is_across(held_out: np.ndarray, trained: np.ndarray, a: int, b: int) -> bool:
    """Returns whether one image is trained on and the other one held out."""
    return bool((trained[a] and held_out[b]) or (trained[b] and held_out[a]))


def near_duplicates(images: np.ndarray, index: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs of nearly equal images, each as (smaller, larger) index, sorted.

    Args:
        images: (N, S, S, C) uint8.
        index: (M,) int64, of the images to compare; of images with equal pixels only one. Of more
            than 20,000 the first are compared.
    """
    index = index[:_MOST]
    if not len(index):
        return []
    parts = [index[k : k + _AT_ONCE] for k in range(0, len(index), _AT_ONCE)]
    means = np.concatenate([block_means(images[p], _GRID).reshape(len(p), -1) for p in parts])
    means -= means.mean(1, keepdims=True)
    kept = means.std(1) >= _FLAT
    index, means = index[kept], means[kept]
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    found = []
    for looked, (a, b) in enumerate(_close(means)):
        if looked == _PAIRS:
            break
        first, second = sorted((int(index[a]), int(index[b])))
        if _are_alike(images[first], images[second]):
            found.append((first, second))
    return sorted(found)


def _close(means: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields pairs of rows of `means` (N, F), of unit length, at most `_CLOSE` apart."""
    if len(means) < 2:
        return
    covariance = np.cov(means, rowvar=False)
    projection = means @ np.linalg.eigh(covariance)[1][:, -1]
    order = np.argsort(projection)
    means, projection = means[order], projection[order]
    least = 1 - _CLOSE**2 / 2  # the product of two vectors of unit length so far apart
    for first in range(0, len(means), _BLOCK):
        last = min(first + _BLOCK, len(means))
        end = int(np.searchsorted(projection, projection[last - 1] + _CLOSE, "right"))
        products = means[first:last] @ means[first:end].T
        for a, b in np.argwhere(products >= least):
            if b > a:
                yield int(order[first + a]), int(order[first + b])


def _are_alike(first: np.ndarray, second: np.ndarray) -> bool:
    a, b = first.astype(np.float32), second.astype(np.float32)
    difference = float(np.sqrt(np.square(a - b).mean()))
    return difference <= _ALIKE * float(min(a.std(), b.std()))
