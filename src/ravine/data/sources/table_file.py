"""A table as a text file: with commas, `;`, tabs, `|` or blanks, with a header or without one.

Rows are read one after another, so that a table of many columns costs what its bytes cost.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.core.regular_file import head_text, open_regular, read_regular_text, text_fault
from ravine.data.sources.listing import EXTENSIONS
from ravine.data.understanding import shortened

_SEPARATORS = ",;\t|"
_BLANKS = " "
_COUNT = re.compile(r"\A\s*\d+[ \t]*\r?\n(?=[^\n]*[^\n\d\s])")  # on a line of its own, above words
_HINT = re.compile(r"\A\s*\"?sep=[^\n]\"?[ \t]*\r?\n", re.IGNORECASE)  # of Excel
_HEAD = 1 << 16  # bytes that tell whether a text is a table
_SAMPLE = 50  # rows that decide what separates the fields
_LETTERS_OF_A_PATH = 50
_LETTERS_OF_A_LIST = 60

csv.field_size_limit(1 << 24)


@dataclass(frozen=True, slots=True)
class Table:
    """The text of a table, and how it is to be read.

    Attributes:
        path: of the file.
        columns: their names; "1", "2" and so on where there is no header.
        has_header: whether the first line is one.
        text: of the file.
        separator: of the fields.
    """

    path: Path
    columns: tuple[str, ...]
    has_header: bool
    text: str
    separator: str

    @property
    def name(self) -> str:
        """The path as messages show it."""
        return shown_path(self.path)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields (line, fields) of each row that is not empty; missing fields are "".

        Raises:
            DataError: a row has more fields than the header, or quotes that do not fit.
        """
        count = len(self.columns)
        for number, (line, fields) in enumerate(_fields(self.text, self.separator, self.path)):
            if number == 0 and self.has_header:
                continue
            stripped = [field.strip() for field in fields]
            if not any(stripped):
                continue
            if len(stripped) > count:
                if any(stripped[count:]):
                    raise DataError(
                        f"{self.name}, line {line}: {len(stripped)} fields, the header has "
                        f"{count}; put a field with {_said(self.separator)} in it in quotes"
                    )
                stripped = stripped[:count]
            yield line, stripped + [""] * (count - len(stripped))

    def index(self, column: str) -> int:
        """Returns the index of a column."""
        return self.columns.index(column)


def shown_path(path: Path) -> str:
    """Returns a path for a message, its beginning cut off where it is long."""
    text = str(path)
    return text if len(text) <= _LETTERS_OF_A_PATH else f"…{text[1 - _LETTERS_OF_A_PATH :]}"


def listed(names: Sequence[str], most: int = _LETTERS_OF_A_LIST) -> str:
    """Returns names in a row, cut off where they are many.

    >>> listed(["a", "b"]), listed(["abc"] * 900, 12)
    ('a, b', 'abc, … (900)')
    """
    text = ", ".join(names)
    if len(text) <= most:
        return text
    shown: list[str] = []
    for name in names:
        if sum(len(one) + 2 for one in [*shown, name]) > most - 7:
            break
        shown.append(name)
    return ", ".join([*(shown or [shortened(names[0], most)]), f"… ({len(names):,})"])


def begins_as_table(path: Path) -> bool:
    """Returns whether a text begins with names of columns above names of images."""
    try:
        with open_regular(path) as file:
            head = head_text(file.read(_HEAD))
        whole, _, torn = head.rpartition("\n")
        table = _table(path, whole if whole and len(head) >= _HEAD // 4 else f"{whole}\n{torn}")
        first = next(iter(table.rows()), None)
    except (OSError, DataError):
        return False
    return table.has_header and first is not None and any(map(is_image_name, first[1]))


def read_table_file(path: Path) -> Table:
    """Returns a table in UTF-8, or in UTF-16 where a byte-order mark says so.

    Above its header may stand the number of rows, Excel's `sep=;`, or lines of comment. It has no
    header if a field of its first line ends as an image does. Where each row has a field more than
    the header, the first column is the image: it has no name in CelebA's lists.

    Raises:
        DataError: the file is missing, empty or no text, or two columns have one name.
    """
    table = _table(path, _text(path))
    if next(iter(table.rows()), None) is None:
        raise DataError(f"{shown_path(path)} holds no rows below its header")
    return table


def _table(path: Path, text: str) -> Table:
    """Returns a table of a text, which may be the beginning of one."""
    text = _without_comments(_HINT.sub("\n", _COUNT.sub("\n", text, count=1), count=1))
    separator = _separator(text, path)
    sample = [fields for _, fields in islice(_fields(text, separator, path), _SAMPLE)]
    header = [field.strip() for field in sample[0]] if sample else []
    if {len(fields) for fields in sample[1:]} == {len(header) + 1} and is_image_name(sample[1][0]):
        header = ["image", *header]
    elif len(header) == 2 and _are_flags_of_many(sample[1:]):  # DeepFashion's attributes
        header = [header[0], *(str(number) for number in range(1, len(sample[1])))]
    has_header = not any(is_image_name(field) for field in header)
    columns = header if has_header else [str(number + 1) for number in range(len(header))]
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise DataError(
            f"{shown_path(path)} has two columns {shortened(twice[0], 40)!r}; rename one of them"
        )
    return Table(path, tuple(columns), has_header, text, separator)


_SPREADSHEET = "PK\3\4"  # .xlsx and .ods are zips


def is_image_name(field: str) -> bool:
    """Returns whether a field ends as the name of an image does.

    >>> is_image_name("a/b.JPG"), is_image_name("b")
    (True, False)
    """
    return PurePosixPath(field.strip().replace("\\", "/")).suffix.lower() in EXTENSIONS


def _text(path: Path) -> str:
    try:
        text = read_regular_text(path)
        if text.startswith(_SPREADSHEET):
            raise DataError(f"{shown_path(path)} is a spreadsheet; save it as CSV")
        if 2 * text.count("\0") >= len(text) > 0:
            raise DataError(f"{shown_path(path)} is UTF-16 without its mark; save it as UTF-8")
        if (at := text.find("\0")) >= 0:
            line = 1 + text.count("\n", 0, at)
            raise DataError(f"{shown_path(path)}, line {line}: a byte 0 is no text; mend the line")
        return text
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    except (OSError, ValueError) as error:
        where = shown_path(path)
        if isinstance(error, UnicodeDecodeError) and error.encoding.startswith("utf-8"):
            number = 1 + error.object.count(b"\n", 0, error.start)
            where += f", line {number}"
        raise DataError(f"{where} cannot be read as UTF-8 text: {text_fault(error)}") from None


def _without_comments(text: str) -> str:
    """Returns a text without lines of `#` at its beginning, unless one is the header.

    >>> _without_comments("# from me\\nname,label\\n"), _without_comments("#name,label\\na,b\\n")
    ('\\nname,label\\n', '#name,label\\na,b\\n')
    """
    at = 0
    while text.startswith("#", at) and (end := text.find("\n", at) + 1):
        line, below = text[at:end], text[end : (text.find("\n", end) + 1) or len(text)]
        if not below.startswith("#") and _as_many(line.lstrip("# "), below):
            break
        at = end
    return "\n" * text.count("\n", 0, at) + text[at:]


def _as_many(line: str, below: str) -> bool:
    """Returns whether two lines have as many fields, by the separator that the second has."""
    separator = max(_SEPARATORS, key=below.count)
    if separator in below:
        return line.count(separator) == below.count(separator)
    return len(line.split()) == len(below.split()) > 1


def _said(separator: str) -> str:
    return {",": "a comma", ";": "a ;", "\t": "a tab", "|": "a |", _BLANKS: "a blank"}[separator]


def _separator(text: str, path: Path) -> str:
    """Returns the separator that gives all rows one number of fields, or is most in the header."""
    sample = _beginning(text)
    widths = {one: _widths(sample, one, path) for one in (*_SEPARATORS, _BLANKS)}
    even = [one for one in _SEPARATORS if len(widths[one]) == 1 and min(widths[one]) > 1]
    if even:
        return max(even, key=lambda one: max(widths[one]))
    rows = [fields for _, fields in islice(_fields(sample, _BLANKS, path), 1, _SAMPLE)]
    if _are_flags_of_many(rows):
        return _BLANKS
    header = text.lstrip().partition("\n")[0]
    found = max(_SEPARATORS, key=header.count)
    blanks = sorted(widths[_BLANKS])  # two widths: the header may lack the first column
    if not header.count(found) and blanks and blanks[0] > 1 and blanks[-1] - blanks[0] <= 1:
        return _BLANKS
    return found


def _are_flags_of_many(rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether rows are of an image and more than one column of 1 and -1 or 0."""
    return len({len(row) for row in rows}) == 1 and all(
        len(row) > 2 and is_image_name(row[0]) and {*row[1:]} <= {"0", "1", "-1"} for row in rows
    )


def _beginning(text: str) -> str:
    """Returns the first lines of a text, more of them than the rows that are looked at."""
    end = 0
    for _ in range(4 * _SAMPLE):
        end = text.find("\n", end) + 1
        if not end:
            return text
    return text[:end]


def _widths(text: str, separator: str, path: Path) -> set[int]:
    """Returns the numbers of fields of the first rows; {} if they cannot be separated so."""
    try:
        return {len(fields) for _, fields in islice(_fields(text, separator, path), _SAMPLE)}
    except DataError:
        return set()


def _fields(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, fields) of each line that is not empty."""
    # Not splitlines(): a quoted field may hold line ends, and names may hold U+2028 and the like.
    skips = separator == _BLANKS
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=skips)
    line = 1
    try:
        for fields in reader:
            if skips:
                while fields and not fields[-1]:
                    fields.pop()
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{shown_path(path)}, line {reader.line_num}: {error}") from None
