"""The class and the split of each image of a tree, from its path: of a folder, or inside a tar."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ravine.core.errors import DataError
from ravine.data.class_spelling import plain_class
from ravine.data.sources.class_levels import ClassRule, Path, check_class_level, choose_rule
from ravine.data.sources.split_folders import SplitFolder, find_splits
from ravine.data.sources.split_words import UNLABELLED, split_of
from ravine.data.understanding import shortened


@dataclass(frozen=True, slots=True)
class ClassTree:
    """Classes and splits of the folders that hold images.

    Attributes:
        labels: class of each folder; "" if its images have none.
        splits: train, validation or test of each folder, or None.
        said: where the classes come from, in words.
        note: what else could be meant, with its option, or "".
        roots: the split of each folder that names one and has labels, by its path.
        parents: the folders that hold class folders.
    """

    labels: Mapping[Path, str]
    splits: Mapping[Path, str | None]
    said: str
    note: str
    roots: Mapping[str, str]
    parents: frozenset[Path]

    @property
    def has_training_classes(self) -> bool:
        """Whether a folder holds images to train on, with a class."""
        own = self.splits.values()
        wanted = ("train",) if "train" in own else (None,) if None in own else tuple(set(own))
        return any(label and self.splits[path] in wanted for path, label in self.labels.items())

    def splits_said(self, given: Iterable[str | None] | None = None) -> str:
        """Returns which folders are splits, for the line of what was understood.

        Args:
            given: the splits of the images that have a label, if not all of `roots`.
        """
        shown_splits = set(self.roots.values()) if given is None else set(given)
        named: dict[str, list[str]] = {}
        for root, split in self.roots.items():
            if split not in shown_splits:
                continue
            named.setdefault(split, []).append(root)
        shown = []
        for split, roots in named.items():
            last = {root.rpartition("/")[2] for root in roots}
            one = roots[0] if len(roots) == 1 else "…/" + "|".join(sorted(last))
            shown.append(f"{split} {one}/")
        return f"splits: {', '.join(shown)}" if shown else ""


def folder_of(name: str) -> Path:
    """Returns the folders of an image's path.

    >>> folder_of("a/b/1.png")
    ('a', 'b')
    """
    return tuple(name.split("/")[:-1])


def read_class_tree(folders: Iterable[Path], where: str, class_level: str | None) -> ClassTree:
    """Returns the classes and splits of the folders that hold images directly.

    Args:
        folders: their paths, from the top.
        where: the tree, for messages.
        class_level: as the setting; None to find the level.

    Raises:
        DataError: two readings are likely; the message names the option for each.
        SettingError: `class_level` is no level.
    """
    if class_level is not None:
        check_class_level(class_level)
    level = None if class_level in (None, "leaf") else int(str(class_level).rstrip("+"))
    found = find_splits(folders, where, class_level=level)
    if class_level is None:
        rule = _chosen(found, where)
    else:
        rule = ClassRule("leaf folders" if level is None else f"folders of level {class_level}")
    labels = {one.path: _label(one, rule, class_level) for one in found}
    if class_level is None:
        _settle_other_splits(labels, found, where)
        _refuse_splits_as_classes(labels, where)
    elif not any(labels.values()):
        raise DataError(f"{where} has no folder with images at --class-level {class_level}")
    return ClassTree(
        labels=labels,
        splits={one.path: None if one.split == UNLABELLED else one.split for one in found},
        said=rule.said,
        note=rule.note,
        roots={one.said: one.split for one in found if one.split and labels[one.path]},
        parents=frozenset(_parents(found, labels, rule, level)),
    )


def read_split_tree(folders: Iterable[Path], where: str, class_level: str | None) -> ClassTree:
    """Returns the splits only, for images whose folders are no classes.

    The label of a folder is its split, or "" for none. The arguments are those of
    `read_class_tree`; at a `class_level` no folder is a split.
    """
    if class_level is not None:
        check_class_level(class_level)
    level = None if class_level in (None, "leaf") else int(str(class_level).rstrip("+"))
    found = find_splits(folders, where, class_level=level)
    return ClassTree(
        labels={one.path: one.split or "" for one in found},
        splits={one.path: None if one.split == UNLABELLED else one.split for one in found},
        said="",
        note="",
        roots={one.said: one.split for one in found if one.split not in (None, UNLABELLED)},
        parents=frozenset(),
    )


def _kept(one: SplitFolder) -> Path:
    return tuple(one.path[index] for index in one.kept)


def _training(found: Sequence[SplitFolder]) -> list[SplitFolder]:
    """Returns the folders that are trained on; without any, all that may have labels."""
    for wanted in ("train", None):
        if chosen := [one for one in found if one.split == wanted and one.kept]:
            return chosen
    return [one for one in found if one.split != UNLABELLED]


def _chosen(found: Sequence[SplitFolder], where: str) -> ClassRule:
    training = _training(found)
    deepest = max(training, key=lambda one: len(one.kept), default=None)
    levels = deepest.kept if deepest is not None else ()
    return choose_rule(map(_kept, training), where, lambda index: levels[index] + 1)


def _label(one: SplitFolder, rule: ClassRule, class_level: str | None) -> str:
    if one.split == UNLABELLED:
        return ""
    if class_level is None:
        return rule.name_of(_kept(one))
    if class_level == "leaf":
        return one.path[one.kept[-1]] if one.kept else ""
    first = int(class_level.rstrip("+")) - 1
    below = [one.path[index] for index in one.kept if index >= first]
    if first not in one.kept:
        return ""
    return "/".join(below) if class_level.endswith("+") else below[0]


def _settle_other_splits(labels: dict[Path, str], found: Sequence[SplitFolder], where: str) -> None:
    """Takes the leaf where a split is laid out otherwise, and no class where it has none.

    `test/images/1.jpg` next to `train/cat/1.jpg` has no label: `images` is no class of train.
    """
    known = {labels[one.path] for one in _training(found)} - {""}
    plain = {plain_class(name) for name in known}
    if not any(one.split == "train" for one in found):
        return
    for root in {one.said for one in found if one.split not in ("train", None, UNLABELLED)}:
        members = [one for one in found if one.said == root]
        if any(plain_class(labels[one.path]) in plain for one in members):
            continue  # a name in another spelling is made one class later
        strange = sorted({labels[one.path] for one in members} - {""})
        if members[0].split == "validation" and len(strange) > 1 and known:
            raise DataError(
                f"{where}: {shortened(root, 30)}/ holds {shortened(strange[0], 20)}/ and "
                f"{shortened(strange[1], 20)}/, which are no classes of the training split, such "
                f"as {shortened(min(known), 20)}; name them alike"
            )
        for one in members:
            leaf = one.path[one.kept[-1]] if one.kept else ""
            labels[one.path] = leaf if plain_class(leaf) in plain else ""


def _refuse_splits_as_classes(labels: Mapping[Path, str], where: str) -> None:
    splits = {label: split_of(label.rpartition("/")[2]) for label in labels.values() if label}
    has_others = None in splits.values()
    for label, split in sorted(splits.items()):
        if split is not None and not (split == "train" and has_others):
            path = next(path for path, one in labels.items() if one == label)
            level = 1 + max(index for index, name in enumerate(path) if label.endswith(name))
            raise DataError(
                f"{where}: {label}/ would be a class and is the name of a split ({split}); rename "
                f"it; if it is a class: --class-level {level}"
            )


def _parents(
    found: Sequence[SplitFolder], labels: Mapping[Path, str], rule: ClassRule, level: int | None
) -> Iterable[Path]:
    for one in found:
        if not labels[one.path]:
            continue
        index = rule.index_in(_kept(one))
        at = level - 1 if level is not None else one.kept[-1 if index is None else index]
        yield one.path[:at]


def unlabelled_said(names: Iterable[str]) -> tuple[str, ...]:
    """Returns where images without a class lie, each folder with its count."""
    counts = Counter(name.partition("/")[0] if "/" in name else "" for name in names)
    return tuple(
        f"{count:,} unlabelled in {folder}/"
        if folder
        else f"{count:,} unlabelled above the classes"
        for folder, count in counts.most_common(4)
    )
