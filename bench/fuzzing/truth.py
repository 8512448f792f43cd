"""Data sets of which the truth is known, so that a wrong reading shows.

Each image has a grey level of its own, by which it is known again after Ravine has read it. A case
lays some images out in one of the common ways, with splits, groups, types and options that may or
may not fit, and opens them as training does. A refusal is good. What is taken has to be right: the
class of each image, the split that the source gives it, groups on one side of the split, and the
brightness.
"""

import csv
import io
import random
import struct
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fuzzing.case import Case, Wrong
from fuzzing.fixtures import Fixtures
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

COUNT = 36
CLASSES = ("ant", "bee", "cow")


@dataclass(kw_only=True)
class Truth:
    """What is known of the images of a case.

    Attributes:
        classes: name of the class of each image.
        splits: train, validation or test of each image; None where the source does not say.
        groups: of the images that must stay together; () for none.
        not_classes: names that are no classes: those of splits, folds, columns.
        grey_step: largest error of a grey level; None where the brightness is not known.
        options: settings of the data besides.
        void: an option that the source cannot follow: to take it is wrong.
    """

    classes: list[str]
    splits: list[str | None] = field(default_factory=lambda: [None] * COUNT)
    groups: list[str] = field(default_factory=list)
    not_classes: frozenset[str] = frozenset()
    grey_step: float | None = 2.0
    options: dict[str, Any] = field(default_factory=dict)
    void: str = ""


def truth_case(chance: random.Random, _: Fixtures, folder: Path) -> Case:
    """Returns the opening of a data set of which the truth is known."""
    truth = Truth(classes=[CLASSES[n % 3] for n in range(COUNT)])
    name = chance.choice(list(_LAYOUTS))
    source, *about = _LAYOUTS[name](chance, folder, truth)
    if not truth.options and chance.random() < 0.15:
        _add_void_option(chance, truth)
    settings = DataSettings(data=source, workers=0, **truth.options)
    return Case(
        words=[name, *about, str(truth.options)],
        call=lambda: check(settings, truth),
    )


def check(settings: DataSettings, truth: Truth) -> None:
    """Opens the data and raises `Wrong` where it is not the truth."""
    dataset = open_dataset(settings, seed=0)
    if truth.void:
        raise Wrong(f"{truth.void} has no effect on this source, and was taken")
    named = set(dataset.classes) & truth.not_classes
    if named:
        raise Wrong(f"{sorted(named)} are no classes")
    levels = _read_levels(dataset.images, truth)
    of_split: dict[int, str] = {}
    for split, indices in dataset.splits.items():
        for index in indices:
            of_split[levels[int(index)]] = split
    for index, image in enumerate(levels):
        label = dataset.classes[int(dataset.labels[index])]
        if label != truth.classes[image]:
            raise Wrong(f"image {image} is {truth.classes[image]}, not {label}")
    for image, split in of_split.items():
        given = truth.splits[image]
        harmless = given is None or given == split or (given == "train" and split == "validation")
        if not harmless:
            raise Wrong(f"image {image} is of {given}, and in {split}")
    if truth.groups:
        sides: dict[str, set[str]] = {}
        for image, split in of_split.items():
            sides.setdefault(truth.groups[image], set()).add(split)
        if any(len(found) > 1 for found in sides.values()):
            raise Wrong(f"a group is on both sides of the split: {sides}")


def _read_levels(images: Any, truth: Truth) -> list[int]:
    """Returns the number of each image, by its brightness, or by its rank where that is unknown."""
    found = np.array([np.median(np.asarray(images[n])) for n in range(images.shape[0])])
    if truth.grey_step is not None:
        numbers = np.array([np.abs(_LEVELS - level).argmin() for level in found])
        worst = np.abs(_LEVELS[numbers] - found).max()
        if worst > truth.grey_step:
            raise Wrong(f"a grey level is wrong by {worst:.1f}: {sorted(set(found))[:8]}")
        return [int(number) for number in numbers]
    if len(found) != COUNT or len(set(found)) < COUNT // 2:
        raise Wrong(f"{len(set(found))} levels of grey are left of {COUNT}")
    order = np.argsort(found, kind="stable")
    ranks = np.empty(COUNT, dtype=int)
    ranks[order] = np.arange(COUNT)
    return [int(rank) for rank in ranks]


_LEVELS = 6.0 + 6.5 * np.arange(COUNT)


def _pixels(number: int) -> np.ndarray:
    """Returns (8, 8) uint8: one grey level, with a row and a column that are its class."""
    pixels = np.full((8, 8), int(_LEVELS[number]), dtype=np.uint8)
    pixels[number % 3] = 255
    return pixels


def _add_void_option(chance: random.Random, truth: Truth) -> None:
    """Adds an option of tables, which a source without a table cannot follow."""
    name = chance.choice(("group_column", "label_column", "image_column", "split_column"))
    truth.options[name] = "nowhere"
    truth.void = name


# Folders: classes, splits above them, folds.

_TRAIN, _VALIDATION, _TEST = ("train", "training"), ("val", "valid", "validation"), ("test",)


def _folders(chance: random.Random, folder: Path, truth: Truth) -> tuple[str, ...]:
    """Lays out class folders, or splits above them."""
    above: list[tuple[str, str | None]] = chance.choice(
        (
            [("", None)],
            [("", None)],
            [("train", "train"), ("test", "test")],
            [("training_set", "train"), ("test_set", "test")],
            [("train", "train"), ("val", "validation")],
            [("train", "train"), ("val", "validation"), ("test", "test")],
            [("val", "validation"), ("test", "test")],
            [("Train", "train"), ("Test", "test")],
            [("fold1", None), ("fold2", None)],
            [("fold_0", None), ("fold_1", None), ("fold_2", None)],
            [("a", None), ("b", None)],
        )
    )
    for number, name in enumerate(truth.classes):
        split, given = above[(number // 3) % len(above)]
        place = folder / "data" / split / name
        place.mkdir(parents=True, exist_ok=True)
        _save(chance, place / f"{number}.png", number)
        truth.splits[number] = given
    truth.not_classes = frozenset(name for name, _ in above if name)
    return ("data", str([name for name, _ in above]))


def _save(chance: random.Random, path: Path, number: int) -> None:
    """Writes an image of eight bits, as grey, colour, a palette or with an alpha channel."""
    image = Image.fromarray(_pixels(number))
    image.convert(chance.choice(("L", "L", "RGB", "RGBA", "LA"))).save(path)


def _deep_folders(chance: random.Random, folder: Path, truth: Truth) -> tuple[str, ...]:
    """Lays out class folders of 16-bit PNGs whose values reach 255, 4095 or 65535."""
    largest = chance.choice((255, 1023, 4095, 4095, 16383, 65535))
    for number, name in enumerate(truth.classes):
        place = folder / "data" / name
        place.mkdir(parents=True, exist_ok=True)
        deep = np.round(_pixels(number) * (largest / 255)).astype(np.uint16)
        Image.fromarray(deep).save(place / f"{number}.png")
    truth.grey_step = 2.0 if largest == 65535 else None
    return ("data", str(largest))


# Arrays: npz and IDX.


def _npz(chance: random.Random, folder: Path, truth: Truth) -> tuple[str, ...]:
    """Lays out arrays, in one or several splits, as bytes or floats of a range."""
    forms: tuple[tuple[tuple[str, str, str | None], ...], ...] = (
        (("images", "labels", None),),
        (("x", "y", None),),
        (("x_train", "y_train", "train"), ("x_test", "y_test", "test")),
        (("x_train", "y_train", "train"), ("x_val", "y_val", "validation")),
        (("images", "labels", None), ("x_test", "y_test", "test")),
        (("x_val", "y_val", "validation"), ("x_test", "y_test", "test")),
        (("train_images", "train_labels", "train"), ("test_images", "test_labels", "test")),
    )
    form = chance.choice(forms)
    scale = chance.choice((None, None, 1.0, 1.0000001, 1.02, 255.0, 2.0, -1.0))
    arrays: dict[str, Any] = {"classes": np.array(CLASSES)}
    for at, (images, labels, split) in enumerate(form):
        numbers = [n for n in range(COUNT) if (n // 3) % len(form) == at]
        values: Any = np.stack([_pixels(n) for n in numbers])
        if scale is not None:
            values = _floats(values / 255.0, scale)
            if chance.random() < 0.3 and scale == 1.0:
                values = values / values.max() * 0.999
                truth.grey_step = 3.0
        arrays[images] = _with_channels(chance, values)
        arrays[labels] = np.array([CLASSES.index(truth.classes[n]) for n in numbers])
        for number in numbers:
            truth.splits[number] = split
    if scale in (2.0, -1.0):
        truth.grey_step = None
    np.savez(folder / "data.npz", **arrays)
    return ("data.npz", str([images for images, _, _ in form]), str(scale))


def _floats(values: np.ndarray, scale: float) -> np.ndarray:
    """Returns floats of 0..1 as others write them: with an overshoot, or of another range."""
    if scale in (1.0, 255.0):
        return (values * scale).astype(np.float32)
    if scale == -1.0:
        return (values * 2 - 1).astype(np.float32)
    if scale == 2.0:
        return (values * 2).astype(np.float32)
    found = values.astype(np.float64)
    found[0, 0, 0] = scale  # as resampling does it
    return found


def _with_channels(chance: random.Random, values: np.ndarray) -> np.ndarray:
    kind = chance.choice(("none", "none", "last", "first", "three"))
    if kind == "none":
        return values
    if kind == "last":
        return values[..., None]
    if kind == "first":
        return values[:, None]
    return np.repeat(values[..., None], 3, axis=-1)


def _idx(chance: random.Random, folder: Path, truth: Truth) -> tuple[str, ...]:
    """Lays out IDX files of one or two splits."""
    forms: tuple[tuple[tuple[str, str], ...], ...] = (
        (("train", "train"), ("t10k", "test")),
        (("train", "train"),),
        (("val", "validation"), ("t10k", "test")),
        (("t10k", "test"),),
    )
    form = chance.choice(forms)
    place = folder / "data"
    place.mkdir()
    for at, (prefix, split) in enumerate(form):
        numbers = [n for n in range(COUNT) if (n // 3) % len(form) == at]
        images = b"".join(_pixels(n).tobytes() for n in numbers)
        labels = bytes(n % 3 for n in numbers)
        head = struct.pack(">IIII", 0x803, len(numbers), 8, 8)
        (place / f"{prefix}-images-idx3-ubyte").write_bytes(head + images)
        head = struct.pack(">II", 0x801, len(numbers))
        (place / f"{prefix}-labels-idx1-ubyte").write_bytes(head + labels)
        for number in numbers:
            truth.splits[number] = split
    truth.classes = [str(n % 3) for n in range(COUNT)]
    return ("data", str([prefix for prefix, _ in form]))


# Tables.


def _table(chance: random.Random, folder: Path, truth: Truth) -> tuple[str, ...]:
    """Lays out a CSV with paths and labels, and maybe splits, groups, fields too many."""
    images = folder / "images"
    images.mkdir()
    for number in range(COUNT):
        _save(chance, images / f"{number}.png", number)
    header, rows = ["image", "label"], [[f"{n}.png", truth.classes[n]] for n in range(COUNT)]
    kind = chance.choice(("plain", "split", "split", "group", "double", "extra", "two labels"))
    about = kind
    if kind == "split":
        words = chance.choice(_SPLIT_WORDS)
        header.append(chance.choice(("split", "set", "subset")))
        for number, row in enumerate(rows):
            word = words[(number // 3) % len(words)]
            row.append(word)
            truth.splits[number] = _MEANING.get(word.lower())
        truth.not_classes = frozenset(words)
        about += f" {header[-1]} {words}"
    elif kind == "group":
        header.append("patient")
        truth.groups = [f"p{number // 6}" for number in range(COUNT)]
        for row, group in zip(rows, truth.groups, strict=True):
            row.append(group)
        truth.options["group_column"] = "patient"
    elif kind == "double":
        header.append("label")
        for number, row in enumerate(rows):
            row.append(CLASSES[(number + 1) % 3])
    elif kind == "extra":
        chance.choice(rows).append(" young")
    elif kind == "two labels":
        header.append("kind")
        for number, row in enumerate(rows):
            row.append(CLASSES[(number + 1) % 3])
        truth.classes = [CLASSES[(number + 1) % 3] for number in range(COUNT)]
        truth.options["label_column"] = "kind"
    if chance.random() < 0.4:
        chance.shuffle(rows)
    text = io.StringIO()
    csv.writer(text, delimiter=chance.choice(",,,;\t")).writerows([header, *rows])
    (folder / "train.csv").write_text(text.getvalue())
    truth.options |= {"labels": "train.csv"}
    if kind in ("double", "extra"):
        truth.void = f"a table with a {kind} field"
    return ("images", about)


_SPLIT_WORDS = (
    ("train", "test"), ("train", "val"), ("train", "val", "test"), ("test",), ("val", "test"),
    ("tr", "te"), ("0", "1"), ("training", "validation"), ("TRAIN", "TEST"), ("x", "y"),
)  # fmt: skip
_MEANING: Mapping[str, str] = {
    "train": "train", "training": "train", "tr": "train", "val": "validation",
    "validation": "validation", "test": "test", "te": "test",
}  # fmt: skip


# Archives.


def _tar(chance: random.Random, folder: Path, truth: Truth) -> tuple[str, ...]:
    """Lays out one tar of class folders, with or without splits above them."""
    above = chance.choice(([""], [""], ["train/", "test/"], ["a/"], ["test/"]))
    with tarfile.open(folder / "data.tar", "w") as archive:
        for number, name in enumerate(truth.classes):
            split = above[(number // 3) % len(above)]
            buffer = io.BytesIO()
            Image.fromarray(_pixels(number)).save(buffer, "png")
            member = tarfile.TarInfo(f"{split}{name}/{number}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            archive.addfile(member, buffer)
            truth.splits[number] = _MEANING.get(split.rstrip("/"))
    truth.not_classes = frozenset(name.rstrip("/") for name in above if name)
    return ("data.tar", str(above))


def _parquet(chance: random.Random, folder: Path, truth: Truth) -> tuple[str, ...]:
    """Lays out shards of a hub, by the splits in their names."""
    form = chance.choice(
        (("train",), ("train", "test"), ("train", "validation"), ("validation", "test"), ("test",))
    )
    place = folder / "data"
    place.mkdir()
    for at, split in enumerate(form):
        numbers = [n for n in range(COUNT) if (n // 3) % len(form) == at]
        cells = []
        for number in numbers:
            buffer = io.BytesIO()
            Image.fromarray(_pixels(number)).save(buffer, "png")
            cells.append({"bytes": buffer.getvalue(), "path": f"{number}.png"})
            truth.splits[number] = split
        names = [truth.classes[n] for n in numbers]
        table = pa.table({"image": cells, "label": names})
        pq.write_table(table, place / f"{split}-00000-of-00001.parquet")
    return ("data", str(form))


_LAYOUTS: Mapping[str, Callable[[random.Random, Path, Truth], tuple[str, ...]]] = {
    "folders": _folders,
    "deep": _deep_folders,
    "npz": _npz,
    "idx": _idx,
    "table": _table,
    "tar": _tar,
    "parquet": _parquet,
}
