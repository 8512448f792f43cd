"""Matches ids to images, and columns to classes.

Where two matches fit, nothing is guessed: a wrong match would be a wrong prediction that nobody
notices.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from ravine.core.errors import DataError
from ravine.data.sources.listing import same_folders
from ravine.data.split_notes import named

_ZEROS = re.compile(r"^0+(?=\d+(\.\w+)?$)")
_PREFIX = re.compile(r"(?i)^(class|label|prob|probability|target|p|is)[ _-]+")


def match_ids(
    ids: Sequence[str], names: Sequence[str], where: str, *, missing: bool = False
) -> list[int]:
    """Returns for each id the index of its image among `names`.

    An id is the path, the end of the path, or one of these without the extension. Folders that
    both name have to be the same.

    Args:
        ids: of any file system: with backslashes, or letters with separate accents.
        names: paths of images.
        where: the file of the ids, for messages.
        missing: whether up to half of the ids may be without an image; theirs is -1.

    Raises:
        DataError: an image is missing, an id fits several, or two ids fit one image.

    >>> match_ids(["b/1", "2.png"], ["a/1.png", "b/1.png", "a/2.png"], "sample.csv")
    [1, 2]
    """
    lookup = _NameLookup(names)
    found = [lookup.find(name) for name in ids]
    _refuse_ambiguous(ids, found, names, where)
    without = [name for name, fitting in zip(ids, found, strict=True) if not fitting]
    few = 2 * len(without) <= len(ids)
    if without and not (missing and few):
        prior = "; --missing prior answers with the training shares"
        others = "; name the images that the sample asks for"
        remedy = (prior if few else others) if not missing else ""
        raise DataError(
            f"{where}: no readable image for {len(without)} of {len(ids)} ids: {named(without)}; "
            f"nothing written{remedy}"
        )
    return [fitting[0] if fitting else -1 for fitting in found]


def match_rows(ids: Sequence[str], count: int) -> list[int] | None:
    """Returns the row of each id that counts rows, from 0 or from 1; None where ids do not.

    Ids that may be either, as 3 and 4 of 9 rows, are not taken for row numbers.

    >>> match_rows(["1", "2", "3"], 3), match_rows(["0", "2"], 3), match_rows(["a"], 1)
    ([0, 1, 2], [0, 2], None)
    """
    if not all(name.isdecimal() and name.isascii() for name in ids):
        return None
    numbers = [int(name) for name in ids]
    least, greatest = min(numbers), max(numbers)
    if least >= 0 and greatest == count:
        return [number - 1 for number in numbers] if least > 0 else None
    return numbers if least == 0 and greatest < count else None


def _refuse_ambiguous(
    ids: Sequence[str], found: Sequence[Sequence[int]], names: Sequence[str], where: str
) -> None:
    """Raises `DataError` if an id fits several images, or two ids fit one image."""
    id_of: dict[int, str] = {}
    for name, fitting in zip(ids, found, strict=True):
        if len(fitting) > 1:
            first, second = (names[index] for index in fitting[:2])
            raise DataError(
                f"{where}: the id {name!r} fits {first} and {second}; "
                "predict only the folder that is meant"
            )
        if fitting and fitting[0] in id_of:
            raise DataError(
                f"{where}: the ids {id_of[fitting[0]]!r} and {name!r} both fit "
                f"{names[fitting[0]]}, and an image answers one id only; nothing written"
            )
        if fitting:
            id_of[fitting[0]] = name


class _NameLookup:
    def __init__(self, names: Sequence[str]) -> None:
        self._index_of = {name: index for index, name in enumerate(names)}
        self._paths = [_path(name) for name in names]
        self._by_name: dict[str, list[int]] = {}
        self._by_stem: dict[str, list[int]] = {}
        self._by_plain: dict[str, list[int]] = {}
        for index, path in enumerate(self._paths):
            self._by_name.setdefault(path.name, []).append(index)
            self._by_stem.setdefault(path.stem, []).append(index)

    def find(self, name: str) -> list[int]:
        """Returns the best matching indices: of the exact name, a path, its end, or its stem."""
        if name in self._index_of:
            return [self._index_of[name]]
        wanted = _path(name)
        for by in (self._by_name, self._by_stem):
            if fitting := self._in_folders(wanted, by.get(wanted.name, ())):
                return fitting
        if name != name.strip():
            return self.find(name.strip())
        return self._in_folders(wanted, self._alike(wanted.name))

    def _in_folders(self, wanted: PurePosixPath, indices: Sequence[int]) -> list[int]:
        """Returns the indices whose folders are those wanted, of the same depth if there are."""
        fitting = [i for i in indices if same_folders(wanted, self._paths[i])]
        return [i for i in fitting if len(self._paths[i].parts) == len(wanted.parts)] or fitting

    def _alike(self, name: str) -> Sequence[int]:
        """Returns the indices of a name in other case, or of a number with other zeros.

        Samples are written on systems to which A.PNG is a.png, and spreadsheets say 7 for 007.
        """
        if not self._by_plain:
            for index, path in enumerate(self._paths):
                for key in {_plain(path.name), _plain(path.stem)}:
                    self._by_plain.setdefault(key, []).append(index)
        return self._by_plain.get(_plain(name), ())


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/"))


def _plain(name: str) -> str:
    """Returns a name in lower case, without zeros before a number that is all of it.

    >>> _plain("A.PNG"), _plain("007.png"), _plain("x007.png")
    ('a.png', '7.png', 'x007.png')
    """
    return _ZEROS.sub("", name.lower())


def match_columns(columns: Sequence[str], classes: Sequence[str], where: str) -> list[int]:
    """Returns the class of each column.

    One rule holds for all columns, the first that fits them: the class's name, exact or in any
    spelling (case, blanks, `_`, `-`), with or without a prefix such as class_ or label-; or the
    class's index from 0 where no class has a number for a name.

    Args:
        columns: without that of the ids.
        classes: K names.
        where: the file of the columns, for messages.

    Raises:
        DataError: a column fits no class, or a class has no column.

    >>> match_columns(["class_dog", "class_cat"], ["cat", "dog"], "sample.csv")
    [1, 0]
    """
    known: set[str] = set()
    for rule in _rules(columns, classes):
        indices = [rule.get(column) for column in columns]
        fitting = [index for index in indices if index is not None]
        if len(fitting) == len(indices) and sorted(fitting) == list(range(len(classes))):
            return fitting
        known |= rule.keys()
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise DataError(
            f"{where}: the column {unknown[0]!r} is no class of the network; "
            f"its classes: {named(classes, 5)}"
        )
    raise DataError(
        f"{where} has {len(columns)} class columns and the network {len(classes)} classes, "
        f"which do not fit one to one; its classes: {named(classes, 5)}"
    )


def _rules(columns: Sequence[str], classes: Sequence[str]) -> list[dict[str, int]]:
    """Returns for each rule the class index of the columns that it covers."""
    exact = {name: index for index, name in enumerate(classes)}
    loose = unique_spellings(classes)
    numbers = {} if any(n.isdecimal() for n in classes) else _numbers(len(classes))
    rules = []
    for names, key in ((exact, str.strip), (loose, plain_spelling), (numbers, str.strip)):
        for bare in (False, True):
            keys = {c: key(_PREFIX.sub("", c.strip()) if bare else c) for c in columns}
            rules.append({c: names[k] for c, k in keys.items() if k in names})
    return rules


def _numbers(count: int) -> dict[str, int]:
    return {str(index): index for index in range(count)}


def unique_spellings(classes: Sequence[str]) -> Mapping[str, int]:
    """Returns the class index of each plain spelling that only one class has.

    >>> dict(unique_spellings(["A", "a", "Big dog"]))
    {'big dog': 2}
    """
    plains = [plain_spelling(name) for name in classes]
    return {name: index for index, name in enumerate(plains) if plains.count(name) == 1}


def plain_spelling(name: str) -> str:
    """Returns a name without case, and with blanks for `_` and `-`.

    >>> plain_spelling(" Big_Dog")
    'big dog'
    """
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name).strip()).casefold()
