"""Lines of a list of images, in the forms that people write them.

    cat/1.png 0        cat/1.png,0     cat/1.png;cat    "cat/1.png" 0     cat\\1.png 0
    0 cat/1.png        1 0.0 cat/1.png (MXNet's im2rec, between tabs)     cat/1.png 0 1 0
    /home/them/data/cat/1.png 0        paths of another machine, whose beginning is cut off

A line with the number of images, or with names of columns, may stand above.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from ravine.data.sources.listing import EXTENSIONS
from ravine.data.sources.table_file import is_image_name

MOST_ABOVE = 2
"""Lines that may stand above the first one: a count, and names of columns."""

_ENDING = re.compile(r"\.(\w+)(?=\s|$)")
_FLAGS = frozenset({"0", "1", "-1"})


@dataclass(frozen=True, slots=True)
class LineForm:
    """How the lines of a list are read.

    Attributes:
        above: lines above the first one that names an image.
        label_first: whether the label stands before the path.
        windows: whether a backslash stands between folders, and is no part of a name.
        cut: what the paths begin with on the machine where the list was made; "" for none.
    """

    above: int = 0
    label_first: bool = False
    windows: bool = False
    cut: str = ""

    def fields(self, line: str) -> list[str]:
        """Returns the path and the other columns of a line; [] of an empty one or a comment.

        >>> LineForm().fields("a b.png 0"), LineForm(label_first=True).fields("0 a.png")
        (['a b.png', '0'], ['a.png', '0'])
        >>> LineForm(windows=True, cut="C:/data/").fields('"C:\\\\data\\\\cat\\\\1.png";cat')
        ['cat/1.png', 'cat']
        """
        found = _split(line)
        if self.label_first:
            found = _exchanged(found)
        if not found:
            return []
        path = found[0].replace("\\", "/") if self.windows else found[0]
        return [path.removeprefix(self.cut), *found[1:]]


def lines_of(text: str) -> list[tuple[int, str]]:
    """Returns (number, line) of each line that is not empty and no comment."""
    return [(n, line) for n, line in enumerate(text.splitlines(), start=1) if _split(line)]


def possible_forms(lines: Sequence[str]) -> Iterable[tuple[LineForm, str]]:
    """Yields forms of a list and the path that its first line then names, the likeliest first.

    Args:
        lines: the first lines that are not empty.
    """
    for above, line in enumerate(lines[: MOST_ABOVE + 1]):
        for windows, label_first in product((False, True), repeat=2):
            form = LineForm(above, label_first, windows and "\\" in line)
            name = next(iter(form.fields(line)), "")
            if name and (is_image_name(name) or form == LineForm()):
                yield form, name


def _split(line: str) -> list[str]:
    """Returns the fields of a line; a path with an ending may hold blanks."""
    line = line.strip()
    if not line or line.startswith("#"):
        return []
    end = _end_of_path(line)
    for separator in ("\t", ",", ";"):
        found = [field.strip().strip('"') for field in line.split(separator)]
        if len(found) > 1 and (is_image_name(found[0]) or end in (0, len(line))):
            return _of_mxnet(found) if separator == "\t" else found
    line = line.replace('"', "")
    end = _end_of_path(line)
    if not end:
        return line.split()
    return [line[:end], *line[end:].split()]


def _end_of_path(line: str) -> int:
    """Returns where the first word with the ending of an image ends; 0 without one."""
    found = (match for match in _ENDING.finditer(line.replace('"', " ")))
    return next((m.end() for m in found if f".{m[1].lower()}" in EXTENSIONS), 0)


def _of_mxnet(fields: list[str]) -> list[str]:
    """Returns path and label of a line of MXNet's im2rec: number, label as a float, path."""
    if len(fields) != 3 or not fields[0].isdecimal() or not is_image_name(fields[2]):
        return fields
    return [fields[2], re.sub(r"\.0+$", "", fields[1])]


def _exchanged(fields: Sequence[str]) -> list[str]:
    """Returns fields of which the first is the label as path, label."""
    if len(fields) == 1:  # blanks between them, and the ending at the end
        label, _, path = fields[0].partition(" ")
        return [path.strip(), label] if path else []
    return [fields[1], fields[0], *fields[2:]] if len(fields) == 2 else []


def are_flags(rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether rows of K cells, K > 1, say 1 for each label that applies, and 0 or -1.

    >>> are_flags([["0", "1"], ["1", "1"]]), are_flags([["1", "1"], ["2", "1"]])
    (True, False)
    """
    values = {value for row in rows for value in row}
    return min(map(len, rows), default=0) > 1 and values <= _FLAGS and values != {"1"}
