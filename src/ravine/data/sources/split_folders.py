"""Which folders of a tree are splits: found by their names and by what is next to them.

`d/train/cat`, `d/seg_train/seg_train/sea`, `d/images/validation/angry` and `d/cat/train` name a
split; `d/{bus,car,train}` has a class of that name, as its neighbours are classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ravine.core.errors import DataError
from ravine.data.sources.split_words import UNLABELLED, split_group, split_of_sibling, split_word
from ravine.data.understanding import shortened

Path = tuple[str, ...]


@dataclass(slots=True)
class _Node:
    path: Path
    has_images: bool = False
    children: dict[str, "_Node"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SplitFolder:
    """A folder that holds images directly.

    Attributes:
        path: its folders, from the top.
        split: train, validation, test or unlabelled; None if no folder above names one.
        kept: indices in `path` of the folders that are no splits.
        root: number of folders down to the innermost split.
        said: the folders that name the split, as a path.
    """

    path: Path
    split: str | None
    kept: tuple[int, ...]
    root: int
    said: str


def find_splits(
    folders: Iterable[Path], where: str, *, class_level: int | None
) -> list[SplitFolder]:
    """Returns the split of each folder that holds images directly.

    Args:
        folders: their paths, from the top.
        where: the tree, for messages.
        class_level: folders at this level, from 1, are classes whatever they are called.

    Raises:
        DataError: a folder may be a split or a class, or two on one path name different splits.
    """
    top = _grown(folders)
    found = list(_walk(top, where, class_level, flat=True))
    if _is_mixed(found):  # toys/train next to vehicles/{bus,train}: the last folder is a class
        found = list(_walk(top, where, class_level, flat=False))
    if _is_mixed(found):
        with_split = next(one for one in found if one.split is not None)
        without = next(one for one in found if one.split is None and one.path)
        raise DataError(
            f"{where}: {_shown(with_split.path)} is in a split ({with_split.split}) and "
            f"{_shown(without.path)} in none; move one of them; if the split is a class: "
            f"--class-level {with_split.root}"
        )
    return found


def _grown(folders: Iterable[Path]) -> _Node:
    top = _Node(())
    for path in folders:
        node = top
        for name in path:
            node = node.children.setdefault(name, _Node((*node.path, name)))
        node.has_images = True
    return top


def _is_mixed(found: list[SplitFolder]) -> bool:
    return len({one.split is None for one in found if one.path}) > 1


def _walk(
    node: _Node,
    where: str,
    class_level: int | None,
    *,
    flat: bool,
    split: str | None = None,
    splits_at: tuple[int, ...] = (),
    is_only: bool = True,
) -> Iterable[SplitFolder]:
    depth = len(node.path)
    if node.has_images:
        kept = tuple(i for i in range(depth) if i not in splits_at)
        root = splits_at[-1] + 1 if splits_at else 0
        yield SplitFolder(node.path, split, kept, root, "/".join(node.path[:root]))
    found: dict[str, str] = {}
    if class_level != depth + 1:
        found = _splits_at(node, where, flat=flat) or _only_one(node, split, is_only=is_only)
    is_only = is_only and len(node.children) == 1
    for name, child in node.children.items():
        inner = found.get(name, split)
        if name in found and split not in (None, inner) and class_level is None:
            below = len(child.path) + 1
            level = "" if child.has_images else f"; if it is {inner}: --class-level {below}"
            raise DataError(
                f"{where}: {_shown(child.path)} names two splits, {split} and {inner}; rename one"
                f"{level}"
            )
        at = (*splits_at, depth) if name in found else splits_at
        yield from _walk(
            child, where, class_level, flat=flat, split=inner, splits_at=at, is_only=is_only
        )


def _only_one(node: _Node, split: str | None, *, is_only: bool) -> dict[str, str]:
    """Returns the split of a folder without others next to it.

    It holds all others, such as `my_flowers_train`, or is that of a split once more, such as the
    second `seg_train` of `seg_train/seg_train`.
    """
    if len(node.children) != 1:
        return {}
    name, child = next(iter(node.children.items()))
    word = split_word(name)
    if word is None:
        return {}
    again = word[0] == split
    return {name: word[0]} if again or (is_only and not child.has_images) else {}


def _splits_at(node: _Node, where: str, *, flat: bool) -> dict[str, str]:
    """Returns the splits among the folders in one folder, by name."""
    found = {**split_group(node.children), **_siblings(node)}
    others = [name for name in node.children if name not in found]
    deep = [name for name in found if not node.children[name].has_images]
    if not others:
        return found if flat or deep else {}
    level = len(node.path) + 1
    place = "/".join((where, *(shortened(name, 20) for name in node.path)))
    other = shortened(others[0], 20)
    if deep and set(found) <= set(node.children[others[0]].children):
        raise DataError(
            f"{place} and {other}/ in it have the same splits, such as {shortened(deep[0], 20)}/: "
            f"a copy? Name one of them: {place}/{other}, or move {other}/ away"
        )
    if deep:
        raise DataError(
            f"{place} has {shortened(deep[0], 20)}/ for a split and also {other}/ with images; "
            f"move {other}/ away or into a split; if they are classes: --class-level {level}"
        )
    # A class may be called `train`: training images without classes would be of no use there.
    doubtful = [name for name, split in found.items() if split != "train"]
    if doubtful:
        raise DataError(
            f"{place} has {shortened(doubtful[0], 20)}/ with images next to {other}/: if it is a "
            f"class: --class-level {level}; if it is the {_what(found[doubtful[0]])}, move it away"
        )
    return {}


def _siblings(node: _Node) -> dict[str, str]:
    """Returns the splits of `birds` next to `birds-test`, where both hold folders of one name."""
    found: dict[str, str] = {}
    for name, (split, base) in split_of_sibling(node.children).items():
        own, other = node.children[name], node.children[base]
        if not (own.has_images or other.has_images) and set(own.children) & set(other.children):
            found |= {name: split, base: "train"}
    return found


def _what(split: str) -> str:
    return "unlabelled images" if split == UNLABELLED else f"{split} split"


def _shown(path: Path) -> str:
    return shortened("/".join(path), 28) + "/"
