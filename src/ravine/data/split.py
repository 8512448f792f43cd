"""Splits images: stratified, stable under a seed, groups and duplicates kept together.

An image's split follows from a hash of the seed and of its identity (its group, or its pixels), so
that adding a file moves few others. Where groups are too large for that (two to five patients, say)
whole groups are held out; `split_notes.py` reports what came of it. `folds.py` splits for
cross-validation.

Shape letters: N images, M training images, K classes.
"""

from collections.abc import Sequence

import numpy as np

from ravine.core.errors import DataError
from ravine.data.folds import assign_folds, in_seeded_order
from ravine.data.label_sets import class_counts, has_several
from ravine.data.label_shares import folds_of, hold_out

_MOST_VALIDATION = 5000


def split_images(
    labels: np.ndarray,
    usable: np.ndarray,
    identity: Sequence[bytes],
    given: Sequence[str | None],
    *,
    share: float,
    seed: int,
    classes: Sequence[str],
    fold: tuple[int, int] | None = None,
) -> dict[str, np.ndarray]:
    """Returns sorted indices by split.

    A class with one image, or with all its images in one group, is trained on and not held out.

    Args:
        labels: (N,) int64 in 0..K-1, or (N, K) uint8 where images have several.
        usable: (N,) bool; unreadable images are in no split.
        identity: of the N images; images of one identity stay in one split.
        given: the split that the source gives each image; () if it gives none.
        share: in [0, 1), held out for validation where the source gives none.
        seed: of the run.
        classes: K names, for errors.
        fold: (k, number of folds), k from 1: validation is fold k of all images that are not for
            the test; else None.

    Returns:
        int64 indices of train, and of validation and test where they exist.

    Raises:
        DataError: a class has no image to train on, or there are fewer groups than folds.
    """
    splits = _given_splits(np.flatnonzero(usable), given)
    if fold is not None:
        splits = _one_fold(splits, labels, identity, fold, seed=seed)
    holds_out = fold is None and "validation" not in splits and share > 0
    train = splits.get("train", np.array([], np.int64))
    _refuse_missing(labels, train, np.flatnonzero(usable), classes)
    if holds_out:
        share = min(share, _MOST_VALIDATION / len(train))
        held_out = hold_out if has_several(labels) else _held_out
        held = held_out(labels[train], [identity[i] for i in train], share=share, seed=seed)
        if held.any():
            splits |= {"train": train[~held], "validation": train[held]}
    return {name: np.sort(index).astype(np.int64) for name, index in splits.items()}


def _given_splits(usable: np.ndarray, given: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Returns the usable indices by the source's split; all are for training if it gives none."""
    if not given:
        return {"train": usable}
    names = np.array([name or "" for name in given])
    splits = {name: usable[names[usable] == name] for name in ("train", "validation", "test")}
    return {name: index for name, index in splits.items() if len(index)}


def _one_fold(
    splits: dict[str, np.ndarray],
    labels: np.ndarray,
    identity: Sequence[bytes],
    fold: tuple[int, int],
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """Returns splits whose validation is one fold of all images that are not for the test."""
    number, folds = fold
    pool = np.concatenate([splits[name] for name in ("train", "validation") if name in splits])
    pool = np.sort(pool)
    assign = folds_of if has_several(labels) else assign_folds
    of = assign(labels[pool], [identity[i] for i in pool], folds=folds, seed=seed)
    kept = {name: index for name, index in splits.items() if name == "test"}
    return kept | {"train": pool[of != number], "validation": pool[of == number]}


def _refuse_missing(
    labels: np.ndarray, train: np.ndarray, usable: np.ndarray, classes: Sequence[str]
) -> None:
    counts = class_counts(labels[train], len(classes))
    elsewhere = class_counts(labels[usable], len(classes))
    for name, count, others in zip(classes, counts, elsewhere, strict=True):
        if count == 0 and others:
            raise DataError(
                f"class {name!r} has no image to train on, and {others:,} in other splits; add "
                "some, or leave these out"
            )
        if count == 0:
            raise DataError(f"class {name!r} has no readable image to train on; add some")


def _held_out(
    labels: np.ndarray, identity: Sequence[bytes], *, share: float, seed: int
) -> np.ndarray:
    """Returns a mask (M,) of held-out images, close to `share` of each class."""
    totals = np.bincount(labels)
    wanted = np.where(totals >= 2, np.maximum(1, np.round(share * totals)), 0)
    chosen = _Chosen(labels, identity, seed=seed)
    for unit in chosen.order:
        adds = chosen.adds(unit)
        main = int(adds.argmax())
        fits = chosen.taken[main] + adds[main] / 2 <= wanted[main] > chosen.taken[main]
        if fits and chosen.leaves_training(unit):
            chosen.hold(unit)
    if chosen.taken.sum() < wanted.sum() / 2:
        chosen.release()
    for label in np.flatnonzero((chosen.taken == 0) & (wanted > 0)):
        whole = chosen.smallest(wanted[label] / 2, main_of=int(label))
        if whole is not None and not chosen.taken[label]:
            chosen.hold(whole)
    if chosen.taken.sum() < wanted.sum() / 2:
        whole = chosen.smallest(wanted.sum() / 2)
        if whole is not None:
            chosen.hold(whole)
    return chosen.held


class _Chosen:
    """The identities that are held out of training so far.

    Args:
        labels: (M,) int64 in 0..K-1.
        identity: of the M images.
        seed: of the order in which identities are held out.

    Attributes:
        order: the identities, in that order.
        taken: (K,) images held out of each class.
        held: (M,) bool.
    """

    def __init__(self, labels: np.ndarray, identity: Sequence[bytes], *, seed: int) -> None:
        self._labels = labels
        self._members: dict[bytes, list[int]] = {}
        for index, who in enumerate(identity):
            self._members.setdefault(who, []).append(index)
        self._by_main: dict[int, list[bytes]] = {}
        self._totals = np.bincount(labels)
        self.order = in_seeded_order(self._members, seed=seed)
        self.release()

    def release(self) -> None:
        """Holds nothing out."""
        self.taken = np.zeros_like(self._totals)
        self.held = np.zeros(len(self._labels), dtype=bool)

    def adds(self, unit: bytes) -> np.ndarray:
        """Returns the images (K,) of each class in an identity."""
        return np.bincount(self._labels[self._members[unit]], minlength=len(self._totals))

    def leaves_training(self, unit: bytes) -> bool:
        """Returns whether each class of an identity keeps an image to train on without it."""
        adds = self.adds(unit)
        return bool((self.taken + adds < self._totals)[adds > 0].all())

    def hold(self, unit: bytes) -> None:
        """Holds an identity out."""
        self.held[self._members[unit]] = True
        self.taken = self.taken + self.adds(unit)

    def smallest(self, least: float, *, main_of: int | None = None) -> bytes | None:
        """Returns the smallest identity of at least `least` images that may be held out.

        At most half of the images are held out by it. Where none is as large, the largest.
        With `main_of`, only identities most of whose images are of this class count, with these
        images alone, and none where none is as large.
        """
        totals = self._totals if main_of is None else self._totals[main_of]
        found: list[tuple[int, bytes]] = []
        for unit in self.order if main_of is None else self._units_by_main().get(main_of, ()):
            adds = self.adds(unit)
            size = int(adds.sum() if main_of is None else adds[main_of])
            free = not self.held[self._members[unit][0]] and self.leaves_training(unit)
            if free and 2 * size <= totals.sum():
                found.append((size, unit))
        large = [one for one in found if one[0] >= least]
        if large:
            return min(large, key=lambda one: one[0])[1]
        return max(found, key=lambda one: one[0])[1] if found and main_of is None else None

    def _units_by_main(self) -> dict[int, list[bytes]]:
        if not self._by_main:
            for unit in self.order:
                self._by_main.setdefault(int(self.adds(unit).argmax()), []).append(unit)
        return self._by_main
