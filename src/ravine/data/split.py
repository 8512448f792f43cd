"""Which images are held out: stratified, seed-stable, groups and duplicates kept together.

An image's place follows from a hash of the seed and of what the image is (its group, or its
pixels), so that adding a file moves few others.
"""

import hashlib
from collections.abc import Mapping, Sequence

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
        labels: (N,).
        usable: (N,) bool; unreadable images are in no split.
        identity: of each image; images of one identity stay on one side.
        given: what the source says; () if it says nothing.
        share: held out for validation where the source gives none.
        seed: of the run.
        classes: names, for errors.

    Raises:
        DataError: a class has no image to train on, or none could be held out.
    """
    splits: dict[str, np.ndarray] = {}
    places = np.flatnonzero(usable)
    if given:
        names = np.array([name or "" for name in given])
        splits = {name: places[names[places] == name] for name in ("train", "validation", "test")}
        splits = {name: index for name, index in splits.items() if len(index)}
    else:
        splits["train"] = places
    holds_out = "validation" not in splits and share > 0
    train = splits.get("train", np.array([], np.int64))
    _refuse_missing(labels, train, classes, holds_out=holds_out)
    if holds_out:
        share = min(share, _MOST_VALIDATION / len(train))
        held = _held_out(labels[train], [identity[i] for i in train], share=share, seed=seed)
        if held.any():
            splits |= {"train": train[~held], "validation": train[held]}
    return {name: np.sort(index).astype(np.int64) for name, index in splits.items()}


def _refuse_missing(
    labels: np.ndarray, train: np.ndarray, classes: Sequence[str], *, holds_out: bool
) -> None:
    counts = np.bincount(labels[train], minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if count == 0:
            raise DataError(f"class {name!r} has no readable image to train on; add some")
        if count == 1 and holds_out:
            raise DataError(
                f"class {name!r} has one image only, which cannot be both learnt and held out; "
                "add images, remove the class, or train without validation: --validation 0"
            )


def _held_out(
    labels: np.ndarray, identity: Sequence[bytes], *, share: float, seed: int
) -> np.ndarray:
    """Returns a mask of what is held out, close to `share` of each class."""
    members: dict[bytes, list[int]] = {}
    for place, who in enumerate(identity):
        members.setdefault(who, []).append(place)
    order = sorted(members, key=lambda who: hashlib.sha256(b"%d/" % seed + who).digest())
    totals = np.bincount(labels)
    wanted = np.where(totals >= 2, np.maximum(1, np.round(share * totals)), 0)
    taken = np.zeros_like(totals)
    held = np.zeros(len(labels), dtype=bool)
    for who in order:
        places = members[who]
        adds = np.bincount(labels[places], minlength=len(totals))
        mostly = int(adds.argmax())
        fits = taken[mostly] + adds[mostly] / 2 <= wanted[mostly] and wanted[mostly] > taken[mostly]
        if fits and (taken + adds < totals)[adds > 0].all():
            held[places] = True
            taken += adds
    return held


def without_leakage(
    splits: Mapping[str, np.ndarray], digests: np.ndarray
) -> tuple[dict[str, np.ndarray], list[tuple[int, int]], list[tuple[int, int]]]:
    """Returns splits whose validation holds no image that is also trained on.

    Args:
        splits: indices by split.
        digests: (N, 16) uint8 of the pixels.

    Returns:
        The splits; pairs (validation image, training image) that were kept out; pairs (test
        image, training image) that are in both.
    """
    keys = digests.view(np.dtype((np.void, digests.shape[1]))).ravel()
    first = {keys[i].tobytes(): int(i) for i in splits["train"][::-1]}

    def pairs(index: np.ndarray) -> list[tuple[int, int]]:
        found = ((int(i), first.get(keys[i].tobytes())) for i in index)
        return [(i, twin) for i, twin in found if twin is not None]

    changed = dict(splits)
    kept_out = pairs(splits.get("validation", np.array([], np.int64)))
    if kept_out:
        out = np.array([i for i, _ in kept_out])
        changed["validation"] = np.setdiff1d(splits["validation"], out)
        if not len(changed["validation"]):
            del changed["validation"]
    return changed, kept_out, pairs(splits.get("test", np.array([], np.int64)))
