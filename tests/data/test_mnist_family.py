"""IDX files as MNIST's makers, torchvision and Kaggle lay them out; labels and pixels by hand."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

_TYPE = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(path: Path, array: np.ndarray) -> None:
    """Writes an array as IDX: 0, 0, type, dimensions, sizes, big-endian values."""
    head = struct.pack(f">HBB{array.ndim}I", 0, _TYPE[array.dtype.name], array.ndim, *array.shape)
    content = head + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def images(count: int, seed: int = 0, size: tuple[int, int] = (9, 9)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)


def labels(count: int, first: int = 0, classes: int = 2) -> np.ndarray:
    return (np.arange(count) % classes + first).astype(np.uint8)


def _find(data: Path, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _open(data: Path) -> Dataset:
    return open_dataset(DataSettings.of({"data": str(data), "validation": 0}), seed=0)


NAMES = {
    "the maker's": ("{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"),
    "packed": ("{}-images-idx3-ubyte.gz", "{}-labels-idx1-ubyte.gz"),
    "dotted": ("{}-images.idx3-ubyte", "{}-labels.idx1-ubyte"),
    "in folders of the file's name": (
        "{0}-images-idx3-ubyte/{0}-images-idx3-ubyte",
        "{0}-labels-idx1-ubyte/{0}-labels-idx1-ubyte",
    ),
    "in dotted folders": (
        "{0}-images.idx3-ubyte/{0}-images-idx3-ubyte",
        "{0}-labels.idx1-ubyte/{0}-labels-idx1-ubyte",
    ),
    "torchvision's": ("MNIST/raw/{}-images-idx3-ubyte", "MNIST/raw/{}-labels-idx1-ubyte"),
}


@pytest.mark.parametrize("names", list(NAMES.values()), ids=list(NAMES))
def test_six_images_to_train_on_and_four_to_test_are_found_in_every_layout(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for split, count in (("train", 6), ("t10k", 4)):
        idx(tmp_path / names[0].format(split), images(count, seed=count))
        idx(tmp_path / names[1].format(split), labels(count))

    found = _open(tmp_path)

    assert {name: len(index) for name, index in found.splits.items()} == {"train": 6, "test": 4}
    assert np.array_equal(found.images[:6, :, :, 0], images(6, seed=6))
    assert np.array_equal(found.images[6:, :, :, 0], images(4, seed=4))
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


def test_a_file_that_is_there_packed_and_unpacked_can_be_named_by_either_name(
    tmp_path: Path,
) -> None:
    for ending in ("", ".gz"):
        idx(tmp_path / f"train-images-idx3-ubyte{ending}", images(6))
        idx(tmp_path / f"train-labels-idx1-ubyte{ending}", labels(6))

    for ending in ("", ".gz"):
        assert len(_find(tmp_path / f"train-images-idx3-ubyte{ending}").names) == 6


def test_labels_without_their_images_are_one_line(tmp_path: Path) -> None:
    idx(tmp_path / "train-labels-idx1-ubyte", labels(6))

    with pytest.raises(DataError, match="labels without their images: train-labels-idx1-ubyte"):
        _find(tmp_path)


def test_files_alone_and_again_in_folders_of_their_names_are_read_once(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("t10k", 4)):
        for kind, array in (("images.idx3", images(count)), ("labels.idx1", labels(count))):
            folder = f"{split}-{kind}-ubyte".replace(".", "-")
            idx(tmp_path / f"{split}-{kind}-ubyte", array)
            idx(tmp_path / folder / folder, array)

    found = _find(tmp_path)

    assert [found.given_splits.count(split) for split in ("train", "test")] == [6, 4]


def _emnist(folder: Path, name: str, first: int) -> None:
    for split, count in (("train", 6), ("test", 4)):
        stored = images(count, seed=count, size=(9, 7))
        idx(folder / f"emnist-{name}-{split}-images-idx3-ubyte.gz", stored)
        idx(folder / f"emnist-{name}-{split}-labels-idx1-ubyte.gz", labels(count, first, 3))


def test_letters_of_emnist_stand_upright_and_are_called_as_their_mapping_says(
    tmp_path: Path,
) -> None:
    _emnist(tmp_path, "letters", first=1)
    lines = [f"{n} {64 + n} {96 + n}" for n in range(1, 27)]
    (tmp_path / "emnist-letters-mapping.txt").write_text("\n".join(lines))
    (tmp_path / "emnist-digits-mapping.txt").write_text("0 48\n1 49\n")

    found = _find(tmp_path)

    assert found.classes == ("A", "B", "C")
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert list(found.given_splits) == ["train"] * 6 + ["test"] * 4
    assert found.pixels is not None
    assert found.pixels.shape == (10, 7, 9, 1)
    first = next(iter(found.pixels))[:, :, 0]
    assert np.array_equal(first, images(6, seed=6, size=(9, 7))[0].T)
    assert found.understood is not None
    assert "turned upright" in found.understood.line()


def test_a_folder_of_several_sets_of_emnist_is_refused_by_their_names(tmp_path: Path) -> None:
    _emnist(tmp_path, "letters", first=1)
    _emnist(tmp_path, "digits", first=0)

    with pytest.raises(DataError, match=r"2 sets: 'emnist digits', 'emnist letters'; move the"):
        _find(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    for path in tmp_path.glob("emnist-digits*"):
        path.rename(own / path.name)
    assert _find(own).classes == ("0", "1", "2")


def test_two_folders_with_sets_are_refused_by_their_names(tmp_path: Path) -> None:
    for name in ("MNIST", "KMNIST"):
        idx(tmp_path / name / "raw" / "train-images-idx3-ubyte", images(4))
        idx(tmp_path / name / "raw" / "train-labels-idx1-ubyte", labels(4))

    with pytest.raises(DataError, match=r"in KMNIST/raw/ and in MNIST/raw/, two sets; name the"):
        _find(tmp_path)
    assert len(_find(tmp_path / "MNIST").names) == 4


def test_the_class_of_a_qmnist_digit_is_the_first_of_its_eight_numbers(tmp_path: Path) -> None:
    rows = np.arange(48).reshape(6, 8).astype(np.int32)
    rows[:, 0] = [3, 1, 4, 1, 3, 4]
    idx(tmp_path / "qmnist-train-images-idx3-ubyte.gz", images(6))
    idx(tmp_path / "qmnist-train-labels-idx2-int.gz", rows)

    found = _find(tmp_path)

    assert [found.classes[label] for label in found.labels] == ["3", "1", "4", "1", "3", "4"]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32", "float64"])
def test_labels_may_be_numbers_of_any_type(tmp_path: Path, dtype: str) -> None:
    idx(tmp_path / "train-images-idx3-ubyte", images(4))
    idx(tmp_path / "train-labels-idx1-ubyte", np.array([7, 9, 9, 7]).astype(dtype))

    found = _find(tmp_path)

    assert found.classes == ("7", "9")
    assert found.labels.tolist() == [0, 1, 1, 0]


def test_kuzushiji_is_named_by_its_class_map(tmp_path: Path) -> None:
    idx(tmp_path / "train-images-idx3-ubyte", images(4))
    idx(tmp_path / "train-labels-idx1-ubyte", labels(4))
    lines = ["index,codepoint,char", "0,U+304A,お", "1,U+304D,き"]
    (tmp_path / "kmnist_classmap.csv").write_text("\n".join(lines), encoding="utf-8")

    assert _find(tmp_path).classes == ("お", "き")


def test_a_set_without_training_images_is_refused_and_not_trained_on(tmp_path: Path) -> None:
    for split in ("val", "t10k"):
        idx(tmp_path / f"{split}-images-idx3-ubyte", images(4))
        idx(tmp_path / f"{split}-labels-idx1-ubyte", labels(4))

    with pytest.raises(DataError, match="no training split, only test and validation"):
        _open(tmp_path)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("change", ["more", "fewer"])
def test_a_file_that_is_longer_or_shorter_than_its_head_says_is_refused(
    tmp_path: Path, packed: str, change: str
) -> None:
    idx(tmp_path / f"train-labels-idx1-ubyte{packed}", labels(5))
    path = tmp_path / f"train-images-idx3-ubyte{packed}"
    head = struct.pack(">HBB3I", 0, 8, 3, 5, 9, 9)
    content = head + bytes(5 * 81 + (3 if change == "more" else -3))
    path.write_bytes(gzip.compress(content) if packed else content)

    with pytest.raises(DataError, match="is torn"):
        _find(tmp_path)


_BOMB = """
import resource, sys
from ravine.core.errors import RavineError
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_dataset(DataSettings(data=sys.argv[1]), seed=0)
except RavineError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_packed_file_of_a_gigabyte_of_zeros_takes_no_memory(tmp_path: Path) -> None:
    idx(tmp_path / "train-labels-idx1-ubyte", labels(5))
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
        file.write(struct.pack(">HBB3I", 0, 8, 3, 5, 9, 9))
        for _ in range(512):
            file.write(bytes(1 << 20))

    done = subprocess.run(
        [sys.executable, "-c", _BOMB, str(tmp_path)], capture_output=True, text=True, check=True
    )

    said, megabytes = done.stdout.splitlines()
    assert "is torn: more values than the shape (5, 9, 9)" in said
    assert int(megabytes) < 60


def test_images_are_read_again_when_the_file_has_been_changed(tmp_path: Path) -> None:
    for seed in (0, 1):
        idx(tmp_path / "train-images-idx3-ubyte", images(4, seed))
        idx(tmp_path / "train-labels-idx1-ubyte", labels(4))
        os.utime(tmp_path / "train-images-idx3-ubyte", ns=(seed, seed))

        assert np.array_equal(_open(tmp_path).images[:, :, :, 0], images(4, seed))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.txt", "a\n", "names 1 classes; the labels reach 1"),
        ("emnist-letters-mapping.txt", "0 x\n", "line 1: wanted are a label and a character"),
        ("emnist-letters-mapping.txt", "0 48\n", "has no line for the label 1"),
        ("emnist-letters-mapping.txt", "0 48\n1 48\n", "gives two labels the same character"),
        ("k_classmap.csv", "a,b\n0,1\n", "wanted are the columns index, codepoint, char"),
    ],
)
def test_a_list_of_class_names_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    idx(tmp_path / "train-images-idx3-ubyte", images(4))
    idx(tmp_path / "train-labels-idx1-ubyte", labels(4))
    (tmp_path / name).write_text(content)

    with pytest.raises(DataError, match=message):
        _find(tmp_path)
