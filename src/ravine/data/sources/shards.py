"""Tar shards as WebDataset names them (https://github.com/webdataset/webdataset).

Members of one name up to the first dot of its last part are one sample: an image, and its label
as text in NAME.cls or as "label" or "cls" in NAME.json. Where no sample has a label, every image
is a sample and the folder that holds it is its class. Only headers, labels and
the byte ranges of the images are read here.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import SPLIT_NAMES, Collection, FileEntry, class_order, label_indices
from ravine.data.sources.listing import EXTENSIONS, folders_in, image_files, printable
from ravine.data.sources.tar import Member, compressed, members

_LABELS = frozenset({".cls", ".json"})
_LARGEST_LABEL = 1 << 20  # bytes
_LONGEST_NAME = 200  # letters of a class
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file.

    Attributes:
        path: of the file.
        name: its path below the folder that the user named.
        split: train, validation or test, or None.
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
    split: str | None


def is_shard(path: Path) -> bool:
    """Returns whether a file's name is that of a tar, compressed or not."""
    return path.name.lower().endswith((".tar", *_COMPRESSED))


def shards_in(root: Path) -> list[Shard]:
    """Returns the tars in a folder or in its folders train, val and test.

    Empty where the folder also holds images: the tar is then their archive.
    """
    found = [Shard(path, printable(path.name), _split(path.name)) for path in _tars(root)]
    for name in folders_in(root):
        if split := SPLIT_NAMES.get(name.lower()):
            inner = _tars(root / name)
            found += [Shard(path, f"{name}/{printable(path.name)}", split) for path in inner]
    return [] if found and any(True for _ in image_files(root)) else found


def _tars(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if is_shard(path) and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def _split(name: str) -> str | None:
    return SPLIT_NAMES.get("".join(takewhile(str.isalpha, name)).lower())


def one_shard(path: Path) -> list[Shard]:
    """Returns a single tar as a shard without a split."""
    return [Shard(path, printable(path.name), None)]


def read_shards(shards: Sequence[Shard], progress: Progress) -> Collection:
    """Returns the images of tar shards; only their byte ranges are read.

    Raises:
        DataError: a shard is compressed or torn, a sample has two images, or nothing has a label.
    """
    images: list[_Image] = []
    unlabelled: list[str] = []
    labelled: bool | None = None  # whether labels are in files of their own: as in the first shard
    for number, shard in enumerate(shards):
        progress("reading shards", number, len(shards))
        samples = _read_shard(shard.path)
        has_labels = any(sample.label for sample in samples.values())
        if labelled is None and (has_labels or any(one.images for one in samples.values())):
            labelled = has_labels
        if has_labels and not labelled:
            raise _packed_in_two_ways(shard)
        found = _images_of(shard, samples, labelled=bool(labelled))
        images += [image for image in found if image.label]
        unlabelled += [image.name for image in found if not image.label]
        unlabelled += _labels_without_image(shard, samples)
    progress("reading shards", len(shards), len(shards))
    if not images:
        raise _nothing(shards, labelled=bool(labelled))
    classes = class_order({image.label for image in images})
    return Collection(
        names=[image.name for image in images],
        labels=label_indices([image.label for image in images], classes),
        classes=classes,
        given_splits=_given(shards, images),
        files=[image.entry for image in images],
        unlabelled=unlabelled,
    )


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
        with path.open("rb") as file:
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
        yield _Image(f"{shard.name}/{printable(member)}", entry, sample.label, shard.split)


def _by_folder(shard: Shard, _: str, sample: _Sample) -> Iterator[_Image]:
    for member, entry in sample.images:
        folder = printable(PurePosixPath(member).parent.name)
        yield _Image(f"{shard.name}/{printable(member)}", entry, folder, shard.split)


def _packed_in_two_ways(shard: Shard) -> DataError:
    return DataError(
        f"{shard.path} has labels in .cls or .json, the shards before it have none; pack all of "
        "them in one way"
    )


def _nothing(shards: Sequence[Shard], *, labelled: bool) -> DataError:
    where = shards[0].path if len(shards) == 1 else shards[0].path.parent
    if labelled:
        return DataError(f"{where} holds no image with a label; wanted are NAME.jpg and NAME.cls")
    return DataError(
        f"{where}: no image has a label; wanted is for each NAME.jpg a NAME.cls with its class, "
        "or one folder per class in the tar"
    )


def _given(shards: Sequence[Shard], images: Sequence[_Image]) -> list[str | None]:
    splits = {shard.split for shard in shards}
    if "train" not in splits:
        return []
    if None in splits:
        odd = next(shard for shard in shards if shard.split is None)
        raise DataError(
            f"{odd.path} is among shards for training, but its name does not begin with train, "
            "val or test; rename it or move it away"
        )
    return [image.split for image in images]
