"""What a split came to, where it is not what one expects: groups, single images, no validation.

Shape letters: N images, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ravine.data.label_sets import class_counts

_NAMED = 3


def split_notes(
    labels: np.ndarray,
    splits: Mapping[str, np.ndarray],
    groups: Sequence[str],
    classes: Sequence[str],
    *,
    holds_out: bool,
) -> list[str]:
    """Returns sentences about a split, for the audit; none where there is nothing to say.

    Args:
        labels: (N,) int64 in 0..K-1, or (N, K) uint8.
        splits: sorted int64 indices by name.
        groups: of the N images, or ().
        classes: K names.
        holds_out: whether validation images were to be taken from those for training.
    """
    notes = []
    if groups:
        notes += _about_groups(splits, groups)
    if holds_out:
        notes += _about_classes(labels, splits, classes)
    return notes


def _about_groups(splits: Mapping[str, np.ndarray], groups: Sequence[str]) -> list[str]:
    of = {name: {groups[i] for i in index} - {""} for name, index in splits.items()}
    notes = []
    held, train = of.get("validation", set()), of["train"]
    if held:
        share = len(splits["validation"]) / (len(splits["train"]) + len(splits["validation"]))
        notes.append(
            f"{len(held):,} of {len(held | train):,} groups held out for validation, "
            f"{100 * share:.0f} % of the images: {named(sorted(held))}"
        )
    else:
        notes.append(f"no validation: none of {len(train):,} groups is held out")
    shared = sorted(train & of.get("test", set()))
    if shared:
        notes.append(
            f"{len(shared):,} groups are in the test split and also trained on, as the data "
            f"comes: {named(shared)}; the test result may be too good"
        )
    return notes


def _about_classes(
    labels: np.ndarray, splits: Mapping[str, np.ndarray], classes: Sequence[str]
) -> list[str]:
    validation = splits.get("validation", np.array([], np.int64))
    trained = class_counts(labels[splits["train"]], len(classes))
    held = class_counts(labels[validation], len(classes))
    if not len(validation):
        return ["no validation: no image can be held out, as no class has one to spare"]
    notes = []
    single = np.flatnonzero((trained == 1) & (held == 0)).tolist()
    if len(single):
        notes.append(
            f"{_classes(len(single))} one image only, trained on and in no validation: "
            f"{named([classes[i] for i in single])}"
        )
    whole = np.flatnonzero((trained > 1) & (held == 0)).tolist()
    if len(whole):
        few = labels.ndim == 2 and len(validation) < len(classes)
        why = "so few are held out" if few else "groups or equal images stay together"
        notes.append(
            f"{_classes(len(whole))} no validation image, as {why}: "
            f"{named([classes[i] for i in whole])}"
        )
    return notes


def _classes(count: int) -> str:
    return "1 class has" if count == 1 else f"{count:,} classes have"


def named(names: Sequence[str], most: int = _NAMED) -> str:
    """Returns some names, and how many are left out.

    >>> named(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    shown = ", ".join(repr(f"{name[:24]}…" if len(name) > 25 else name) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
