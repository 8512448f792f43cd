"""Tar shards as WebDataset names them (https://github.com/webdataset/webdataset).

Members of one name up to the first dot of its last part are one sample: an image, and its label
as text in NAME.cls or as "label" or "cls" in NAME.json. Where no sample has a label, every image
is a sample and its folders are read as those on a disk are (`class_tree`); of tars without
folders that are called after classes (`cats.tar`, `n01440764.tar`), each holds one class. Only
headers, labels and the byte ranges of the images are read here.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ravine.core.errors import DataError, SettingError
from ravine.core.progress import Progress
from ravine.core.regular_file import open_regular
from ravine.data.collection import Collection, FileEntry
from ravine.data.settings import DataSettings
from ravine.data.sources.class_tree import (
    ClassTree,
    folder_of,
    read_class_tree,
    read_split_tree,
    unlabelled_said,
)
from ravine.data.sources.folders import collected
from ravine.data.sources.listing import EXTENSIONS, folders_in, image_files, printable
from ravine.data.sources.name_labels import (
    name_pattern,
    proposed_form,
    without_strange_splits,
)
from ravine.data.sources.split_words import UNLABELLED, are_parts, split_group, split_word
from ravine.data.sources.table_file import shown_path
from ravine.data.sources.tar import Member, compressed, members
from ravine.data.understanding import Understood

_LABELS = frozenset({".cls", ".json"})
_WORDNET = re.compile(r"n\d{8}")  # ImageNet has a tar for each class
_LARGEST_LABEL = 1 << 20  # bytes
_LONGEST_NAME = 200  # letters of a class
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file.

    Attributes:
        path: of the file.
        name: its path below the folder that the user named.
        split: train, validation, test or unlabelled, as its name says, or None.
    """

    path: Path
    name: str
    split: str | None


@dataclass(slots=True)
class _Sample:
    """The members of one name: images, and what `.cls` and `.json` say."""

    images: list[tuple[str, FileEntry]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.labels.get(".cls") or self.labels.get(".json") or ""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image of a shard with its label, which may be empty."""

    name: str
    entry: FileEntry
    label: str
    member: str
    shard: Shard


def is_shard(path: Path) -> bool:
    """Returns whether a file's name is that of a tar, compressed or not."""
    return path.name.lower().endswith((".tar", *_COMPRESSED))


def shards_in(root: Path) -> list[Shard]:
    """Returns the tars in a folder or in its folders train, val and test.

    Empty where the folder also holds images: the tar is then their archive.
    """
    found = [Shard(path, printable(path.name), _split(path.name)) for path in _tars(root)]
    for name, split in split_group(folders_in(root)).items():
        inner = _tars(root / name)
        found += [Shard(path, f"{name}/{printable(path.name)}", split) for path in inner]
    return [] if found and any(True for _ in image_files(root)) else found


def _tars(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if is_shard(path) and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def _split(name: str) -> str | None:
    found = split_word(name.partition(".")[0])
    return found[0] if found else None


def one_shard(path: Path) -> list[Shard]:
    """Returns a single tar as a shard without a split."""
    return [Shard(path, printable(path.name), None)]


def read_shards(
    shards: Sequence[Shard], progress: Progress, settings: DataSettings | None = None
) -> Collection:
    """Returns the images of tar shards; only their byte ranges are read.

    Args:
        shards: in the order of their images.
        progress: called while reading.
        settings: `class_level` and `label_from_name`, where no sample has a label of its own.

    Raises:
        DataError: a shard is compressed or torn, a sample has two images, or nothing has a label.
    """
    images: list[_Image] = []
    without_image: list[str] = []
    labelled: bool | None = None  # whether labels are in files of their own: as in the first shard
    for number, shard in enumerate(shards):
        progress("reading shards", number, len(shards))
        samples = _read_shard(shard.path)
        has_labels = any(sample.label for sample in samples.values())
        if labelled is None and (has_labels or any(one.images for one in samples.values())):
            labelled = has_labels
        if has_labels and not labelled:
            raise _packed_in_two_ways(shard)
        images += _images_of(shard, samples, labelled=bool(labelled))
        without_image += _labels_without_image(shard, samples)
    progress("reading shards", len(shards), len(shards))
    return _collected(shards, images, without_image, settings or DataSettings(), bool(labelled))


def _collected(
    shards: Sequence[Shard],
    images: Sequence[_Image],
    without_image: Sequence[str],
    settings: DataSettings,
    labelled: bool,
) -> Collection:
    tree = _tree(shards, images, settings, labelled)
    labels = _labels(images, tree, settings, labelled)
    by_tar = not (any(labels) or labelled) and _are_classes(shards)
    if by_tar:
        labels = [_tar_name(image.shard) for image in images]
    if not any(labels):
        raise _nothing(shards, [image.member for image in images], labelled=labelled)
    splits = [_joined(image.shard, tree.splits[folder_of(image.member)]) for image in images]
    labels = ["" if s == UNLABELLED else one for s, one in zip(splits, labels, strict=True)]
    note = f" (not {tree.note})" if tree.note else ""
    if settings.label_from_name is not None:
        labels, note = without_strange_splits(labels, splits)
    if not by_tar:
        _refuse_shards_without_split(shards)
    found = collected([(image.name, image.entry) for image in images], labels, splits)
    said = "labels in .cls or .json" if labelled else tree.said or "from file names"
    said = "names of the tars" if by_tar else said
    names = [image.member for image, label in zip(images, labels, strict=True) if not label]
    understood = Understood(
        "shards",
        f"{said}, {len(found.classes):,}{note}",
        _splits_said(shards, tree),
        unlabelled_said(names),
    )
    return replace(found, unlabelled=[*found.unlabelled, *without_image], understood=understood)


def _splits_said(shards: Sequence[Shard], tree: ClassTree) -> str:
    named = sorted({shard.split for shard in shards if shard.split})
    return (
        f"splits: by the names of the shards, {', '.join(named)}" if named else tree.splits_said()
    )


def _tree(
    shards: Sequence[Shard], images: Sequence[_Image], settings: DataSettings, labelled: bool
) -> ClassTree:
    where = shown_path(shards[0].path if len(shards) == 1 else shards[0].path.parent)
    folders = dict.fromkeys(folder_of(image.member) for image in images)
    if labelled and (settings.class_level or settings.label_from_name):
        option = "class-level" if settings.class_level else "label-from-name"
        raise SettingError(
            f"--{option} has no effect: {where} has its labels in .cls or .json; drop it"
        )
    if labelled or settings.label_from_name is not None:
        return read_split_tree(folders, where, settings.class_level)
    return read_class_tree(folders, where, settings.class_level)


def _labels(
    images: Sequence[_Image], tree: ClassTree, settings: DataSettings, labelled: bool
) -> list[str]:
    if labelled:
        return [image.label for image in images]
    if settings.label_from_name is None:
        return [tree.labels[folder_of(image.member)] for image in images]
    pattern = name_pattern(settings.label_from_name)
    members = [image.member for image in images]
    return [
        "" if tree.labels[folder_of(member)] == UNLABELLED else pattern.label_of(member)
        for member in members
    ]


def _are_classes(shards: Sequence[Shard]) -> bool:
    """Returns whether the tars are called after classes, and not numbered."""
    names = {_tar_name(shard) for shard in shards}
    plain = {name.rstrip("0123456789").rstrip(" _.-") for name in names}
    inside = all("/" in shard.name for shard in shards)
    numbered = len(plain) < 2 and not all(_WORDNET.fullmatch(name) for name in names)
    splits = not inside and any(shard.split for shard in shards)
    return len(names) > 1 and "" not in plain and not (numbered or splits or are_parts(names))


def _tar_name(shard: Shard) -> str:
    return shard.name.rpartition("/")[2][: -len(".tar")]


def _joined(shard: Shard, inner: str | None) -> str | None:
    """Returns the split of an image by its shard's name and by its folders in the shard."""
    if shard.split is not None and inner is not None and shard.split != inner:
        raise DataError(
            f"{shard.path} is named for {shard.split} and has a folder for {inner}; rename it"
        )
    return inner if shard.split is None else shard.split


def _images_of(shard: Shard, samples: Mapping[str, _Sample], *, labelled: bool) -> list[_Image]:
    """Returns the images of a shard in the order of their bytes."""
    images_of = _by_label if labelled else _by_folder
    found = [image for name, sample in samples.items() for image in images_of(shard, name, sample)]
    return sorted(found, key=lambda image: image.entry.offset or 0)


def _labels_without_image(shard: Shard, samples: Mapping[str, _Sample]) -> list[str]:
    return [
        f"{shard.name}/{printable(name)} (a label without an image)"
        for name, sample in samples.items()
        if sample.label and not sample.images
    ]


def images_in(path: Path) -> list[tuple[str, FileEntry]]:
    """Returns (name, entry) of every image of one shard, with or without a label.

    Raises:
        DataError: the shard is compressed or torn.
    """
    samples = _read_shard(path).values()
    return [(printable(name), entry) for sample in samples for name, entry in sample.images]


def _read_shard(path: Path) -> dict[str, _Sample]:
    if path.name.lower().endswith(_COMPRESSED):
        raise compressed(path)
    samples: dict[str, _Sample] = {}
    try:
        with open_regular(path) as file:
            facts = os.fstat(file.fileno())
            for member in members(path, file, EXTENSIONS | _LABELS):
                folder, slash, last = member.name.rpartition("/")
                stem, _, rest = last.partition(".")
                sample = samples.setdefault(f"{folder}{slash}{stem}", _Sample())
                ending = f".{rest.lower()}"
                if ending in _LABELS:
                    sample.labels[ending] = _label(path, file, member, ending)
                elif PurePosixPath(last).suffix.lower() not in _LABELS:
                    sample.images.append((member.name, _entry(path, facts, member)))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    return samples


def _entry(path: Path, facts: os.stat_result, member: Member) -> FileEntry:
    return FileEntry(
        path=str(path),
        size=facts.st_size,
        modified=facts.st_mtime_ns,
        offset=member.offset,
        length=member.length,
    )


def _label(path: Path, file: BinaryIO, member: Member, ending: str) -> str:
    """Returns the label in a member; empty where a JSON has none.

    Raises:
        DataError: the member is no text, or no JSON, or too long to be a label.
    """
    if member.length <= _LARGEST_LABEL:
        file.seek(member.offset)
        try:
            text = file.read(member.length).decode("utf-8")
            label = (_from_json(text) if ending == ".json" else text).strip()
        except (ValueError, RecursionError):
            label = "\n"
        if len(label) <= _LONGEST_NAME and label.isprintable():
            return label
    raise DataError(
        f"{path}: {printable(member.name)} holds no label; wanted is a number or the name of a "
        'class, in a .json under "label" or "cls"'
    )


def _from_json(text: str) -> str:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("no object")
    for key in ("label", "cls"):
        value = content.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
    return ""


def _by_label(shard: Shard, name: str, sample: _Sample) -> Iterator[_Image]:
    """Yields the one image of a sample; of photo.jpg and photo.mask.png it is photo.jpg."""
    plain = [pair for pair in sample.images if pair[0].rpartition("/")[2].count(".") == 1]
    images = plain or sample.images
    if len(images) > 1:
        first, second = (printable(member) for member, _ in images[:2])
        raise DataError(
            f"{shard.path}: {first} and {second} are both images of the sample "
            f"{printable(name)!r}, as a sample's name ends at its first dot; keep one of them, or "
            "rename them"
        )
    for member, entry in images:
        inside = printable(member)
        yield _Image(f"{shard.name}/{inside}", entry, sample.label, inside, shard)


def _by_folder(shard: Shard, _: str, sample: _Sample) -> Iterator[_Image]:
    for member, entry in sample.images:
        inside = printable(member)
        yield _Image(f"{shard.name}/{inside}", entry, "", inside, shard)


def _packed_in_two_ways(shard: Shard) -> DataError:
    return DataError(
        f"{shard.path} has labels in .cls or .json, the shards before it have none; pack all of "
        "them in one way"
    )


def _nothing(shards: Sequence[Shard], members: Sequence[str], *, labelled: bool) -> DataError:
    where = shards[0].path if len(shards) == 1 else shards[0].path.parent
    if labelled:
        return DataError(f"{where} holds no image with a label; wanted are NAME.jpg and NAME.cls")
    if (form := proposed_form(members)) is not None:
        return DataError(
            f"{where}: no image has a label; their names look like labels: --label-from-name {form}"
        )
    return DataError(
        f"{where}: no image has a label; wanted is for each NAME.jpg a NAME.cls with its class, "
        "or one folder per class in the tar"
    )


def _refuse_shards_without_split(shards: Sequence[Shard]) -> None:
    odd = [shard for shard in shards if shard.split is None]
    named = [shard for shard in shards if shard.split is not None]
    if odd and named:
        among = "among shards for training" if any(s.split == "train" for s in named) else ""
        raise DataError(
            f"{odd[0].path} is {among or f'next to {named[0].name}'}, but its name has no train, "
            "val or test; rename it or move it away"
        )
