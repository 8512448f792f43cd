"""Which image an id means, and which class a column means.

Nothing is guessed where two answers fit: a wrong match would be a wrong prediction that nobody
sees.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from ravine.core.errors import DataError

_PREFIX = re.compile(r"(?i)^(class|label|prob|probability|target|p|is)[ _-]+")


def match_ids(ids: Sequence[str], names: Sequence[str], where: str) -> list[int]:
    """Returns for each id the place of its image among `names`.

    An id is the path, the end of the path, or one of these without the image's ending. A folder
    that both tell has to be the same.

    Args:
        ids: of any file system: backslashes and letters with separate accents are understood.
        names: paths of images.
        where: the file of the ids, for messages.

    Raises:
        DataError: an image is missing, an id fits several, or two ids fit one image.

    >>> match_ids(["b/1", "2.png"], ["a/1.png", "b/1.png", "a/2.png"], "sample.csv")
    [1, 2]
    """
    index = _Index(names)
    found = [index.find(name) for name in ids]
    missing: list[str] = []
    id_of: dict[int, str] = {}
    for name, fitting in zip(ids, found, strict=True):
        if not fitting:
            missing.append(name)
        elif len(fitting) > 1:
            first, second = (names[place] for place in fitting[:2])
            raise DataError(
                f"{where}: the id {name!r} fits {first} and {second}; "
                "predict only the folder that is meant"
            )
        elif fitting[0] in id_of:
            raise DataError(
                f"{where}: the ids {id_of[fitting[0]]!r} and {name!r} both fit "
                f"{names[fitting[0]]}, and an image answers one id only; nothing written"
            )
        else:
            id_of[fitting[0]] = name
    if missing:
        shown = ", ".join(repr(name) for name in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"{where}: no readable image for {len(missing)} of {len(ids)} ids: {shown}{more}; "
            "nothing written"
        )
    return [fitting[0] for fitting in found]


class _Index:
    def __init__(self, names: Sequence[str]) -> None:
        self._place = {name: place for place, name in enumerate(names)}
        self._paths = [_path(name) for name in names]
        self._last: dict[str, list[int]] = {}
        self._stem: dict[str, list[int]] = {}
        for place, path in enumerate(self._paths):
            self._last.setdefault(path.name, []).append(place)
            self._stem.setdefault(path.stem, []).append(place)

    def find(self, name: str) -> list[int]:
        """Returns the places that fit best: as it stands, as a path, its end, without ending."""
        if name in self._place:
            return [self._place[name]]
        wanted = _path(name)
        for by in (self._last, self._stem):
            fitting = [p for p in by.get(wanted.name, ()) if _agree(wanted, self._paths[p])]
            whole = [p for p in fitting if len(self._paths[p].parts) == len(wanted.parts)]
            if fitting:
                return whole or fitting
        return self.find(name.strip()) if name != name.strip() else []


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/"))


def _agree(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Returns whether two paths name the same folders as far as both tell."""
    pairs = zip(one.parts[-2::-1], other.parts[-2::-1], strict=False)
    return all(a == b for a, b in pairs)


def match_columns(columns: Sequence[str], classes: Sequence[str], where: str) -> list[int]:
    """Returns the class of each column.

    All columns follow one rule, the first that fits all: the class's name, spelled as it is or
    freely (case, blanks, `_`, `-`), either also behind a prefix such as class_ or label-, or the
    class's number from 0 where no class has a number for a name.

    Args:
        columns: without the id's.
        classes: K names.
        where: the file of the columns, for messages.

    Raises:
        DataError: a column fits no class, or a class has no column.

    >>> match_columns(["class_dog", "class_cat"], ["cat", "dog"], "sample.csv")
    [1, 0]
    """
    known: set[str] = set()
    for rule in _rules(columns, classes):
        places = [rule.get(column) for column in columns]
        fitting = [place for place in places if place is not None]
        if len(fitting) == len(places) and sorted(fitting) == list(range(len(classes))):
            return fitting
        known |= rule.keys()
    strange = [column for column in columns if column not in known]
    if strange:
        raise DataError(
            f"{where}: the column {strange[0]!r} is no class of the network; "
            f"its classes: {', '.join(list(classes)[:20])}"
        )
    raise DataError(
        f"{where} has {len(columns)} class columns and the network {len(classes)} classes, "
        f"which do not fit one to one; its classes: {', '.join(list(classes)[:20])}"
    )


def _rules(columns: Sequence[str], classes: Sequence[str]) -> list[dict[str, int]]:
    """Returns for each rule the class of the columns that it knows."""
    exact = {name: place for place, name in enumerate(classes)}
    loose = spelled_freely(classes)
    numbers = {} if any(n.isdecimal() for n in classes) else _numbers(len(classes))
    rules = []
    for names, key in ((exact, str.strip), (loose, plain), (numbers, str.strip)):
        for bare in (False, True):
            keys = {c: key(_PREFIX.sub("", c.strip()) if bare else c) for c in columns}
            rules.append({c: names[k] for c, k in keys.items() if k in names})
    return rules


def _numbers(count: int) -> dict[str, int]:
    return {str(place): place for place in range(count)}


def spelled_freely(classes: Sequence[str]) -> Mapping[str, int]:
    """Returns the class of each plain spelling that only one class has.

    >>> dict(spelled_freely(["A", "a", "Big dog"]))
    {'big dog': 2}
    """
    plains = [plain(name) for name in classes]
    return {name: place for place, name in enumerate(plains) if plains.count(name) == 1}


def plain(name: str) -> str:
    """Returns a name without case, and with blanks for `_` and `-`.

    >>> plain(" Big_Dog")
    'big dog'
    """
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name).strip()).casefold()
