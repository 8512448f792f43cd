"""Tables in which an image has more than one label: told apart from classes of several words.

An image has several labels where its row has more than one 1, where a cell holds several labels
between separators, or where rows repeat the image with other labels. A combination is never made a
class in silence: where two readings are likely, the table is refused and both are named.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ravine.core.errors import DataError
from ravine.data.settings import DataSettings
from ravine.data.sources.table_file import listed
from ravine.data.understanding import shortened

JOINT = "\x1f"
"""ASCII's unit separator, between the labels that a reader found itself: no table holds it."""
LIST = "["
"""The separator of cells such as `['a', 'b']`, or `{a,b}` as a database writes sets."""

_CLEAR = ("|", ";")
_MAYBE = (",", " ")
_BETWEEN_KNOWN = ("/", "+", "&")  # only where all parts are labels of their own
_IN_NAMES = (" and ", " - ", "_", "-")  # as these, which are also between the words of a name
_SAID = {",": "a comma", " ": "a blank", "_": "an underscore", "-": "a dash", " - ": "a dash"}
_YES = frozenset({"1", "1.0", "true", "yes", "y", "t", "x"})
_NO = frozenset({"0", "0.0", "false", "-1", "-1.0", "no", "n", "f"})
FLAGS = _YES | _NO
"""What a cell of a column for one label may say, in lower case; or nothing, for no."""
_SURE = 2  # distinct cells for each word, from which cells are combinations of these words


@dataclass(frozen=True, slots=True)
class Separation:
    """How the cells of a column are several labels.

    Attributes:
        separator: between labels; `LIST` for lists in brackets, "" for one label a cell.
        sure: whether no other reading is likely.
        first: index of the first cell that holds several labels, or 0.
    """

    separator: str
    sure: bool
    first: int = 0


def find_separation(cells: Sequence[str]) -> Separation | None:
    """Returns how cells hold several labels; None where each is one label.

    `|`, `;` and `[...]` separate. With commas or blanks it depends on all cells: the parts are
    labels of their own too ("scab rust" next to "scab" and "rust"), or many cells are made of few
    words, as combinations are; "golden retriever" next to "red fox" is one label. "scab_rust" next
    to "scab" and "rust" may be either.

    >>> find_separation(["scab", "rust", "scab rust"])
    Separation(separator=' ', sure=True, first=2)
    >>> find_separation(["scab", "rust", "scab_rust"])
    Separation(separator='_', sure=False, first=2)
    >>> find_separation(["red fox", "golden retriever"])
    """
    distinct = sorted({cell for cell in cells if cell})
    for mark in _CLEAR:
        if any(mark in cell for cell in distinct):
            return Separation(mark, True, _first(cells, mark))
    if any(_is_list(cell) for cell in distinct):
        return Separation(LIST, True, next(i for i, cell in enumerate(cells) if _is_list(cell)))
    return _between_known(cells, distinct) or _of_words(cells, distinct)


def _between_known(cells: Sequence[str], distinct: Sequence[str]) -> Separation | None:
    """Returns a separation whose parts are labels of their own too; None without one."""
    for mark in (*_BETWEEN_KNOWN, *_IN_NAMES):
        longer = [cell for cell in distinct if len(separated(cell, mark)) > 1]
        known = [cell for cell in longer if set(separated(cell, mark)) <= set(distinct)]
        if mark in _IN_NAMES and known:
            return Separation(mark, False, cells.index(known[0]))
        if known and len(known) == len(longer):
            return Separation(mark, True, cells.index(known[0]))
    return None


def _of_words(cells: Sequence[str], distinct: Sequence[str]) -> Separation | None:
    """Returns a separation by commas or blanks; None where cells are names."""
    for mark in _MAYBE:
        longer = [cell for cell in distinct if len(separated(cell, mark)) > 1]
        words = {part for cell in distinct for part in separated(cell, mark)}
        known = [cell for cell in longer if set(separated(cell, mark)) <= set(distinct)]
        numbers = all(word.isdecimal() for word in words)  # "147 616" is no name of a class
        sure = bool(longer) and (
            numbers or len(known) == len(longer) or _SURE * len(words) <= len(distinct)
        )
        if known or (longer and (numbers or len(words) < len(distinct))):
            return Separation(mark, sure, cells.index((known or longer)[0]))
    return None


def combined_name(classes: Sequence[str]) -> str | None:
    """Returns the first of K names of classes that others of them make up; None without one.

    >>> combined_name(["healthy", "rust", "scab", "scab_rust"]), combined_name(["red fox", "fox"])
    ('scab_rust', None)
    """
    known = set(classes)
    for mark in (*_CLEAR, *_MAYBE, *_BETWEEN_KNOWN, *_IN_NAMES):
        for name in classes:
            parts = separated(name, mark) if mark in name else ()
            if len(parts) > 1 and set(parts) <= known:
                return name
    return None


def _free_words(cells: Sequence[str]) -> Separation | None:
    """Returns a separation that is not sure: words recur in other cells, at other positions."""
    for mark in _MAYBE:
        positions: dict[str, set[tuple[int, int]]] = {}
        for cell in sorted(set(cells)):
            parts = separated(cell, mark)
            for position, part in enumerate(parts):
                positions.setdefault(part, set()).add((position, len(parts)))
        longer = [index for index, cell in enumerate(cells) if len(separated(cell, mark)) > 1]
        if longer and any(len(at) > 1 for at in positions.values()):
            return Separation(mark, False, longer[0])
    return None


def _first(cells: Sequence[str], mark: str) -> int:
    return next((index for index, cell in enumerate(cells) if mark in cell), 0)


def _is_list(cell: str) -> bool:
    return (cell[:1], cell[-1:]) in (("[", "]"), ("{", "}"))


def separated(cell: str, separator: str) -> tuple[str, ...]:
    """Returns the labels in a cell, each once, in order.

    >>> separated("b | a|b", "|"), separated("['a', 'b c']", LIST), separated("a", "")
    (('b', 'a'), ('a', 'b c'), ('a',))
    """
    found: list[str] = []
    for text in cell.split(JOINT):
        if separator == LIST and _is_list(text):
            found += _list_items(text)
        elif separator and separator != LIST:
            pattern = r"\s+" if separator.isspace() else re.escape(separator)
            found += re.split(pattern, text)
        else:
            found.append(text)
    return tuple(dict.fromkeys(part.strip() for part in found if part.strip()))


def _list_items(text: str) -> list[str]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return [item.strip().strip("'\"") for item in text[1:-1].split(",")]
    if isinstance(values, dict):  # {"scab": 1, "rust": 0}
        return [str(name) for name, value in values.items() if str(value).lower() in _YES]
    return [str(value) for value in values if not isinstance(value, list | dict)]


def choose_separation(
    table: str, column: str, cells: Sequence[str], lines: Sequence[int], settings: DataSettings
) -> Separation | None:
    """Returns how the cells of a label column are several labels; None where each is one class.

    Args:
        table: for messages.
        column: its name.
        cells: of N rows.
        lines: of the N rows, in the file.
        settings: `labels_per_image` and `label_separator`.

    Raises:
        DataError: the cells can be read in two ways, and the settings do not say which.
    """
    asked = settings.labels_per_image
    given = settings.label_separator
    if asked == "one":
        return None
    if given is not None:
        return Separation(given, True, next((i for i, c in enumerate(cells) if given in c), 0))
    joined = any(JOINT in cell for cell in cells)
    found = find_separation([part for cell in cells for part in cell.split(JOINT)])
    if asked == "several" or joined:
        return found or _free_words(cells) or Separation("", True)
    if found is None and column.lower().endswith("s"):  # labels, tags, classes
        found = _free_words(cells)
    if found is None or found.sure:
        return found
    word = _SAID.get(found.separator, f"{found.separator.strip()!r}")
    raise DataError(
        f"{table}, line {lines[found.first]}: {shortened(cells[found.first], 40)!r} in "
        f"{shortened(column, 20)!r} may be several labels or a name with {word}; say which: "
        "--labels-per-image several, or one"
    )


def one_hot_labels(
    table: str,
    columns: Sequence[str],
    values: Sequence[str],
    line: int,
    *,
    blank_is_no: bool = False,
) -> tuple[str, ...]:
    """Returns the columns that are 1 in a row.

    Args:
        table: for messages.
        columns: K names.
        values: of the K columns in the row.
        line: of the row.
        blank_is_no: whether an empty cell says no; it is a mistake where cells say 0.

    Raises:
        DataError: a value is neither 0 nor 1.
    """
    lower = [value.lower() for value in values]
    for name, value in zip(columns, lower, strict=True):
        if value not in FLAGS and (value or not blank_is_no):
            raise DataError(
                f"{table}, line {line}: the column {shortened(name, 40)!r} says "
                f"{shortened(value, 20)!r}; wanted is 0 or 1, or the column with the label: "
                "--label-column"
            )
    return tuple(name for name, value in zip(columns, lower, strict=True) if value in _YES)


def has_one_each(
    table: str, columns: Sequence[str], cells: Sequence[str], lines: Sequence[int], asked: str
) -> bool:
    """Returns whether rows of 0 and 1 are classes: exactly one 1 in each.

    Args:
        table: for messages.
        columns: K names.
        cells: of N rows, the columns that are 1, with `JOINT` between them.
        lines: of the N rows, in the file.
        asked: `labels_per_image`.

    Raises:
        DataError: one label an image is asked for, and a row has several or none.
    """
    for cell, line in zip(cells, lines, strict=True):
        found = separated(cell, "")
        if len(found) != 1 and asked == "one":
            raise _not_one(table, columns, found, line)
        if len(found) != 1:
            return False
    return asked != "several"


def _not_one(table: str, columns: Sequence[str], found: Sequence[str], line: int) -> DataError:
    if not found:
        return DataError(
            f"{table}, line {line}: none of the columns {listed(columns, 60)} is 1; remove the "
            "line, or leave out --labels-per-image one"
        )
    return DataError(
        f"{table}, line {line}: {listed(found, 60)} are all 1: several labels; leave out "
        "--labels-per-image one, or train one of them against the rest: "
        f"--label-column {found[0][:30]}"
    )
