"""Which folder of a path is the class: the only one, the first, the last, or all below a sorter.

`d/Birds/{crow,magpie}` and `d/Plants/{rose,daisy}` hold four classes, sorted; `d/cat/{2019,2020}`
and `d/dog/{2019,2020}` hold two. Where names and tree do not decide, nothing is guessed: the
message names the option for each reading.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ravine.core.errors import DataError, SettingError
from ravine.data.sources.split_words import are_counters, are_folds, split_word
from ravine.data.understanding import shortened

Path = tuple[str, ...]
_LETTERS = 16  # of a name in a message
_LEVEL = re.compile(r"leaf|[1-9]\d?\+?")


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Which of the folders of an image, those of splits left out, is its class.

    Attributes:
        said: where the classes come from: "folders", "leaf folders".
        note: what else could be meant, with its option, or "".
        index: of the folder; -1 for the last.
        joined: whether the class is the path from there, and not the folder alone.
        dropped: number of last folders that have the same name everywhere.
    """

    said: str
    note: str = ""
    index: int = 0
    joined: bool = False
    dropped: int = 0

    def index_in(self, path: Path) -> int | None:
        """Returns the index of the class folder in a path, or None if it is not deep enough."""
        length = len(path) - self.dropped if len(path) > self.dropped else len(path)
        index = length - 1 if self.index < 0 else self.index
        return index if 0 <= index < len(path) else None

    def name_of(self, path: Path) -> str:
        """Returns the class, or "" if the path is not deep enough.

        >>> ClassRule("leaf folders", index=-1).name_of(("Birds", "crow"))
        'crow'
        """
        index = self.index_in(path)
        if index is None:
            return ""
        end = max(len(path) - self.dropped, index + 1)
        return "/".join(path[index:end]) if self.joined else path[index]


def check_class_level(value: str) -> None:
    """Raises `SettingError` unless a value of --class-level is a level, leaf, or like 2+."""
    if not _LEVEL.fullmatch(value):
        raise SettingError(
            f"--class-level {value!r}: wanted is a level counted from 1 below DATA, such as 2; "
            "2+ for the path from there; or leaf, the folder that holds the image"
        )


def choose_rule(paths: Iterable[Path], where: str, level_of: Callable[[int], int]) -> ClassRule:
    """Returns the rule for the folders, without splits, that hold training images.

    Args:
        paths: each folder once; `()` for images above all folders.
        where: the tree, for messages.
        level_of: the level below DATA, from 1, of an index in a path.

    Raises:
        DataError: two rules are likely.
    """
    found = sorted({path for path in paths if path})
    skip = _common(found)
    said = _Said(where, found[0][:skip] if found else (), level_of)
    return _rule([path[skip:] for path in found], said)


def _common(paths: Sequence[Path]) -> int:
    """Returns how many folders only wrap all others: `images` of images/cat and images/dog."""
    skip = 0
    while paths and min(map(len, paths)) > skip + 1 and len({path[skip] for path in paths}) == 1:
        skip += 1
    return skip


@dataclass(frozen=True, slots=True)
class _Said:
    where: str
    wrappers: Path
    level_of: Callable[[int], int]

    def option(self, index: int) -> str:
        return f"--class-level {self.level_of(len(self.wrappers) + index)}"

    def first(self, note: str = "") -> ClassRule:
        inside = f" of {'/'.join(self.wrappers)}/" if self.wrappers else ""
        return ClassRule(f"folders{inside}", note, index=len(self.wrappers))


def _rule(below: Sequence[Path], said: _Said) -> ClassRule:
    depths = {len(path) for path in below}
    _refuse_folds(below, said)
    if depths <= {1}:
        return said.first()
    return _rule_of_mixed(below, said) if 1 in depths else _rule_of_nested(below, said)


def _rule_of_mixed(below: Sequence[Path], said: _Said) -> ClassRule:
    """Returns the rule where some folders hold images, and others, or these too, hold folders."""
    with_images = {path[0] for path in below if len(path) == 1}
    only_sort = sorted({path[0] for path in below} - with_images)
    inner = sum(len(path) > 1 for path in below)
    if not only_sort:
        return said.first(
            f"the {inner} folders below are part of them; on their own: --class-level leaf"
        )
    example = next(path for path in below if path[0] == only_sort[0])
    first = shortened(only_sort[0], _LETTERS)
    if {path[1] for path in below if path[0] == only_sort[0]} <= with_images:
        place = "/".join((said.where, *said.wrappers))
        remedy = f"a copy? Name {first}/, or move it away"
        if split_word(only_sort[0]) is not None:
            remedy = f"for that split, move {_few(with_images)} into a folder train/"
        raise DataError(f"{place} and {first}/ in it have the same classes: {remedy}")
    raise DataError(
        f"{said.where}: {_few(with_images)} hold images, {first} only folders: if {first} is a "
        f"class: {said.option(0)}; if {shortened(example[-1], _LETTERS)} is one: --class-level leaf"
    )


def _rule_of_nested(below: Sequence[Path], said: _Said) -> ClassRule:
    """Returns the rule where every image is two or more folders deep."""
    first = sorted({path[0] for path in below})
    parents: dict[str, set[Path]] = {}
    for path in below:
        parents.setdefault(path[-1], set()).add(path[:-1])
    leaves = sorted(parents)
    if len(leaves) == 1:  # cat/images, dog/images
        rule = _rule(sorted({path[:-1] for path in below}), said)
        return replace(rule, dropped=rule.dropped + 1)
    if _are_initials(below):
        inner = len(said.wrappers) + 1
        return ClassRule(f"folders below {len(first)} letters", index=inner, joined=True)
    first_note = f"the {len(first)} folders above, {_few(first)}: {said.option(0)}"
    leaf_note = f"the {len(leaves)} folders below, {_few(leaves)}: --class-level leaf"
    count_first, count_leaf = are_counters(first), are_counters(leaves)
    unique = len(leaves) == len(below)
    if (count_leaf or _repeat_their_parent(below)) and not count_first:
        return said.first(leaf_note)
    if unique:
        return ClassRule("leaf folders", first_note, index=-1)
    if count_first and not count_leaf:
        return ClassRule("leaf folders, those of one name together", first_note, index=-1)
    raise DataError(
        f"{said.where}: are the classes {_few(first)} ({said.option(0)}), or {_few(leaves)} below "
        "them, those of one name together (--class-level leaf)? Say which"
    )


def _repeat_their_parent(below: Sequence[Path]) -> bool:
    """Returns whether the last folders number what the first name: `Archery/v_Archery_g01`."""
    return all(path[0] in path[-1] and any(map(str.isdigit, path[-1])) for path in below)


def _are_initials(below: Sequence[Path]) -> bool:
    """Returns whether the first folders are the first letters of those below, as in SUN397."""
    firsts = {path[0] for path in below}
    return len(firsts) > 1 and all(
        len(path[0]) == 1 and path[1].casefold().startswith(path[0].casefold()) for path in below
    )


def _refuse_folds(below: Sequence[Path], said: _Said) -> None:
    first, last = sorted({path[0] for path in below}), sorted({path[-1] for path in below})
    deep = any(len(path) > 1 for path in below)
    if are_folds(first) and not deep:
        raise DataError(
            f"{said.where}: {_few(first)} are folds and hold no class folders; name the classes: "
            "--label-from-name PATTERN, or a table: --labels FILE.csv"
        )
    if are_folds(first):
        raise DataError(
            f"{said.where}: {_few(first)} are folds, not classes; to take the folders below, all "
            f"folds together: {said.option(1)}"
        )
    if deep and are_folds(last):
        raise DataError(
            f"{said.where}: {_few(last)} are folds, not classes; to take the folders above, all "
            f"folds together: {said.option(0)}"
        )


def _few(names: Iterable[str]) -> str:
    """Returns the first two names, each of at most 16 letters."""
    shown = [shortened(name, _LETTERS) for name in sorted(names)]
    return ", ".join(shown[:2]) + (" …" if len(shown) > 2 else "")
