"""Predictions as CSV: plain, or with the ids, order and columns of a sample submission.

`sample_submission` reads the sample, `submission_form` says what it wants; here the rows are
written as probabilities come, batch by batch, and the finished file is compared with the sample
before it gets its name.

Shape letters: N images, M ids, B images of a batch, K classes.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.csv_file import needs_quotes, write_csv
from ravine.data.label_submission import LabelSetForm
from ravine.data.matching import match_ids
from ravine.data.sample_submission import SampleSubmission, read_sample
from ravine.data.submission_form import SubmissionForm, submission_form

__all__ = [
    "match_ids",
    "read_sample",
    "write_form",
    "write_label_sets",
    "write_predictions",
    "write_submission",
]

Blocks = np.ndarray | Iterable[np.ndarray]
"""Probabilities (N, K), whole or as batches (B, K) in order."""


def write_submission(
    path: Path,
    sample: SampleSubmission,
    names: Sequence[str],
    classes: Sequence[str],
    probabilities: np.ndarray,
) -> str:
    """Writes predictions with the ids, order and columns of `sample`, whole or not at all.

    Args:
        path: the CSV to write.
        sample: the ids and columns wanted.
        names: of the N images.
        classes: K names.
        probabilities: (N, K), finite.

    Returns:
        In a clause, how the sample was interpreted.

    Raises:
        DataError: an image is missing, a column fits no class, a probability is no number, or
            the disk does not allow it.
    """
    form = submission_form(sample, names, classes)
    write_form(path, sample, form, names, probabilities[form.wanted])
    return form.interpretation


def write_form(
    path: Path,
    sample: SampleSubmission,
    form: SubmissionForm | LabelSetForm,
    names: Sequence[str],
    probabilities: Blocks,
    *,
    prior: np.ndarray | None = None,
) -> None:
    """Writes predictions as a sample wants them, whole or not at all.

    Args:
        path: the CSV to write.
        sample: the ids and columns wanted.
        form: what the sample wants.
        names: of the N images.
        probabilities: of the images `form.wanted`, in this order.
        prior: (K,) probabilities of an id without an image.

    Raises:
        DataError: a probability is no number, or the disk does not allow it.
    """

    def rows() -> Iterator[Sequence[str]]:
        yield sample.columns
        found = _finite(_each(probabilities), [names[int(i)] for i in form.wanted])
        for name, index in zip(sample.ids, form.indices, strict=True):
            row = next(found) if index >= 0 else prior
            assert row is not None
            values = form.values(row)
            yield [*values[: sample.id_column], name, *values[sample.id_column :]]

    write_csv(
        path,
        rows(),
        separator=sample.separator,
        quote_all=needs_quotes([*sample.columns, *sample.ids, *form.labels]),
        check=lambda part: _check_against(sample, part, may_be_empty=form.may_be_empty),
    )


def write_predictions(
    path: Path, names: Sequence[str], classes: Sequence[str], probabilities: Blocks
) -> None:
    """Writes image, class, probability, and the probability of every class.

    Args:
        path: the CSV to write.
        names: of the N images.
        classes: K names.
        probabilities: of the N images, finite.

    Raises:
        DataError: a probability is no number, or the disk does not allow it.
    """

    def rows() -> Iterator[Sequence[str]]:
        yield ["image", "class", "probability", *classes]
        for name, row in zip(names, _finite(_each(probabilities), names), strict=True):
            best = int(row.argmax())
            numbers = [f"{p:.6g}" for p in row.tolist()]
            yield [name, classes[best], numbers[best], *numbers]

    write_csv(path, rows(), quote_all=needs_quotes([*names, *classes]))


def write_label_sets(
    path: Path,
    names: Sequence[str],
    classes: Sequence[str],
    probabilities: Blocks,
    thresholds: np.ndarray,
) -> None:
    """Writes image, labels with `|` between them, and the probability of every label.

    Args:
        path: the CSV to write.
        names: of the N images.
        classes: the names of the K labels.
        probabilities: of the N images, finite.
        thresholds: (K,), from which a probability is a yes.

    Raises:
        DataError: a probability is no number, or the disk does not allow it.
    """

    def rows() -> Iterator[Sequence[str]]:
        yield ["image", "labels", *classes]
        for name, row in zip(names, _finite(_each(probabilities), names), strict=True):
            found = "|".join(classes[int(k)] for k in np.flatnonzero(row >= thresholds))
            yield [name, found, *(f"{p:.6g}" for p in row.tolist())]

    write_csv(path, rows(), quote_all=needs_quotes([*names, *classes]))


def _each(probabilities: Blocks) -> Iterator[np.ndarray]:
    if isinstance(probabilities, np.ndarray):
        yield from probabilities
        return
    for block in probabilities:
        yield from block


def _finite(rows: Iterable[np.ndarray], names: Sequence[str]) -> Iterator[np.ndarray]:
    """Yields rows (K,), and raises `DataError` at one that is not finite."""
    for name, row in zip(names, rows, strict=True):
        if not np.isfinite(row).all():
            raise DataError(
                f"the network gives no finite probabilities for {name}; nothing written"
            )
        yield row


def _check_against(sample: SampleSubmission, path: Path, *, may_be_empty: bool) -> None:
    """Compares the finished file with the sample, read back as a judge reads it."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter=sample.separator)
        same = tuple(next(rows, ())) == sample.columns
        count = 0
        for row, name in zip(rows, sample.ids, strict=False):
            whole = len(row) == len(sample.columns) and (may_be_empty or "" not in row)
            same = same and whole and row[sample.id_column] == name
            count += 1
        if not same or count < len(sample.ids) or next(rows, None) is not None:
            raise AssertionError("the submission differs from its sample")
