"""Divides images into folds for cross-validation: stratified, groups and duplicates kept together.

Each image is held out in exactly one fold, except where a class would then have none to train on:
such images are trained on in all folds. The largest groups are assigned first, each to the fold
where it raises the sum of squares of the folds' shares of each class least, as scikit-learn's
StratifiedGroupKFold does with the standard deviation.

Shape letters: M images, K classes, F folds.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from ravine.core.errors import DataError

ALWAYS_TRAINED = 0


def assign_folds(
    labels: np.ndarray, identity: Sequence[bytes], *, folds: int, seed: int
) -> np.ndarray:
    """Returns the fold of each image, (M,) int64: 1..F, or 0 where it is trained on in all.

    Args:
        labels: (M,) int64 in 0..K-1.
        identity: of the M images; images of one identity are in one fold.
        folds: F, at least 2.
        seed: decides between folds that are equal.

    Raises:
        DataError: a fold would hold no image.

    >>> assign_folds(np.array([0, 0, 1, 1]), [b"a", b"b", b"c", b"d"], folds=2, seed=0).tolist()
    [1, 2, 1, 2]
    """
    members: dict[bytes, list[int]] = {}
    for index, who in enumerate(identity):
        members.setdefault(who, []).append(index)
    order = in_seeded_order(members, seed=seed)
    order.sort(key=lambda who: -len(members[who]))  # stable: the seed orders those of one size
    totals = np.bincount(labels).tolist()
    counts = [[0] * folds for _ in totals]
    sizes = [0] * folds
    found = np.full(len(labels), ALWAYS_TRAINED)
    for who in order:
        adds = _count(labels[members[who]].tolist())
        fold = _best(adds, counts, sizes, totals)
        if fold is not None:
            found[members[who]] = fold + 1
            sizes[fold] += len(members[who])
            for label, count in adds.items():
                counts[label][fold] += count
    if not all(sizes):
        raise _too_few(len(members), folds, sum(size > 0 for size in sizes))
    return found


def _too_few(groups: int, folds: int, filled: int) -> DataError:
    remedy = f"--folds {filled}" if filled >= 2 else "a --validation share, without --folds"
    return DataError(
        f"--folds {folds}: the images to train on are in {groups:,} groups, which fill {filled} "
        f"of {folds} folds; take {remedy}"
    )


def _count(labels: Sequence[int]) -> dict[int, int]:
    adds: dict[int, int] = {}
    for label in labels:
        adds[label] = adds.get(label, 0) + 1
    return adds


def _best(
    adds: dict[int, int], counts: list[list[int]], sizes: list[int], totals: list[int]
) -> int | None:
    """Returns the fold that takes `adds` best; None where each would leave a class untrained."""

    def cost(fold: int) -> tuple[float, int]:
        # (a + b)² - a² of each class's share: equal folds have the least sum of squares.
        grows = sum(
            (2 * counts[label][fold] + count) * count / totals[label] ** 2
            for label, count in adds.items()
        )
        return grows, sizes[fold]

    open_to = [
        fold
        for fold in range(len(sizes))
        if all(counts[label][fold] + count < totals[label] for label, count in adds.items())
    ]
    return min(open_to, key=cost) if open_to else None


def in_seeded_order(identities: Iterable[bytes], *, seed: int) -> list[bytes]:
    """Returns identities in an order that the seed decides, and that a new one leaves as it is."""
    return sorted(identities, key=lambda who: hashlib.sha256(b"%d/" % seed + who).digest())
