"""Sources that could be read in two ways are refused or read by a stated rule."""

import gzip
import pickle
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.sources.image_index import ImageIndex
from ravine.data.sources.pickled import read_pickled

Tree = Callable[..., Path]


def _open(data: Path, **settings: object) -> Dataset:
    return open_dataset(DataSettings.of({"data": str(data), **settings}), seed=0)


def _paint(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("wanted", "file", "fits"),
    [
        ("x.png", "x.png", True),
        ("x", "x.png", True),
        ("x", "deep/down/x.png", True),
        ("down/x.png", "deep/down/x.png", True),
        ("images/x.png", "x.png", True),
        ("C:\\images\\x.png", "x.png", True),
        ("img.v1", "img.v1.png", True),
        ("a/x.png", "b/x.png", False),
        ("x.jpg", "x.png", False),
        ("img.v1", "img.png", False),
        ("", "x.png", False),
    ],
)
def test_a_name_in_a_table_finds_its_image_and_no_other(
    tmp_path: Path, wanted: str, file: str, fits: bool
) -> None:
    _paint(tmp_path / file)

    assert ImageIndex(tmp_path).find(wanted) == (file if fits else None)


def test_a_name_with_accents_is_found_however_they_are_written(tmp_path: Path) -> None:
    _paint(tmp_path / unicodedata.normalize("NFD", "Äpfel é.png"))

    found = ImageIndex(tmp_path).find(unicodedata.normalize("NFC", "Äpfel é"))

    assert found == unicodedata.normalize("NFD", "Äpfel é.png")


def test_a_name_that_fits_two_images_is_reported(tmp_path: Path) -> None:
    for seed, folder in enumerate("ab"):
        _paint(tmp_path / folder / "x.png", seed)

    with pytest.raises(DataError, match=r"fits several images .* a/x.png, b/x.png; write the path"):
        ImageIndex(tmp_path).find("x")


def test_quoted_names_may_hold_commas_and_quotes(tmp_path: Path) -> None:
    names = ["a, b.png", 'say "hi".png', "it's.png", "猫 кот.png"]
    for index, name in enumerate(names):
        _paint(tmp_path / "images" / name, index)
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    rows = [f"{name},{'xy'[index % 2]}" for index, name in enumerate(quoted)]
    (tmp_path / "t.csv").write_text("image,label\n" + "\n".join(rows), encoding="utf-8")

    found = _open(tmp_path / "images", labels=str(tmp_path / "t.csv"))

    assert list(found.names) == names
    assert found.labels.tolist() == [0, 1, 0, 1]


def _split_table(folder: Path, splits: list[str]) -> Path:
    for index in range(len(splits)):
        _paint(folder / f"{index}.png", index)
    rows = [f"{index},{'xy'[index % 2]},{split}" for index, split in enumerate(splits)]
    (folder / "t.csv").write_text("id,label,split\n" + "\n".join(rows), encoding="utf-8")
    return folder / "t.csv"


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    found = _open(_split_table(tmp_path, ["train"] * 4 + ["Val"] * 2 + ["test"] * 2))

    assert {name: index.tolist() for name, index in found.splits.items()} == {
        "train": [0, 1, 2, 3],
        "validation": [4, 5],
        "test": [6, 7],
    }


def test_a_split_column_with_a_strange_value_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 6: the column 'split' says 'holdout'; wanted is"):
        _open(_split_table(tmp_path, ["train"] * 4 + ["holdout"] * 2))


def test_rows_without_a_group_stand_alone(tmp_path: Path) -> None:
    for index in range(40):
        _paint(tmp_path / f"{index}.png", index)
    rows = [f"{index},{'xy'[index % 2]}," for index in range(40)]
    (tmp_path / "t.csv").write_text("id,label,patient\n" + "\n".join(rows), encoding="utf-8")

    found = _open(tmp_path / "t.csv", group_column="patient")

    assert len(found.splits["validation"]) == 4


def test_a_folder_of_images_next_to_the_splits_is_reported(tree: Tree) -> None:
    root = tree({"train/a": 2, "train/b": 2, "extra/a": 1})

    with pytest.raises(DataError, match="train/ for a split and also extra/ with images"):
        _open(root)


def test_an_empty_folder_next_to_the_splits_does_no_harm(tree: Tree) -> None:
    root = tree({"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1, "__MACOSX": 0})

    assert _open(root).classes == ("a", "b")


def test_a_class_may_be_called_train(tree: Tree) -> None:
    assert _open(tree({"bus": 3, "car": 3, "train": 3})).classes == ("bus", "car", "train")


def test_one_image_is_enough_where_validation_is_given(tree: Tree) -> None:
    root = tree({"train/a": 1, "train/b": 3, "val/a": 1, "val/b": 1})

    assert len(_open(root).splits["train"]) == 4


def test_classes_one_folder_too_deep_are_found_and_said(tree: Tree) -> None:
    found = _open(tree({"all/a": 2, "all/b": 2}))

    assert found.classes == ("a", "b")
    assert "classes: folders of all/, 2" in found.audit["understood"]["line"]


def test_a_file_name_that_is_no_text_can_still_be_written(tree: Tree) -> None:
    root = tree({"a": 3, "b": 3})
    odd = bytes(root) + b"/a/\xff.png"
    with open(odd, "wb") as file:
        file.write((root / "a" / "000.png").read_bytes())

    found = _open(root)

    assert "a/�.png" in [name.encode().decode() for name in found.names]
    assert found.audit["unreadable"] == []


def test_links_that_lead_back_end(tree: Tree) -> None:
    root = tree({"a": 3, "b": 3})
    (root / "a" / "loop").symlink_to(root)

    assert set(_open(root).classes) == {"a", "b"}


def _idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def test_idx_labels_may_begin_at_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    _idx(tmp_path / "train-images-idx3-ubyte.gz", rng.integers(0, 256, (12, 9, 9)))
    _idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(12) % 3 + 1)

    found = _open(tmp_path)

    assert found.classes == ("1", "2", "3")
    assert found.labels[:4].tolist() == [0, 1, 2, 0]


def test_a_torn_packed_idx_file_is_reported(tmp_path: Path) -> None:
    _idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((5, 9, 9)))
    _idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(5))
    whole = (tmp_path / "train-images-idx3-ubyte.gz").read_bytes()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(whole[:-10])

    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read"):
        _open(tmp_path)


def test_a_binary_batch_with_an_impossible_label_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes([77] + [0] * 3072))

    with pytest.raises(DataError, match="is torn: it has a label above 9"):
        _open(tmp_path)


def test_both_forms_of_cifar_in_one_folder_are_read_once(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    labels = [n % 10 for n in range(20)]
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": data, b"labels": labels}))
    rows = np.concatenate([np.array(labels, np.uint8)[:, None], data], axis=1)
    (tmp_path / "data_batch_1.bin").write_bytes(rows.tobytes())

    assert len(_open(tmp_path).names) == 20


def test_cifar_100_gives_its_fine_labels(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
    fine = [n % 3 for n in range(12)]
    for name in ("train", "test"):
        batch = {b"data": data, b"fine_labels": fine, b"coarse_labels": [0] * 12}
        (tmp_path / name).write_bytes(pickle.dumps(batch, 2))
    names = {b"fine_label_names": [b"apple", b"baby", b"bear"]}
    (tmp_path / "meta").write_bytes(pickle.dumps(names, 2))

    found = _open(tmp_path)

    assert found.classes == ("apple", "baby", "bear")
    assert found.labels[:12].tolist() == fine


def test_a_pickle_that_unfolds_without_end_is_read_in_no_time(
    tmp_path: Path, least_seconds: Callable[[Callable[[], object]], float]
) -> None:
    value: list[object] = []
    for _ in range(20):  # 2^20 lists if each were unfolded: slow enough to fail, not to hang
        value = [value, value]
    (tmp_path / "x").write_bytes(pickle.dumps(value))

    assert least_seconds(lambda: read_pickled(tmp_path / "x")) < 0.3


def test_a_pickle_that_holds_itself_is_refused(tmp_path: Path) -> None:
    value: list[object] = []
    value.append(value)
    (tmp_path / "x").write_bytes(pickle.dumps(value))

    with pytest.raises(DataError, match="is torn or no batch of CIFAR"):
        read_pickled(tmp_path / "x")


@pytest.mark.parametrize("keep", [0, 1, 5, 20, 40])
def test_a_torn_pickle_is_reported(tmp_path: Path, keep: int) -> None:
    whole = pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]})
    (tmp_path / "x").write_bytes(whole[:keep])

    with pytest.raises(DataError, match="torn"):
        read_pickled(tmp_path / "x")


def test_masks_in_an_npz_become_black_and_white(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((10, 8, 8)) > 0.5
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(10) % 2)

    found = _open(tmp_path / "a.npz")

    assert np.array_equal(found.images[..., 0], images * np.uint8(255))


def test_a_torn_npz_is_reported(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "a.npz", images=np.arange(6400).reshape(100, 8, 8) % 251, labels=np.arange(100)
    )
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[200:260] = bytes(60)
    (tmp_path / "a.npz").write_bytes(whole)

    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        _open(tmp_path / "a.npz")
