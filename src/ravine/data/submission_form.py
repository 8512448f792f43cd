"""What a sample submission wants in its columns: probabilities, class numbers or class names.

Shape letters: N images, M ids, K classes.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ravine.core.errors import DataError, SettingError
from ravine.data.likeliest import likeliest_labels, names_several
from ravine.data.matching import (
    match_columns,
    match_ids,
    match_rows,
    plain_spelling,
    unique_spellings,
)
from ravine.data.sample_labels import sample_labels
from ravine.data.sample_submission import SampleSubmission
from ravine.data.split_notes import named

_NEGATIVE = frozenset(
    [
        "no",
        "not",
        "non",
        "none",
        "without",
        "negative",
        "neg",
        "normal",
        "healthy",
        "benign",
        "background",
        "absent",
        "false",
    ]
)
_HAS = re.compile(r"(?i)^(has|is|with|contains)[ _-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionForm:
    """How the rows of a submission are made of probabilities.

    Attributes:
        indices: (M,) int64 of each id's image; -1 where it has none.
        order: the class of each column of probabilities; () for a column of labels.
        labels: of each of the K classes, for a column of labels.
        top: how many of the likeliest labels a row names, separated by blanks.
        interpretation: how the sample was interpreted, in a clause.
    """

    indices: np.ndarray
    order: tuple[int, ...]
    labels: tuple[str, ...]
    interpretation: str
    top: int = 1

    @property
    def wanted(self) -> np.ndarray:
        """The indices of images to predict, int64 of shape (W,), in the order of the ids."""
        return self.indices[self.indices >= 0]

    @property
    def may_be_empty(self) -> bool:
        """Whether a cell may be empty: never."""
        return False

    def without_image(self, ids: Sequence[str]) -> list[str]:
        """Returns those of the M ids that have no image."""
        return [name for name, i in zip(ids, self.indices.tolist(), strict=True) if i < 0]

    def values(self, probabilities: np.ndarray) -> list[str]:
        """Returns the values of one row, from the probabilities (K,) of its image."""
        if self.order:
            chosen = probabilities[list(self.order)].tolist()
            return [f"{p:.6g}" for p in chosen]
        likeliest = np.argsort(-probabilities, kind="stable")[: self.top]
        return [" ".join(self.labels[int(index)] for index in likeliest)]


def submission_form(
    sample: SampleSubmission,
    names: Sequence[str],
    classes: Sequence[str],
    *,
    positive: str | None = None,
    top: int | None = None,
    missing: bool = False,
    by_row: bool = False,
) -> SubmissionForm:
    """Returns what a sample wants.

    One column per class takes probabilities. A single column takes the probability of one class
    where `positive` is given, where it has a class's name and holds numbers, or where it holds
    fractions and there are two classes; class indices from 0 where it holds such and no class has a
    number for a name; else class names, in the sample's spelling. Where its values are several
    classes separated by blanks, or `top` is given, a row names so many of the likeliest.

    Args:
        sample: the ids and columns wanted.
        names: of the N images.
        classes: K names.
        positive: the class whose probability a single column takes; by default it is chosen.
        top: how many of the likeliest classes a single column names; by default as the sample.
        missing: whether an id may be without an image.
        by_row: whether the images are rows of an array or table, which ids count.

    Raises:
        DataError: an image is missing, or a column fits no class.
        SettingError: `positive` is no class.
    """
    indices = sample_indices(sample, names, missing=missing, by_row=by_row)
    if top is not None or names_several(sample, classes):
        labels, count, text = likeliest_labels(sample, classes, top)
        return SubmissionForm(
            indices=indices, order=(), labels=labels, interpretation=text, top=count
        )
    if positive is not None:
        order, text = _named_class(sample, classes, positive)
    else:
        order, text = _probability_columns(sample, classes)
    if order:
        return SubmissionForm(indices=indices, order=order, labels=(), interpretation=text)
    labels, text = sample_labels(sample, classes)
    if len(classes) == 2 and all(_is_number(value) for value in sample.values):
        text += "; for the probability of one class: --positive CLASS"
    return SubmissionForm(indices=indices, order=(), labels=labels, interpretation=text)


def sample_indices(
    sample: SampleSubmission, names: Sequence[str], *, missing: bool, by_row: bool
) -> np.ndarray:
    """Returns the image of each of M ids, (M,) int64; -1 where one has none; see `submission_form`.

    Raises:
        DataError: an image is missing.
    """
    rows = match_rows(sample.ids, len(names)) if by_row else None
    if rows is None:
        rows = match_ids(sample.ids, names, str(sample.path), missing=missing)
    return np.array(rows, np.int64)


def _named_class(
    sample: SampleSubmission, classes: Sequence[str], positive: str
) -> tuple[tuple[int, ...], str]:
    columns = sample.other_columns
    if positive not in classes:
        raise SettingError(
            f"--positive {positive[:40]!r} is no class of the network: {named(classes, 5)}"
        )
    if len(columns) != 1:
        raise SettingError(
            f"--positive is for one column of probabilities, and {sample.path} has {len(columns)}; "
            "leave it out"
        )
    return (classes.index(positive),), f"probabilities of {positive!r}"


def _probability_columns(
    sample: SampleSubmission, classes: Sequence[str]
) -> tuple[tuple[int, ...], str]:
    """Returns the class of each column of probabilities, or () for a column of labels."""
    columns = sample.other_columns
    if len(columns) > 1:
        order = match_columns(columns, classes, str(sample.path))
        return tuple(order), f"probabilities of {named([classes[index] for index in order])}"
    if not all(_is_number(value) for value in sample.values):
        return (), ""
    index = _class_of_column(columns[0], classes)
    if index is not None:
        return (index,), f"probabilities of {classes[index]!r}"
    parts = sorted(v for v in sample.values if v not in classes and _is_fraction(v))
    if not parts:
        return (), ""
    if len(classes) != 2:
        raise DataError(
            f"{sample.path}: the column {columns[0][:40]!r} holds {parts[0][:20]}, so it wants the "
            f"probability of one class; name it with --positive CLASS: {named(classes)}"
        )
    index = _positive_of_two(classes)
    return (index,), f"probabilities of {classes[index]!r}; of the other: --positive CLASS"


def _class_of_column(column: str, classes: Sequence[str]) -> int | None:
    name = column.strip()
    if name in classes:
        return classes.index(name)
    unique = unique_spellings(classes)
    found = unique.get(plain_spelling(name))
    return unique.get(plain_spelling(_HAS.sub("", name))) if found is None else found


def _positive_of_two(classes: Sequence[str]) -> int:
    """Returns the second class, unless it alone is named like the absence of something."""
    absent = [bool(_NEGATIVE & set(plain_spelling(name).split())) for name in classes]
    return 0 if absent == [False, True] else 1


def _is_fraction(value: str) -> bool:
    """Returns whether a number is a fraction, or written as one: 0.0 is no number of a class."""
    return "." in value or not float(value).is_integer()


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
