"""Layouts drawn at random: depths, names, splits, tables, tars and things beside, all mixed.

Each is made on disk as its maker would, and carries what is true of every image. Whatever Ravine
makes of it: no split's name is a class, no test image is trained on, no training image validates,
every class is right, and what cannot be read ends in one line.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.opening import refuse_no_training
from ravine.data.settings import DataSettings

CLASSES = ["cat", "dog", "red fox", "n01440764", "7", "tench, Tinca", "Haus", "train_station"]
SPLITS = {
    "train": ["train", "Train", "TRAIN", "training", "training_set", "train_images", "train2017"],
    "validation": ["val", "valid", "Validation", "val_images", "val2017", "dev"],
    "test": ["test", "Test", "testing", "test_set", "test-set", "test_images", "test2017"],
}
PREFIXES = ["", "seg_", "my_data_"]
KINDS: list[tuple[str, ...]] = [
    (),
    ("train",),
    ("train", "test"),
    ("train", "validation", "test"),
    ("validation", "test"),
    ("test",),
]
WRAPPERS = [(), ("images",), ("data",), ("archive", "photos")]
JUNK = [
    "__MACOSX/cat/._a.png",
    ".git/a.png",
    "meta/classes.txt",
    "labels.md",
    "cat notes.nef",
    "README",
    ".ipynb_checkpoints/a.png",
]


@dataclass
class Truth:
    """What is true of each image: its class, or None, and its split, or None; by file name."""

    files: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)  # files that are no images

    def add(self, path: str, label: str | None, split: str | None) -> None:
        self.files[path] = (label, split)


@st.composite
def trees(draw: st.DrawFn) -> Truth:
    """Draws class folders, with splits above or below the classes, wrapped, doubled, sorted."""
    truth = Truth()
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    kinds = draw(st.sampled_from(KINDS))
    prefix = draw(st.sampled_from(PREFIXES)) if len(kinds) > 1 else ""
    names = {kind: prefix + draw(st.sampled_from(SPLITS[kind])) for kind in kinds}
    wrapper = draw(st.sampled_from(WRAPPERS))
    below = draw(st.booleans())  # the split below the class
    doubled = draw(st.booleans())
    sorter = draw(st.sampled_from(["", "group", "letter"]))
    flat_test = draw(st.booleans()) and "train" in kinds and "test" in kinds and not below
    number = 0
    for kind in kinds or (None,):
        for index, label in enumerate(classes):
            for _ in range(draw(st.integers(2, 3))):
                number += 1
                split = [names[kind]] * (2 if doubled and not below else 1) if kind else []
                above = {"": [], "group": [f"{'AB'[index % 2]}roup"], "letter": [label[0]]}[sorter]
                folders = [*above, label, *split] if below else [*split, *above, label]
                is_flat = flat_test and kind == "test"
                folders = split if is_flat else folders
                path = "/".join([*wrapper, *folders, f"{number:04d}.png"])
                truth.add(path, None if is_flat else label, kind)
    return truth


@st.composite
def tables(draw: st.DrawFn) -> Truth:
    """Draws a table in the folder of its images, with a split or without, one-hot or not."""
    truth = Truth()
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    style = draw(st.sampled_from(["none", "word", "number", "is_valid", "is_test", "folder"]))
    kinds = {"is_valid": ["train", "validation"], "is_test": ["train", "test"]}.get(
        style, ["train", "validation", "test"]
    )
    separator = draw(st.sampled_from([",", ";", "\t"]))
    hot, header = draw(st.booleans()), draw(st.booleans())
    header = header or hot or style not in ("none", "folder")
    words = {kind: draw(st.sampled_from(SPLITS[kind])) for kind in SPLITS}
    said = {
        "word": words,
        "number": {"train": "0", "validation": "1", "test": "2"},
        "is_valid": {"train": "False", "validation": "True"},
        "is_test": {"train": "0", "test": "1"},
    }.get(style)
    column = {"word": "split", "number": "split"}.get(style, style)
    lines = []
    if header:
        cells = ["image", *(classes if hot else ["label"]), *([column] if said else [])]
        lines.append(separator.join(f'"{cell}"' for cell in cells))
    count = 0
    for kind in kinds:
        for label in classes:
            for _ in range(draw(st.integers(2, 3))):
                count += 1
                folder = f"{kind.replace('validation', 'val')}/" if style == "folder" else ""
                name = f"{folder}i{count:04d}.png"
                cells = [name, *([str(int(c == label)) for c in classes] if hot else [label])]
                cells += [said[kind]] if said else []
                lines.append(separator.join(f'"{cell}"' for cell in cells))
                truth.add(name, label, None if style == "none" else kind)
                if draw(st.integers(0, 9)) == 0:
                    lines.append(lines[-1])  # a row twice
    truth.extra["t.csv"] = "\n".join(lines)
    return truth


def _made(root: Path, truth: Truth, junk: list[str], *, tar: bool) -> Path:
    content: Mapping[str, bytes] = {name: name.encode() for name in truth.files}
    if tar:
        root.mkdir(parents=True, exist_ok=True)
        with tarfile.open(root / "all.tar", "w") as file:
            for name, data in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
        return root / "all.tar"
    for name, data in [*content.items(), *((n, t.encode()) for n, t in truth.extra.items())]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    for name in junk:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"junk")
    return root


def _checked(found: Collection, truth: Truth) -> None:
    splits = {kind for _, kind in truth.files.values()}
    given = list(found.given_splits) or [None] * len(found.names)
    for name, label, split in zip(found.names, found.labels, given, strict=True):
        true_label, true_split = truth.files[name.removeprefix("all.tar/")]
        assert true_label is not None, f"{name} has no label"
        assert found.classes[label].rpartition("/")[2] == true_label
        assert split == true_split
    assert len(set(found.names)) == len(found.names)
    labelled = {name for name, (label, _) in truth.files.items() if label is not None}
    assert {name.removeprefix("all.tar/") for name in found.names} == labelled
    assert set(found.classes).isdisjoint({n for names in SPLITS.values() for n in names})
    if None not in splits and "train" not in splits:
        with pytest.raises(DataError, match="no training split"):
            refuse_no_training(found, "d")


_MANY = settings(max_examples=150)


@_MANY
@given(trees(), st.lists(st.sampled_from(JUNK), max_size=3, unique=True), st.booleans())
def test_a_tree_is_read_as_it_is_or_refused_in_one_line(
    tmp_path_factory, truth: Truth, junk: list[str], tar: bool
) -> None:  # type: ignore[no-untyped-def]
    path = _made(tmp_path_factory.mktemp("tree") / "d", truth, junk, tar=tar)

    try:
        found = find_collection(DataSettings.of({"data": str(path)}))
    except DataError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) <= 200
        assert "--class-level" in message or "one class" in message, message
        return
    _checked(found, truth)


@_MANY
@given(tables())
def test_a_table_is_read_as_it_is(tmp_path_factory, truth: Truth) -> None:  # type: ignore[no-untyped-def]
    root = _made(tmp_path_factory.mktemp("table") / "d", truth, [], tar=False)

    found = find_collection(DataSettings.of({"data": str(root / "t.csv")}))

    _checked(found, truth)
