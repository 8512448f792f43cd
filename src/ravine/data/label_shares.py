"""Divides images with several labels so that each part keeps the share of each label.

Iterative stratification (Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label
data", ECML PKDD 2011): the label with the fewest images left is divided first, each of its images
going to the part that wants this label most. What goes is a unit: the images of one group, or of
equal pixels. Images without a label are divided last.

Shape letters: M images, K labels, P parts, U units.
"""

from collections.abc import Sequence

import numpy as np

from ravine.data.folds import in_seeded_order


def divide(
    labels: np.ndarray, identity: Sequence[bytes], *, shares: Sequence[float], seed: int
) -> np.ndarray:
    """Returns the part of each image, (M,) int64 in 0..P-1.

    Args:
        labels: (M, K) uint8 of 0 and 1.
        identity: of the M images; images of one identity are in one part.
        shares: of the P parts, with a sum of 1.
        seed: decides between parts and units that are equal.

    >>> rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.uint8)
    >>> divide(rows, [b"a", b"b", b"c", b"d"], shares=[0.5, 0.5], seed=0).tolist()
    [1, 0, 0, 1]
    """
    members: dict[bytes, list[int]] = {}
    for index, who in enumerate(identity):
        members.setdefault(who, []).append(index)
    order = in_seeded_order(members, seed=seed)
    counts = np.array([labels[members[who]].sum(0, dtype=np.int64) for who in order])
    sizes = np.array([len(members[who]) for who in order])
    chosen = _units_divided(counts, sizes, np.asarray(shares, np.float64))
    part = np.zeros(len(labels), np.int64)
    for who, of_unit in zip(order, chosen, strict=True):
        part[members[who]] = of_unit
    return part


def _units_divided(counts: np.ndarray, sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Returns the part of each unit, (U,) int64.

    Args:
        counts: (U, K) images of each unit with each label.
        sizes: (U,) images of each unit.
        shares: (P,).
    """
    wanted = shares[:, None] * counts.sum(0)  # (P, K)
    room = shares * sizes.sum()
    part = np.full(len(sizes), -1)
    left = counts.sum(0)

    def put(unit: int, label: int | None) -> None:
        desire = room if label is None else wanted[:, label]
        best = np.flatnonzero(desire >= desire.max() - 1e-9)
        part[unit] = best[room[best].argmax()]
        wanted[part[unit]] -= counts[unit]
        room[part[unit]] -= sizes[unit]
        left[:] -= counts[unit]

    while (left > 0).any():
        label = int(np.where(left > 0, left, left.max() + 1).argmin())
        units = np.flatnonzero((part < 0) & (counts[:, label] > 0))
        for unit in units[np.argsort(-counts[units, label], kind="stable")].tolist():
            put(unit, label)
    for unit in np.flatnonzero(part < 0).tolist():
        put(unit, None)
    return part


def only_units(labels: np.ndarray, identity: Sequence[bytes]) -> np.ndarray:
    """Returns a mask (M,) of images whose unit alone has a label: held out, it were not trained.

    Args:
        labels: (M, K) uint8 of 0 and 1.
        identity: of the M images.
    """
    units = {who: index for index, who in enumerate(dict.fromkeys(identity))}
    of = np.array([units[who] for who in identity], np.int64)
    alone = np.zeros(len(units), bool)
    for label in range(labels.shape[1]):
        found = np.unique(of[labels[:, label] > 0])
        if len(found) == 1:
            alone[found] = True
    return alone[of]


def hold_out(
    labels: np.ndarray, identity: Sequence[bytes], *, share: float, seed: int
) -> np.ndarray:
    """Returns a mask (M,) of held-out images, close to `share` of each label.

    Every label keeps an image to train on.

    Args:
        labels: (M, K) uint8 of 0 and 1.
        identity: of the M images; images of one identity stay together.
        share: in (0, 1).
        seed: of the choice.
    """
    held = divide(labels, identity, shares=[1 - share, share], seed=seed) == 1
    held &= ~only_units(labels, identity)
    for label in np.flatnonzero(labels.sum(0) > 0).tolist():
        has = labels[:, label] > 0
        if held[has].all():  # its images went together for rarer labels
            first = identity[int(np.flatnonzero(has)[0])]
            held &= np.array([who != first for who in identity])
    return held


def folds_of(labels: np.ndarray, identity: Sequence[bytes], *, folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each image, (M,) int64: 1..F, or 0 where it is trained on in all.

    Args:
        labels: (M, K) uint8 of 0 and 1.
        identity: of the M images; images of one identity are in one fold.
        folds: F, at least 2.
        seed: decides between folds that are equal.
    """
    found = divide(labels, identity, shares=[1 / folds] * folds, seed=seed) + 1
    found[only_units(labels, identity)] = 0
    for label in np.flatnonzero(labels.sum(0) > 0).tolist():
        has = np.flatnonzero(labels[:, label] > 0)
        if len(set(found[has].tolist())) == 1 and found[has[0]]:
            first = identity[int(has[0])]
            found[[index for index, who in enumerate(identity) if who == first]] = 0
    return found
