"""Several classes in one cell of a submission: the likeliest, separated by blanks.

Judges that count the place of the right class (mean average precision at 3 or 5) want
`w_1287fbc new_whale w_98baff9` in a column. Names of classes that hold blanks are written with `_`,
as the sample does.

Shape letters: K classes.
"""

from collections.abc import Sequence
from dataclasses import replace

from ravine.core.errors import DataError, SettingError
from ravine.data.matching import plain_spelling, unique_spellings
from ravine.data.sample_labels import sample_labels
from ravine.data.sample_submission import SampleSubmission


def names_several(sample: SampleSubmission, classes: Sequence[str]) -> bool:
    """Returns whether every cell of a sample's one column names several classes of the network."""
    cells = [value.split() for value in sample.values]
    if not cells or len({len(cell) for cell in cells}) > 1 or len(cells[0]) < 2:
        return False
    spellings = unique_spellings(classes)
    if any(value in classes or plain_spelling(value) in spellings for value in sample.values):
        return False  # a class whose name holds blanks
    numbers = set() if any(name.isdecimal() for name in classes) else _numbers(len(classes))
    words = {word for cell in cells for word in cell}
    return all(
        word in classes or word in numbers or plain_spelling(word) in spellings for word in words
    )


def likeliest_labels(
    sample: SampleSubmission, classes: Sequence[str], top: int | None
) -> tuple[tuple[str, ...], int, str]:
    """Returns the label of each of K classes, how many a cell names, and this in a clause.

    Args:
        sample: with one column beside the ids.
        classes: K names.
        top: how many; None for as many as the sample names.

    Raises:
        DataError: the sample has several columns, or a class's name cannot stand between blanks.
        SettingError: `top` is less than 1.
    """
    if len(sample.other_columns) != 1:
        raise DataError(
            f"{sample.path} has {len(sample.other_columns)} columns beside the ids, and the "
            "likeliest classes stand in one; leave out --top"
        )
    if top is not None and top < 1:
        raise SettingError(f"--top {top}: at least 1 class is named")
    words = frozenset(word for value in sample.values for word in value.split())
    labels, kind = sample_labels(replace(sample, values=words), classes)
    count = top if top is not None else len(next(iter(sample.values)).split())
    count = min(count, len(classes))
    if count > 1:
        labels = tuple(_without_blanks(label, words, sample) for label in labels)
    return labels, count, f"the {count} likeliest in each row, separated by blanks: {kind}"


def _without_blanks(label: str, words: frozenset[str], sample: SampleSubmission) -> str:
    if " " not in label:
        return label
    if not any("_" in word for word in words):
        raise DataError(
            f"{sample.path} wants classes separated by blanks, and {label[:40]!r} holds one; "
            "write one such class into the sample as the judge spells it, with _ for instance"
        )
    return label.replace(" ", "_")


def _numbers(count: int) -> set[str]:
    return {str(index) for index in range(count)}
