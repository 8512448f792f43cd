"""Splits images: stratified, stable under a seed, groups and duplicates kept together.

An image's split follows from a hash of the seed and of its identity (its group, or its pixels), so
that adding a file moves few others.

Shape letters: N images, M training images, K classes.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from ravine.core.errors import DataError

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
) -> dict[str, np.ndarray]:
    """Returns sorted indices by split.

    Args:
        labels: (N,) int64 in 0..K-1.
        usable: (N,) bool; unreadable images are in no split.
        identity: of the N images; images of one identity stay in one split.
        given: the split that the source gives each image; () if it gives none.
        share: in [0, 1), held out for validation where the source gives none.
        seed: of the run.
        classes: K names, for errors.

    Returns:
        int64 indices of train, and of validation and test where they exist.

    Raises:
        DataError: a class has no image to train on, or none could be held out.
    """
    splits = _given_splits(np.flatnonzero(usable), given)
    holds_out = "validation" not in splits and share > 0
    train = splits.get("train", np.array([], np.int64))
    _refuse_missing(labels, train, classes, holds_out=holds_out)
    if holds_out:
        share = min(share, _MOST_VALIDATION / len(train))
        held = _held_out(labels[train], [identity[i] for i in train], share=share, seed=seed)
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


def _refuse_missing(
    labels: np.ndarray, train: np.ndarray, classes: Sequence[str], *, holds_out: bool
) -> None:
    counts = np.bincount(labels[train], minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if count == 0:
            raise DataError(f"class {name!r} has no readable image to train on; add some")
        if count == 1 and holds_out:
            raise DataError(
                f"class {name!r} has one image only, which cannot be both trained on and held out; "
                "add images, remove the class, or train without validation: --validation 0"
            )


def _held_out(
    labels: np.ndarray, identity: Sequence[bytes], *, share: float, seed: int
) -> np.ndarray:
    """Returns a mask (M,) of held-out images, close to `share` of each class."""
    members: dict[bytes, list[int]] = {}
    for index, who in enumerate(identity):
        members.setdefault(who, []).append(index)
    order = sorted(members, key=lambda who: hashlib.sha256(b"%d/" % seed + who).digest())
    totals = np.bincount(labels)
    wanted = np.where(totals >= 2, np.maximum(1, np.round(share * totals)), 0)
    taken = np.zeros_like(totals)
    held = np.zeros(len(labels), dtype=bool)
    for who in order:
        indices = members[who]
        adds = np.bincount(labels[indices], minlength=len(totals))
        main = int(adds.argmax())
        fits = taken[main] + adds[main] / 2 <= wanted[main] and wanted[main] > taken[main]
        if fits and (taken + adds < totals)[adds > 0].all():
            held[indices] = True
            taken += adds
    return held
