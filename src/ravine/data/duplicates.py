"""Duplicates and leaks: images with equal pixels, in the whole data set and across its splits.

Shape letters: N images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """Images that are both trained on and held out, as pairs (held-out index, training index).

    Attributes:
        kept_out: validation images, which were removed from validation.
        in_test: test images, which remain in both splits.
    """

    kept_out: Sequence[tuple[int, int]]
    in_test: Sequence[tuple[int, int]]


def duplicate_groups(digests: np.ndarray, readable: np.ndarray) -> list[list[int]]:
    """Returns groups of images with equal pixels, as sorted indices.

    Args:
        digests: (N, 16) uint8 of the pixels.
        readable: (N,) bool; unreadable images have no duplicates.
    """
    indices = np.flatnonzero(readable)
    keys = digest_keys(digests[indices])
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = {}
    for index, group in zip(indices, inverse, strict=True):
        if counts[group] > 1:
            groups.setdefault(int(group), []).append(int(index))
    return sorted(groups.values())


def digest_keys(digests: np.ndarray) -> np.ndarray:
    """Returns digests (N, 16) uint8 as (N,) comparable keys."""
    return digests.view(np.dtype((np.void, digests.shape[1]))).ravel()


def without_leakage(
    splits: Mapping[str, np.ndarray], digests: np.ndarray
) -> tuple[dict[str, np.ndarray], Leakage]:
    """Returns splits whose validation holds no image that is also trained on.

    Args:
        splits: indices by split.
        digests: (N, 16) uint8 of the pixels.

    Returns:
        The splits, and the images that were found on both sides.
    """
    keys = digest_keys(digests)
    first = {keys[i].tobytes(): int(i) for i in splits["train"][::-1]}

    def pairs(index: np.ndarray) -> list[tuple[int, int]]:
        found = ((int(i), first.get(keys[i].tobytes())) for i in index)
        return [(i, duplicate) for i, duplicate in found if duplicate is not None]

    changed = dict(splits)
    kept_out = pairs(splits.get("validation", np.array([], np.int64)))
    if kept_out:
        out = np.array([i for i, _ in kept_out])
        changed["validation"] = np.setdiff1d(splits["validation"], out)
        if not len(changed["validation"]):
            del changed["validation"]
    in_test = pairs(splits.get("test", np.array([], np.int64)))
    return changed, Leakage(kept_out=kept_out, in_test=in_test)
