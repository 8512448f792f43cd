"""Submissions where an image has several labels: columns of them, or words in one column.

Shape letters: N images, M ids, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from ravine.core.errors import DataError, SettingError
from ravine.data.matching import match_columns, plain_spelling, unique_spellings
from ravine.data.sample_labels import refuse_foreign_labels
from ravine.data.sample_submission import SampleSubmission
from ravine.data.split_notes import named

SEPARATORS = ("|", ";", ",", " ")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSetForm:
    """How the rows of a submission are made of the probabilities of labels.

    Attributes:
        indices: (M,) int64 of each id's image; -1 where it has none.
        thresholds: (K,), from which a probability is a yes.
        order: the label of each column; () for one column of words.
        labels: of each of the K labels, for a column of words.
        separator: between the words.
        probabilities: whether columns hold probabilities, and not 0 and 1.
        interpretation: how the sample was interpreted, in a clause.
    """

    indices: np.ndarray
    thresholds: np.ndarray
    order: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    separator: str = " "
    probabilities: bool = True
    interpretation: str

    @property
    def wanted(self) -> np.ndarray:
        """The indices of images to predict, int64 of shape (W,), in the order of the ids."""
        return self.indices[self.indices >= 0]

    @property
    def may_be_empty(self) -> bool:
        """Whether a cell without a label is empty."""
        return not self.order

    def without_image(self, ids: Sequence[str]) -> list[str]:
        """Returns those of the M ids that have no image."""
        return [name for name, i in zip(ids, self.indices.tolist(), strict=True) if i < 0]

    def values(self, probabilities: np.ndarray) -> list[str]:
        """Returns the values of one row, from the probabilities (K,) of its image."""
        says = probabilities >= self.thresholds
        if not self.order:
            return [self.separator.join(self.labels[int(k)] for k in np.flatnonzero(says))]
        if self.probabilities:
            return [f"{p:.6g}" for p in probabilities[list(self.order)].tolist()]
        return [str(int(says[k])) for k in self.order]


def label_set_form(
    sample: SampleSubmission,
    indices: np.ndarray,
    classes: Sequence[str],
    thresholds: np.ndarray,
    *,
    answers: str = "auto",
    positive: str | None = None,
) -> LabelSetForm:
    """Returns what a sample wants of a network that answers with several labels.

    Columns take probabilities, or 0 and 1 where `answers` is labels. A single column takes the
    probability of one label where it has its name or `positive` is given, else the labels that an
    image has, in the sample's spelling, with the separator of the sample between them (a blank
    where it shows none). An image without a label has an empty cell.

    Args:
        sample: the ids and columns wanted.
        indices: (M,) int64 of each id's image; -1 where it has none.
        classes: the names of the K labels.
        thresholds: (K,), from which a probability is a yes.
        answers: auto, probabilities or labels.
        positive: the label whose probability a single column takes; by default it is chosen.

    Raises:
        DataError: a column fits no label.
        SettingError: `positive` is no label, or there are several columns.
    """
    order = _columns(sample, classes, positive)
    if order:
        says = answers != "labels"
        what = "probabilities" if says else "0 and 1"
        other = "; for 0 and 1: --answers labels" if answers == "auto" else ""
        return LabelSetForm(
            indices=indices,
            thresholds=thresholds,
            order=order,
            probabilities=says,
            interpretation=f"{what} of {named([classes[k] for k in order])}{other}",
        )
    if answers == "probabilities":
        raise DataError(
            f"{sample.path}: one column of words takes no probabilities; name the label whose "
            f"probability it takes: --positive {classes[0][:30]}"
        )
    separator = _separator(sample, classes)
    return LabelSetForm(
        indices=indices,
        thresholds=thresholds,
        labels=tuple(_spelled(sample, classes, separator)),
        separator=separator,
        interpretation=f"labels separated by {'blanks' if separator == ' ' else repr(separator)}",
    )


def _columns(
    sample: SampleSubmission, classes: Sequence[str], positive: str | None
) -> tuple[int, ...]:
    """Returns the label of each column; () for one column of words."""
    columns = sample.other_columns
    if positive is not None:
        if positive not in classes:
            raise SettingError(
                f"--positive {positive[:40]!r} is no label of the network: {named(classes, 5)}"
            )
        if len(columns) != 1:
            raise SettingError(
                f"--positive is for one column of probabilities, and {sample.path} has "
                f"{len(columns)}; leave it out"
            )
        return (classes.index(positive),)
    if len(columns) > 1:
        return tuple(match_columns(columns, classes, str(sample.path)))
    found = unique_spellings(classes).get(plain_spelling(columns[0].strip()))
    return () if found is None else (found,)


def _separator(sample: SampleSubmission, classes: Sequence[str]) -> str:
    found = [mark for mark in SEPARATORS if any(mark in value for value in sample.values)]
    found = [mark for mark in found if not any(mark in name for name in classes)] or found
    separator = found[0] if found else " "
    holding = [name for name in classes if separator in name]
    if holding:
        raise DataError(
            f"{sample.path}: its labels are separated by {separator!r}, which the label "
            f"{holding[0][:40]!r} holds; write another separator into the sample, such as '|'"
        )
    return separator


def _spelled(sample: SampleSubmission, classes: Sequence[str], separator: str) -> list[str]:
    """Returns each label as the sample spells it, or as its number where the sample has numbers."""
    parts = {p.strip() for value in sample.values for p in value.split(separator) if p.strip()}
    numbers = {str(index) for index in range(len(classes))}
    if parts and parts <= numbers and not any(name.isdecimal() for name in classes):
        return [str(index) for index in range(len(classes))]
    unique = unique_spellings(classes)
    spelled = {unique[k]: p for p in sorted(parts) if (k := plain_spelling(p)) in unique}
    known = {p for p in parts if p in classes or plain_spelling(p) in unique}
    refuse_foreign_labels(sample.path, parts, classes, known)
    return [
        name if name in parts else spelled.get(index, name) for index, name in enumerate(classes)
    ]
